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
    let errors = Errors { plain: schema::<ErrorBody>(&mut schemas), list: schema::<ValidationBody>(&mut schemas) };
    let routes = routes();
    // First the schemas, all of them: whether a body may be left out is seen in its schema.
    let described: Vec<_> = routes
        .iter()
        .map(|route| (route.body.map(|body| body(&mut schemas)), route.answer.map(|answer| answer(&mut schemas))))
        .collect();
    let mut schemas = serde_json::to_value(&schemas).unwrap_or_default();
    for (name, property, values) in fixed_values() {
        restrict(&mut schemas[name], property, &values);
    }
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let mut tags: Vec<&str> = Vec::new();
    for (route, (body, answer)) in routes.iter().zip(described) {
        let operation = operation(route, body.as_deref(), answer.as_deref(), &schemas, &errors);
        paths.entry(route.path).or_default().insert(route.method.as_str().to_lowercase(), operation);
        if !tags.contains(&route.tag) {
            tags.push(route.tag);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Stead",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": about(),
        },
        "tags": tags.iter().map(|tag| json!({ "name": tag })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": { "ApiKey": { "type": "apiKey", "in": "header", "name": "xi-api-key" } },
        },
    })
}

fn about() -> String {
    let codes: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|code| format!("| `{}` | {} | `{}` |", code.as_str(), code.status(), code.kind()))
        .collect();
    format!(
        "Service accounts and API keys that act in your stead. The paths and names are those of the ElevenLabs workspace API, \
         so its official SDKs work unchanged.\n\nBefore it comes to an operation, any request may be refused because of how \
         it is written: with 400, 408, 414, 417, 431, 501 (CONNECT and TRACE) or 505, each with a body like every other \
         error's.\n\n| code | status | type |\n| --- | --- | --- |\n{}",
        codes.join("\n"),
    )
}

/// Headers that answers may have.
fn headers() -> Value {
    let text = |description: &str, required: bool| json!({ "description": description, "required": required, "schema": { "type": "string" } });
    json!({
        "RequestId": text("The request's id, as in the log, in errors and in the audit log; `x-trace-id` is the same", true),
        "Revision": text("The change that this answer follows; to be given as `at_least` to a verification, on any node", false),
        "RetryAfter": {
            "description": "Seconds after which it is worth asking again",
            "required": false,
            "schema": { "type": "integer", "minimum": 0 },
        },
        "Challenge": text("The scheme and the header that a key goes into", true),
        "Allow": text("The methods that there are", true),
    })
}

/// The names of the two shapes of errors.
struct Errors {
    plain: String,
    list: String,
}

