//! The field axis: every name of every field of the whole description, put into every body. What a route doesn't list
//! as its own does nothing: the answer is the same, and so are the rows.

use crate::authorization::{Things, example};
use crate::harness::{Engine, OPERATOR, START, World};
use crate::on_both_stores;
use crate::sites::{Site, report, rows};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use stead_server::http::openapi::describe;
use stead_server::http::routes::{Route, routes};
use stead_server::members::{Access, Object, SeatType};

on_both_stores! {
    a_field_that_a_route_does_not_list_does_nothing
}

/// No other number in a row is this one.
const NUMBER: i64 = 987_654;

/// What a route reads beside its schema: route, field.
const SPELLINGS: [(&str, &str); 4] = [
    // The brief's name of `expires_at_unix`.
    ("create_service_account_api_key", "expires_at"),
    ("update_service_account_api_key", "expires_at"),
    // What secret scanners call the key.
    ("report_api_key", "token"),
    // A rehearsal checks the whole question, and takes no place for any time.
    ("simulate_api_key", "lease_seconds"),
];

/// Names that no schema has and careless servers read.
const MORE: [&str; 18] = [
    "is_admin",
    "admin",
    "isAdmin",
    "role",
    "roles",
    "userId",
    "workspaceId",
    "tenant_id",
    "seal",
    "version",
    "lineage_id",
    "digest",
    "pepper_version",
    "created_by",
    "audit_seq",
    "principal_id",
    "deleted_at",
    "__proto__",
];

/// The fields of a schema, those of the schemas it is made of included.
fn fields_of(schema: &Value, root: &Value, found: &mut BTreeMap<String, Value>) {
    if let Some(pointer) = schema["$ref"].as_str() {
        fields_of(root.pointer(&pointer[1..]).unwrap(), root, found);
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        found.insert(name.clone(), field.clone());
    }
    for part in ["allOf", "oneOf", "anyOf"] {
        for schema in schema[part].as_array().into_iter().flatten() {
            fields_of(schema, root, found);
        }
    }
}

/// A value that would give something, of the kind that a field has.
fn hostile(name: &str, field: &Value, foreign: &Things) -> Value {
    let kind = match &field["type"] {
        Value::Array(kinds) => kinds[0].as_str().unwrap_or_default().to_owned(),
        kind => kind.as_str().unwrap_or_default().to_owned(),
    };
    match (kind.as_str(), name) {
        ("integer" | "number", _) => NUMBER.into(),
        ("boolean", _) => true.into(),
        (_, "seat_type" | "role" | "roles") => "workspace_admin".into(),
        (_, "permissions") => "all".into(),
        ("array", "group_ids" | "groups" | "members") => json!([foreign.group]),
        ("array", _) => json!(["all", NUMBER]),
        (_, name) if name.contains("account") || name.contains("user") => foreign.user.as_str().into(),
        (_, name) if name.contains("workspace") => foreign.workspace.as_str().into(),
        (_, name) if name.contains("key") => foreign.key.id.as_str().into(),
        (_, "default_sharing_groups") => json!({ foreign.group.clone(): "admin" }),
        ("object", _) => json!({ "is_admin": true, "x": NUMBER }),
        _ => format!("hostile {NUMBER}").into(),
    }
}

/// A text without what differs from one call to the next: ids, secrets, times, the names that the test gives, numbers
/// that count.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let bytes: Vec<char> = text.chars().collect();
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    let mut place = 0;
    while place < bytes.len() {
        let end = (place..bytes.len()).find(|at| !is_word(bytes[*at])).unwrap_or(bytes.len());
        if end == place {
            out.push(bytes[place]);
            place += 1;
            continue;
        }
        let word: String = bytes[place..end].iter().collect();
        let digits = word.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let name = word.len() == 7 || word.len() == 8;
        let masked = match word.split_once('_') {
            _ if digits && word.len() >= 9 => "TIME",
            // Versions, places in a log and in an outbox. Bits stay, and so does what the test puts in.
            _ if digits && word.parse::<i64>().is_ok_and(|number| (2..100_000).contains(&number)) => "COUNT",
            Some((prefix, rest)) if prefix.len() <= 5 && rest.len() >= 20 => prefix,
            _ if word.len() > 40 => "LONG",
            _ if name && word.trim_start_matches(char::is_alphabetic).len() == 6 => "NAME",
            _ => &word,
        };
        out.push_str(masked);
        place = end;
    }
    out
}

