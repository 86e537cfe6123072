//! The OpenAPI description, made from the table of routes, so that it can't leave one out.

use super::reply::Answer;
use super::routes::{self, Route, routes};
use crate::members::{Access, Object};
use axum::Json;
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use stead_api::error::{ErrorBody, ErrorCode, ValidationBody};
use stead_api::permission::API_KEYS_VERIFY;
use stead_api::resource::Role;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, schema::Schema as Described};

/// Describes a type: its name, and itself with everything it refers to.
pub type Schema = fn(&mut Schemas) -> String;

/// Schemas by name.
pub type Schemas = BTreeMap<String, RefOr<Described>>;

/// The [`Schema`] of a type.
pub fn schema<T: ToSchema>(schemas: &mut Schemas) -> String {
    let mut referred = Vec::new();
    T::schemas(&mut referred);
    schemas.extend(referred);
    schemas.insert(T::name().into_owned(), T::schema());
    T::name().into_owned()
}

/// `GET /openapi.json`.
pub async fn serve() -> Answer {
    Ok(Json(describe()).into_response())
}

/// The whole description.
pub fn describe() -> Value {
    let mut schemas = Schemas::new();
    let errors = (schema::<ErrorBody>(&mut schemas), schema::<ValidationBody>(&mut schemas));
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in routes() {
        let operation = operation(&route, &mut schemas, &errors);
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
    }
    let codes: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("| `{}` | {} | `{}` |", code.as_str(), code.status(), code.kind()))
        .collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stead",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": format!(
                "Service accounts and API keys that act in your stead. The paths and names are those of the ElevenLabs \
                 workspace API, so its official SDKs work unchanged.\n\n| code | status | type |\n| --- | --- | --- |\n{}",
                codes.join("\n"),
            ),
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "ApiKey": { "type": "apiKey", "in": "header", "name": "xi-api-key" } },
        },
    })
}

fn operation(route: &Route, schemas: &mut Schemas, (error, validation): &(String, String)) -> Value {
    let answer = route.answer.map_or(json!({ "type": "object" }), |describe| reference(&describe(schemas)));
    let done = match route.path {
        // What people and others read, and no JSON.
        "/docs" | "/invite/{token}" => json!({ "text/html": { "schema": { "type": "string" } } }),
        "/metrics" => json!({ "text/plain": { "schema": { "type": "string" } } }),
        _ => content(&answer),
    };
    let mut responses = Map::from_iter([("200".to_owned(), json!({ "description": "Done", "content": done }))]);
    let mut may_fail = |status: &str, description: &str, shape: &str| {
        responses.insert(status.into(), json!({ "description": description, "content": content(&reference(shape)) }));
    };
    may_fail("405", "Not with this method", error);
    may_fail("404", "No such thing in the caller's workspace", error);
    may_fail("429", "Too many requests; Retry-After says when", error);
    may_fail("500", "A defect of the server; nothing was changed", error);
    may_fail("503", "The store can't be reached, or the outcome is unknown", error);
    if !route.access.is_open() {
        may_fail("401", "No key, or one that doesn't work", error);
        may_fail("403", "The key or its owner may not do this; the message names what is missing", error);
    }
    if !route.access.is_open() || route.body.is_some() {
        may_fail("400", "Not JSON, or against a rule", error);
        may_fail("409", "In conflict with the present state", error);
        may_fail("413", "The body is larger than 64 KiB", error);
        may_fail("415", "The body is not declared as JSON", error);
        may_fail("422", "Mistakes in the input, all of them", validation);
    }
    if route.tag == routes::ABSENT {
        responses.remove("200");
        responses
            .insert("501".into(), json!({ "description": "Not implemented", "content": content(&reference(error)) }));
    }
    let parameter = |place: &str, name: &str, about: &str| json!({ "in": place, "name": name, "required": place == "path", "description": about, "schema": { "type": "string" } });
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<_> = in_path.map(|name| parameter("path", name, "An id")).collect();
    parameters.extend(route.query.iter().map(|(name, about)| parameter("query", name, about)));
    if route.method == "POST" && route.access.is_management() && !route.access.is_open() {
        parameters.push(parameter(
            "header",
            "Idempotency-Key",
            "A retry with the same key, route and body gets the first outcome for 24 hours",
        ));
    }
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.tag],
        "description": format!("{}{}", who(route.access), whose(route.object)),
        "x-stead-access": policy(route),
        "parameters": parameters,
        "responses": responses,
        "security": if route.access.is_open() { json!([]) } else { json!([{ "ApiKey": [] }]) },
    });
    if let Some(describe) = route.body {
        operation["requestBody"] = json!({ "required": true, "content": content(&reference(&describe(schemas))) });
    }
    operation
}

/// Who may call a route, and about what, as data.
pub fn policy(route: &Route) -> Value {
    let (access, object) = (route.access, route.object);
    let mut policy = json!({ "caller": access.name(), "object": object.name() });
    let more = [
        ("permission", access.permission()),
        ("group_permission", access.group_permission()),
        ("others", object.others()),
        ("role", object.role().map(Role::as_str)),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            policy[name] = value.into();
        }
    }
    policy
}

/// The same of all routes, as the table in the docs.
pub fn policies() -> String {
    let mut table =
        "| route | caller | permission | group permission | object |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for route in routes() {
        let (access, object) = (route.access, route.object);
        let code = |name: Option<&str>| name.map_or("–".to_owned(), |name| format!("`{name}`"));
        let of = object.role().map(|role| format!(", role {}", role.as_str()));
        let of = of.or_else(|| object.others().map(|permission| format!(", others with `{permission}`")));
        table += &format!(
            "| {} `{}` | {} | {} | {} | {}{} |\n",
            route.method,
            route.path,
            access.name(),
            code(access.permission()),
            code(access.group_permission()),
            object.name(),
            of.unwrap_or_default(),
        );
    }
    table
}

fn whose(object: Object) -> String {
    match object {
        Object::Resource(role) => format!(" Its owner needs the role `{}` on the resource.", role.as_str()),
        Object::OwnGroup => " Who is no workspace admin must be in the group.".into(),
        Object::Oneself(permission) => {
            format!(" About oneself; about others as a workspace admin, or as a member of a group with `{permission}`.")
        }
        Object::KeyOwner | Object::Key => " About service accounts, and about oneself.".into(),
        _ => String::new(),
    }
}

fn who(access: Access) -> String {
    match access {
        Access::Anyone => "Needs no key.".into(),
        Access::Guest => "Needs no key, but the token of an invite. Not served on the verification listener.".into(),
        Access::AnyKey => "Any key that works.".into(),
        Access::Asker => format!(
            "A key with the permission `{API_KEYS_VERIFY}`, about the keys of its own workspace. On the verification listener no \
             key is needed, and keys of every workspace are answered."
        ),
        Access::Subject => {
            "The key in question is the one that the request carries. Served on the verification listener, or on the \
             public one while there is no other."
                .into()
        }
        Access::Operator => "The operator's credential, which opens nothing else.".into(),
        Access::Member(permission) => format!("A key with the permission `{permission}`."),
        Access::Admin(permission) => format!("A key with the permission `{permission}` of a workspace admin."),
        Access::Manager(permission, group) => format!(
            "A key with the permission `{permission}` of a workspace admin, or of a member of a group with `{group}`."
        ),
        Access::AccountManager(permission) => format!(
            "A key with the permission `{permission}` of a workspace admin, or of a member of a group with \
             `service_accounts_manage`, in a workspace with more than one seat."
        ),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}