fn operation(route: &Route, body: Option<&str>, answer: Option<&str>, schemas: &Value, errors: &Errors) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.tag],
        "description": format!("{}{}", who(route.access), whose(route.object)),
        "x-stead-access": policy(route),
        "parameters": parameters(route),
        "responses": responses(route, answer, errors),
        "security": if route.access.is_open() { json!([]) } else { json!([{ "ApiKey": [] }]) },
    });
    if let Some(name) = body {
        // An empty body is `{}`.
        let is_required = has_required(&schemas[name], schemas);
        operation["requestBody"] = json!({ "required": is_required, "content": content(&reference(name)) });
    } else if route.path == INVITE && route.method == "POST" {
        let form = json!({ "type": "object", "properties": { "first_name": { "type": "string" } } });
        operation["requestBody"] =
            json!({ "required": false, "content": { "application/x-www-form-urlencoded": { "schema": form } } });
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
    let head = "| route | caller | permission | group permission | object |\n| --- | --- | --- | --- | --- |\n";
    let row = |route: Route| {
        let (access, object) = (route.access, route.object);
        let code = |name: Option<&str>| name.map_or("–".to_owned(), |name| format!("`{name}`"));
        let of = object.role().map(|role| format!(", role {}", role.as_str()));
        let of = of.or_else(|| object.others().map(|permission| format!(", others with `{permission}`")));
        format!(
            "| {} `{}` | {} | {} | {} | {}{} |\n",
            route.method,
            route.path,
            access.name(),
            code(access.permission()),
            code(access.group_permission()),
            object.name(),
            of.unwrap_or_default(),
        )
    };
    std::iter::once(head.to_owned()).chain(routes().into_iter().map(row)).collect()
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

fn parameters(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let id = json!({ "type": "string", "minLength": 1 });
    let mut parameters: Vec<_> = in_path
        .map(|name| json!({ "in": "path", "name": name, "required": true, "description": "An id", "schema": id }))
        .collect();
    parameters.extend(route.query.iter().map(|parameter| {
        json!({
            "in": "query",
            "name": parameter.name,
            "required": parameter.is_required,
            "description": parameter.about,
            "schema": parameter.schema(),
        })
    }));
    if is_retried(route) {
        parameters.push(json!({
            "in": "header",
            "name": "Idempotency-Key",
            "required": false,
            "description": "A retry with the same key, route and body gets the first outcome for 24 hours",
            "schema": { "type": "string", "minLength": 1, "maxLength": 255 },
        }));
    }
    parameters
}

/// Whether it takes an `Idempotency-Key`.
fn is_retried(route: &Route) -> bool {
    route.method == "POST" && route.access.is_management() && !route.access.is_open()
}

const INVITE: &str = "/invite/{token}";
const ROTATE: [&str; 2] = ["rotate_service_account_api_key", "undo_service_account_api_key_rotation"];

/// Every status that may come once it has come to the operation.
fn responses(route: &Route, answer: Option<&str>, errors: &Errors) -> Map<String, Value> {
    let mut responses = Map::new();
    let is_page = route.path == INVITE;
    let is_absent = route.tag == routes::ABSENT;
    let is_keyed = !route.access.is_open();
    let reads_body = route.body.is_some() || (is_keyed && route.method != "GET") || (is_page && route.method == "POST");
    if !is_absent {
        let mut done = json!({ "description": "Done", "headers": { "x-request-id": header("RequestId") } });
        if let Some(content) = done_with(route, answer) {
            done["content"] = content;
        }
        if is_keyed && route.access.is_management() && route.method != "GET" {
            done["headers"]["x-stead-revision"] = header("Revision");
        }
        responses.insert("200".into(), done);
    }
    let mut may_fail = |status: &str, description: &str, shape: &str| {
        let mut told = json!({
            "description": description,
            "headers": { "x-request-id": header("RequestId") },
            "content": content(&reference(shape)),
        });
        // Those that a browser opens are answered with a page.
        if is_page && matches!(status, "400" | "404" | "422") {
            told["content"]["text/html"] = json!({ "schema": { "type": "string" } });
        }
        match status {
            "401" => told["headers"]["www-authenticate"] = header("Challenge"),
            "405" => told["headers"]["allow"] = header("Allow"),
            "429" | "503" => told["headers"]["retry-after"] = header("RetryAfter"),
            _ => {}
        }
        responses.insert(status.into(), told);
    };
    may_fail("404", "No such thing in the caller's workspace", &errors.plain);
    may_fail("405", "Not with this method", &errors.plain);
    may_fail("429", "Too many requests; Retry-After says when", &errors.plain);
    may_fail("500", "A defect of the server; nothing was changed", &errors.plain);
    may_fail("503", "The store can't be reached, or the outcome is unknown", &errors.plain);
    if is_keyed {
        may_fail("401", "No key, or one that doesn't work", &errors.plain);
        may_fail("403", "The key or its owner may not do this; the message names what is missing", &errors.plain);
    }
    if is_keyed || reads_body {
        may_fail("400", "Not JSON, or against a rule", &errors.plain);
        may_fail("413", "The body is larger than 64 KiB", &errors.plain);
        may_fail("415", "The body is not declared as JSON", &errors.plain);
        may_fail("422", "Mistakes in the input, all of them", &errors.list);
    }
    if is_retried(route) || ROTATE.contains(&route.id) {
        may_fail("409", "In conflict with the present state", &errors.plain);
    }
    if is_absent {
        may_fail("501", "Not implemented", &errors.plain);
    }
    // The same status with the one shape or the other: a key that was used with another request is no mistake in a field.
    if is_retried(route) {
        responses["422"]["content"] = content(&json!({ "anyOf": [reference(&errors.list), reference(&errors.plain)] }));
    }
    responses
}

/// What a success carries; nothing for a yes to a proxy, which is all in headers.
fn done_with(route: &Route, answer: Option<&str>) -> Option<Value> {
    let text = |kind: &str| json!({ kind: { "schema": { "type": "string" } } });
    match (route.id, answer) {
        (_, Some(name)) => Some(content(&reference(name))),
        ("docs" | "show_invite" | "accept_invite_by_form", _) => Some(text("text/html")),
        ("metrics", _) => Some(text("text/plain")),
        ("ext_authz_check", _) => Some(text("application/grpc")),
        ("forward_auth", _) => None,
        _ => Some(content(&json!({ "type": "object" }))),
    }
}

/// Whether something must be in an object, in itself or in what it is put together from.
fn has_required(schema: &Value, schemas: &Value) -> bool {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return has_required(&schemas[name], schemas);
    }
    let own = schema["required"].as_array().is_some_and(|names| !names.is_empty());
    own || schema["allOf"].as_array().into_iter().flatten().any(|part| has_required(part, schemas))
}

