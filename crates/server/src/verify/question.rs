//! Reading questions: fast where nothing is wrong, and once more, field by field, where something is, to tell all of it.

use crate::app::App;
use crate::error::Failure;
use crate::feed::Revision;
use crate::http::extract::parse;
use crate::http::fields::{Fields, MAX_NUMBER, object};
use crate::resources::{self, RESOURCE_ID, RESOURCE_ID_RULE, is_resource_id};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::net::IpAddr;
use stead_api::resource::Role;
use stead_api::secret::Secret;
use stead_verify::decide::{Ask, Hop};
use stead_verify::index::ResourceKey;
use stead_verify::limits::Concurrency;
use stead_verify::permissions::PermissionSet;

/// Longest string that is looked at at all; a longer one is malformed.
const LONGEST: usize = 60 * 1024;
/// How long a place is held that nobody gives back, in seconds, if the question doesn't say.
const LEASE_SECONDS: u32 = 300;
/// How long it may be held.
const LONGEST_LEASE: i64 = 86_400;

/// A question whose parts were checked.
pub(super) struct Question {
    pub(super) ask: Ask,
    /// Type and id of the resource asked about.
    pub(super) resource: Option<(String, String)>,
    pub(super) request_id: Option<String>,
    pub(super) explain: bool,
    pub(super) at_least: Option<Revision>,
    pub(super) api_key: Secret,
}

/// The body of the questions that nearly all are, its text borrowed from where it was read to.
#[derive(Deserialize)]
pub(super) struct Plain<'a> {
    #[serde(borrow)]
    pub(super) api_key: Cow<'a, str>,
    #[serde(borrow, default)]
    permissions: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    ip: Option<Cow<'a, str>>,
    #[serde(default)]
    cost: Option<u64>,
    /// Whatever makes a question more than plain.
    #[serde(default)]
    request_id: Option<serde::de::IgnoredAny>,
    #[serde(borrow, default)]
    resource: Option<PlainResource<'a>>,
    #[serde(default)]
    concurrency: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    explain: Option<bool>,
    #[serde(default)]
    at_least: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct PlainResource<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow)]
    resource_id: Cow<'a, str>,
    #[serde(default)]
    role: Option<Role>,
}

impl Plain<'_> {
    /// Type and id of the resource asked about.
    pub(super) fn resource(&self) -> Option<(&str, &str)> {
        self.resource.as_ref().map(|resource| (&*resource.resource_type, &*resource.resource_id))
    }

    /// What is asked, if nothing is wrong with it and there is no more to it.
    pub(super) fn ask(&self, app: &App) -> Option<Ask> {
        let more = self.request_id.is_some()
            || self.concurrency.is_some()
            || self.at_least.is_some()
            || self.explain == Some(true);
        let cost = self.cost.unwrap_or(0);
        if more || cost > MAX_NUMBER.unsigned_abs() {
            return None;
        }
        let mut permissions = PermissionSet::EMPTY;
        for name in self.permissions.iter().flatten() {
            permissions.insert(app.catalogue.place(name)?);
        }
        let ip = match &self.ip {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let resource = match &self.resource {
            Some(resource) => {
                let (kind, id) = (&*resource.resource_type, &*resource.resource_id);
                let is_known = app.resource_types.has(kind) && is_resource_id(id);
                Some((is_known.then(|| ResourceKey::new(kind, id))?, resource.role.unwrap_or(Role::Viewer)))
            }
            None => None,
        };
        Some(Ask { permissions, resource, ip, hop: Hop::Asker, cost, concurrency: None })
    }
}

/// Reads a question.
pub(super) fn read(app: &App, body: &[u8]) -> Result<Question, Failure> {
    if let Ok(plain) = serde_json::from_slice::<Plain<'_>>(body)
        && let Some(ask) = plain.ask(app)
    {
        let resource = plain.resource().map(|(kind, id)| (kind.to_owned(), id.to_owned()));
        let api_key = Secret::new(plain.api_key);
        return Ok(Question { ask, resource, request_id: None, explain: false, at_least: None, api_key });
    }
    careful(app, object(&parse(body)?)?)
}

/// Reads a question, telling every mistake.
pub(super) fn careful(app: &App, body: &Map<String, Value>) -> Result<Question, Failure> {
    let mut fields = Fields::new(body);
    // Read without the rules for names: any text may be presented as a key, and is then malformed or unknown.
    let api_key = match fields.value("api_key").map(Value::as_str) {
        Some(Some(text)) if text.len() <= LONGEST => Secret::new(text),
        Some(_) => {
            fields.mistake("api_key", "string_type", "Input should be a valid string");
            Secret::new("")
        }
        None => {
            fields.mistake("api_key", "missing", "Field required");
            Secret::new("")
        }
    };
    let (ask, resource) = ask(app, &mut fields);
    let at_least = fields.text("at_least", 1, 64).and_then(|text| {
        let revision = text.parse().ok();
        if revision.is_none() {
            fields.mistake("at_least", "value_error", "must be a revision that an answer of this server carried");
        }
        revision
    });
    let request_id = fields.text("request_id", 1, 255);
    let explain = fields.boolean("explain").unwrap_or(false);
    fields.finish(Question { ask, resource, request_id, explain, at_least, api_key })
}

/// The part of a question that says what is asked, which rehearsals have, too.
pub(super) fn ask(app: &App, fields: &mut Fields<'_>) -> (Ask, Option<(String, String)>) {
    let held =
        fields.value("permissions").and_then(|value| fields.permission_names("permissions", value, &app.catalogue));
    let permissions = PermissionSet::known(&app.catalogue, &held.unwrap_or_default());
    let ip = fields.text("ip", 1, 64).and_then(|text| {
        let ip = text.parse::<IpAddr>().ok();
        if ip.is_none() {
            fields.mistake("ip", "ip_any_address", "value is not a valid IPv4 or IPv6 address");
        }
        ip
    });
    let cost = fields.number("cost", 0, MAX_NUMBER).map_or(0, i64::unsigned_abs);
    let resource = fields.object("resource", |fields| {
        let kind = resources::routes::kind(app, fields);
        let id = fields.required_text("resource_id", RESOURCE_ID);
        if !id.is_empty() && !is_resource_id(&id) {
            fields.mistake("resource_id", "value_error", RESOURCE_ID_RULE);
        }
        (ResourceKey::new(&kind, &id), fields.role("role").unwrap_or(Role::Viewer), (kind, id))
    });
    let (resource, names) = resource.map(|(key, role, names)| ((key, role), names)).unzip();
    let kind = fields.value("concurrency").and_then(|value| {
        let kind = value.as_str().and_then(Concurrency::parse);
        if kind.is_none() {
            fields.mistake("concurrency", "enum", "Input should be 'tts', 'dubbing' or 'music'");
        }
        kind
    });
    let seconds = fields.number("lease_seconds", 1, LONGEST_LEASE).and_then(|seconds| u32::try_from(seconds).ok());
    let concurrency = kind.map(|kind| (kind, seconds.unwrap_or(LEASE_SECONDS)));
    (Ask { permissions, resource, ip, hop: Hop::Asker, cost, concurrency }, names)
}