/// The rows that came, and those that went, without what always differs.
fn difference(before: &[Vec<String>], after: &[Vec<String>]) -> Vec<String> {
    let told = |sign: &str, row: &Vec<String>| {
        let row = row.iter().enumerate().map(|(place, column)| match column {
            // The end of a secret, by which people know it.
            _ if row[0] == "api_keys" && place == 7 => "HINT".into(),
            // Which of the sixteen is drawn by the workspace's id.
            _ if row[0] == "change_log" && place == 1 => "BUCKET".into(),
            // The letters that its secrets name it by.
            _ if row[0] == "workspaces" && place == 2 => "TAG".into(),
            column if column.starts_with("bytes ") => "BYTES".into(),
            column => plain(&without_hints(column)),
        });
        format!("{sign} {}", row.collect::<Vec<_>>().join(" | "))
    };
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let mut told: Vec<_> = old
        .difference(&new)
        .map(|row| told("-", row))
        .chain(new.difference(&old).map(|row| told("+", row)))
        .filter(|row| !row[2..].starts_with("change_clock"))
        .collect();
    told.sort();
    told
}

fn without_hints(text: &str) -> String {
    let mut parts = text.split("\"hint\":\"");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\"hint\":\"");
        out.push_str(part.split_once('"').map_or("", |(_, rest)| rest));
    }
    out
}

/// Who may call a route, and no more than that.
struct Callers {
    owner: String,
    manager: String,
}

impl Callers {
    fn of<'a>(&'a self, route: &Route) -> &'a str {
        match route.access {
            Access::Operator => OPERATOR,
            Access::Admin(_) => &self.owner,
            // What the manager has no part in.
            _ if matches!(route.object, Object::OwnGroup | Object::Resource(_)) => &self.owner,
            _ => &self.manager,
        }
    }
}

/// What a call did.
#[derive(PartialEq)]
struct Effect {
    status: u16,
    answer: String,
    rows: Vec<String>,
}

struct Trial<'a> {
    world: &'a mut World,
    engine: Engine,
    site: &'a mut Site,
    callers: &'a Callers,
    calls: usize,
}

impl Trial<'_> {
    /// But for what is written behind verifications.
    async fn rows(&self) -> Vec<Vec<String>> {
        let mut rows = rows(self.world, self.engine, None).await;
        rows.retain(|row| !["credit_leases", "credits", "key_uses", "usage_blocks"].contains(&row[0].as_str()));
        rows
    }

    /// Calls a route about new things, with more fields in its body, or in what the body holds.
    async fn call(&mut self, route: &Route, extra: &[(String, Value)], is_deep: bool) -> Effect {
        self.calls += 1;
        let things = self.site.things(self.world, Some(route)).await;
        let (path, mut body) = example(route, &things).unwrap();
        let name = format!("m{:06}", self.calls);
        rename(&mut body, &name);
        let target = if is_deep { inner(&mut body).unwrap() } else { body.as_object_mut().unwrap() };
        for (field, value) in extra {
            target.entry(field.clone()).or_insert_with(|| value.clone());
        }
        let before = self.rows().await;
        let caller = self.callers.of(route).to_owned();
        let reply = self.world.call_as(&caller, route.method.as_str(), &path, body).await;
        let after = self.rows().await;
        if route.path.contains("webhooks") {
            let id = reply.body["webhook_id"].as_str().unwrap_or(&things.webhook);
            let path = format!("/v1/workspace/webhooks/{id}");
            self.world.call_as(&self.callers.owner, "DELETE", &path, Value::Null).await;
        }
        let mut answer = reply.body.clone();
        forget(&mut answer);
        let answer = plain(&answer.to_string());
        Effect { status: reply.status.as_u16(), answer, rows: difference(&before, &after) }
    }
}

/// Takes out of an answer what says where a log is, and how a secret ends.
fn forget(answer: &mut Value) {
    match answer {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "revision" && name != "hint");
            fields.values_mut().for_each(forget);
        }
        Value::Array(values) => values.iter_mut().for_each(forget),
        _ => {}
    }
}

/// Names and addresses that must not come twice.
fn rename(value: &mut Value, name: &str) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| rename(value, name)),
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, name)),
        Value::String(text) if text == "made" || text == "another" || text == "changed" => name.clone_into(text),
        Value::String(text) if text == "new@example.com" => *text = format!("{name}@example.com"),
        _ => {}
    }
}

/// The object in a body, or the first of a list in it.
fn inner(body: &mut Value) -> Option<&mut Map<String, Value>> {
    let fields = body.as_object_mut()?.values_mut();
    let mut found = fields.filter_map(|value| if value.is_array() { value.get_mut(0) } else { Some(value) });
    found.find(|value| value.is_object())?.as_object_mut()
}