/// Properties whose values are fixed words or numbers, which their Rust type doesn't say.
fn fixed_values() -> Vec<(&'static str, &'static str, Vec<Value>)> {
    fn words<'a>(words: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
        words.into_iter().map(Value::from).collect()
    }
    let unique = |mut values: Vec<Value>| {
        values.sort_by_key(ToString::to_string);
        values.dedup();
        values
    };
    let codes = || words(ErrorCode::ALL.iter().map(|code| code.as_str()));
    let seats = || words(["workspace_admin", "workspace_member", "workspace_lite_member"]);
    let classes =
        ["Account Change", "Authentication", "Entity Management", "User Access Management", "Group Management"];
    vec![
        ("ErrorDetail", "type", unique(words(ErrorCode::ALL.iter().map(|code| code.kind())))),
        ("ErrorDetail", "code", codes()),
        ("ErrorDetail", "status", codes()),
        ("Status", "status", words(["ok"])),
        ("CreatedInvite", "status", words(["ok"])),
        ("CreatedInvites", "status", words(["ok"])),
        ("TestedWebhook", "status", words(["ok"])),
        ("Member", "seat_type", seats()),
        ("Invite", "seat_type", seats()),
        ("AcceptedInvite", "seat_type", seats()),
        ("UpdateMember", "workspace_seat_type", seats()),
        ("UpdateMember", "workspace_role", seats()),
        ("CreateInvite", "seat_type", seats()),
        ("CreateInvites", "seat_type", seats()),
        ("Webhook", "auth_type", words(["hmac"])),
        ("WebhookSettings", "auth_type", words(["hmac"])),
        ("RequestsQuery", "sort", words(["asc", "desc"])),
        ("ShareOption", "type", words(["user", "group", "key"])),
        ("PrincipalAccess", "type", words(["user", "service_account"])),
        ("AuditLogEntry", "class_name", words(classes)),
        ("AuditLogEntry", "class_uid", [3001, 3002, 3004, 3005, 3006].map(Value::from).into()),
        ("AuditLogEntry", "status_id", [1, 2].map(Value::from).into()),
        ("AuditUser", "type_id", [0, 1, 2, 3, 4].map(Value::from).into()),
        ("AuditUser", "type", words(["Unknown", "User", "Admin", "System", "Service"])),
        ("VerifyApiKey", "concurrency", words(["tts", "dubbing", "music"])),
        ("Simulate", "concurrency", words(["tts", "dubbing", "music"])),
    ]
}

/// Says of a property which values it has. Where it may be null, null is one of them.
fn restrict(schema: &mut Value, property: &str, values: &[Value]) {
    let Some(property) = schema["properties"].get_mut(property) else { return };
    let may_be_null = property["type"].as_array().is_some_and(|types| types.iter().any(|kind| kind == "null"));
    let null = may_be_null.then_some(Value::Null);
    property["enum"] = values.iter().cloned().chain(null).collect();
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

fn header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

fn content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A property that was renamed would lose its values without a word.
    #[test]
    fn fixed_values_are_of_properties_that_there_are() {
        let description = describe();
        for (name, property, values) in fixed_values() {
            let described = &description["components"]["schemas"][name]["properties"][property]["enum"];
            let described = described.as_array().unwrap_or_else(|| panic!("there is no {name}.{property}"));
            assert!(values.iter().all(|value| described.contains(value)));
        }
    }

    #[test]
    fn a_body_may_be_left_out_where_nothing_must_be_in_it() {
        let description = describe();
        let required = |path: &str, method: &str| &description["paths"][path][method]["requestBody"]["required"];
        assert_eq!(*required("/v1/workspace/analytics/requests", "post"), false);
        assert_eq!(*required("/v1/service-accounts", "post"), true);
        assert_eq!(*required("/v1/workspace/resources/{resource_id}/unshare", "post"), true);
    }
}