async fn a_field_that_a_route_does_not_list_does_nothing(engine: Engine) {
    let mut world = World::with(engine, &[("seats", "5000"), ("max-accounts", "5000")]).await;
    let foreign = world.foreign_admin().await;
    let foreign = Site::new(&world, &foreign, "f").await.things(&mut world, None).await;
    let mut site = Site::new(&world, &world.admin, "n").await;
    let table = routes();
    let held: Vec<_> = table.iter().filter_map(|route| route.access.group_permission()).collect();
    let (manager, secret) = world.person("manager@example.com", SeatType::WorkspaceMember).await;
    world.group(held.leak(), vec![manager]).await;
    let callers = Callers { owner: world.admin.clone(), manager: secret };

    let root = describe();
    let mut every = BTreeMap::new();
    for schema in root["components"]["schemas"].as_object().unwrap().values() {
        fields_of(schema, &root, &mut every);
    }
    for name in MORE {
        every.entry(name.to_owned()).or_insert_with(|| json!({}));
    }
    assert!(every.len() > 200, "only {} names", every.len());
    let mut trial = Trial { world: &mut world, engine, site: &mut site, callers: &callers, calls: 0 };
    let (mut tried, mut bodies, mut deviations) = (0, 0, Vec::new());
    for route in table.iter().filter(|route| route.body.is_some() && route.access != Access::Guest) {
        // Makes a workspace whose rows differ by themselves more than the mask knows; its own tests say what it takes.
        if route.id == "create_workspace" {
            continue;
        }
        let operation = &root["paths"][route.path][route.method.as_str().to_lowercase()];
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let mut own = BTreeMap::new();
        fields_of(schema, &root, &mut own);
        let (_, mut body) = example(route, &Things::nothing()).unwrap();
        for is_deep in [false, true] {
            if is_deep && inner(&mut body).is_none() {
                continue;
            }
            let mut own = own.clone();
            if is_deep {
                // Of what lies in the body: the fields of any part of it.
                for part in own.clone().values() {
                    fields_of(part, &root, &mut own);
                    fields_of(&part["items"], &root, &mut own);
                }
            }
            bodies += 1;
            if std::env::var("STEAD_FIELDS_TOLD").is_ok() {
                report(&format!("{} after {} calls", route.id, trial.calls));
            }
            // The first call may find names and settings that no other finds.
            trial.call(route, &[], is_deep).await;
            let usual = trial.call(route, &[], is_deep).await;
            let again = trial.call(route, &[], is_deep).await;
            assert!(usual.status == 200, "{}: {} {}", route.id, usual.status, usual.answer);
            assert!(
                usual == again,
                "{}: what differs by itself is not masked: {}\n{}\n{:?}\n{:?}",
                route.id,
                usual.answer,
                again.answer,
                usual.rows,
                again.rows
            );
            let alien: Vec<_> = every
                .iter()
                .filter(|(name, _)| !own.contains_key(*name) && !SPELLINGS.contains(&(route.id, name)))
                .collect();
            let variants: [fn(&str, &Value, &Things) -> Value; 3] =
                [hostile, |_, _, _| Value::Null, |_, _, _| json!({"is_admin": true, "permissions": ["all"]})];
            for value_of in variants {
                let extra: Vec<_> =
                    alien.iter().map(|(name, field)| ((*name).clone(), value_of(name, field, &foreign))).collect();
                tried += extra.len();
                let effect = trial.call(route, &extra, is_deep).await;
                if effect == usual {
                    continue;
                }
                // Which of them was it?
                let mut guilty = Vec::new();
                let mut suspects = vec![extra];
                // A few are enough to see what is wrong.
                while let Some(fields) = suspects.pop().filter(|_| guilty.len() < 3) {
                    let effect = trial.call(route, &fields, is_deep).await;
                    if effect == usual {
                        continue;
                    }
                    if fields.len() > 1 {
                        let (left, right) = fields.split_at(fields.len() / 2);
                        suspects.extend([left.to_vec(), right.to_vec()]);
                        continue;
                    }
                    guilty.push(fields[0].clone());
                    report(&format!("{}: {:?} does something", route.id, fields[0]));
                    deviations.push(format!(
                        "{}: {:?} came of {:?}, and without it {:?}",
                        route.id,
                        (effect.status, effect.answer, effect.rows),
                        fields[0],
                        (usual.status, &usual.answer, &usual.rows)
                    ));
                }
                if guilty.is_empty() {
                    deviations.push(format!("{}: some fields do something together: {:?}", route.id, effect.rows));
                }
            }
        }
    }
    report(&format!(
        "fields on {engine:?}: {} names x {bodies} bodies x 3 values = {tried} fields that no route lists, in {} calls; \
         {} deviations; since {}",
        every.len(),
        trial.calls,
        deviations.len(),
        START.seconds()
    ));
    assert!(deviations.is_empty(), "{}", deviations.join("\n"));
}
