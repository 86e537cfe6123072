//! HTTP of keys (wire §7, §8.1).

use super::rotation::{DEFAULT_GRACE_SECONDS, MAX_GRACE_SECONDS};
use super::{Filter, NewKey, exposure, rotation};
use crate::accounts::routes::{DESCRIPTION, NAME, workspace};
use crate::app::App;
use crate::error::{Failure, field_error};
use crate::feed::mutation::Committed;
use crate::http::extract::{Ids, JsonBytes, JsonObject, Query, id, parse};
use crate::http::fields::{Fields, MAX_AT_ONCE, MAX_NUMBER, object};
use crate::http::pages::{Pages, limit};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, committed, json, no_store};
use crate::members::{Caller, Request};
use axum::extract::State;
use serde_json::{Map, Value};
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::FieldError;
use stead_api::key::{ApiKeyList, ApiKeyPage, CreateApiKey, CreatedApiKey, KeyStatus, UpdateApiKey};
use stead_api::secret::{MAX_LENGTH, Secret};
use stead_api::workspace::ReportApiKey;

/// `GET …/api-keys`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller, Ids([account]): Ids<1>) -> Answer {
    let keys = super::list(&app, &caller, workspace(&caller)?, account.into()).await?;
    json(&ApiKeyList { hyphenated: keys.clone(), api_keys: keys })
}

/// `POST …/api-keys`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, Ids([account]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    // A word of PATCH. Taken for nothing here, it would make a key that may do everything.
    if body.object.get("permissions").is_some_and(|value| value == "no_update") {
        fields.mistake("permissions", "enum", "Input should be a list of permissions or 'all'");
    }
    let new = CreateApiKey {
        name: fields.required_text("name", NAME),
        permissions: fields.permissions("permissions", &app.catalogue),
        description: fields.text("description", 0, DESCRIPTION),
        expires_at_unix: fields.expiry(),
        character_limit: fields.number("character_limit", 0, MAX_NUMBER),
        allowed_ips: fields.networks("allowed_ips"),
        rate_limits: fields.rate_limits("rate_limits"),
        third_party_disable_allowed: fields.boolean("third_party_disable_allowed"),
        tts_concurrency_limit: fields.number("tts_concurrency_limit", 0, MAX_AT_ONCE),
        dubbing_concurrency_limit: fields.number("dubbing_concurrency_limit", 0, MAX_AT_ONCE),
        music_concurrency_limit: fields.number("music_concurrency_limit", 0, MAX_AT_ONCE),
    };
    fields.refuse_token("permissions");
    let new = fields.finish(new)?;
    reveal(super::create(&app, &caller, body.retry, account.into(), new).await?)
}

/// The one place where a secret leaves the server.
fn reveal(made: Committed<NewKey>) -> Answer {
    let Committed { value: NewKey { key, rotation }, secret: Some(secret), revision } = made else {
        return Err(Failure::Defect("a new key without a secret".into()));
    };
    let body = CreatedApiKey {
        xi_api_key: secret.clone(),
        api_key: secret,
        key_id: key.key_id,
        api_key_id: key.api_key_id,
        service_account_user_id: key.service_account_user_id,
        name: key.name,
        description: key.description,
        permissions: key.permissions,
        created_at: key.created_at,
        created_at_unix: key.created_at_unix,
        expires_at: key.expires_at,
        expires_at_unix: key.expires_at_unix,
        lineage_id: key.lineage_id,
        rotation,
    };
    committed(&Committed { value: (), secret: None, revision }, &body).map(no_store)
}

/// `GET /v1/api-keys/self`.
pub async fn own(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&super::own(&app, &caller).await?)
}

/// `GET …/api-keys/{key}`.
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Ids([account, key]): Ids<2>) -> Answer {
    json(&super::get(&app, &caller, workspace(&caller)?, account.into(), key.into()).await?)
}

/// `PATCH …/api-keys/{key}`.
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([account, key]): Ids<2>,
    body: JsonObject,
) -> Answer {
    let mut fields = Fields::new(&body.object);
    let change = UpdateApiKey {
        is_enabled: fields.boolean_or_no_update("is_enabled"),
        name: fields.text("name", 1, NAME),
        description: fields.text("description", 0, DESCRIPTION),
        permissions: fields.permissions("permissions", &app.catalogue),
        character_limit: fields.number_change("character_limit", 0, MAX_NUMBER),
        allowed_ips: fields.networks_change("allowed_ips"),
        rate_limits: fields.rate_limits_change("rate_limits"),
        third_party_disable_allowed: fields.boolean_change("third_party_disable_allowed"),
        tts_concurrency_limit: fields.number_change("tts_concurrency_limit", 0, MAX_AT_ONCE),
        dubbing_concurrency_limit: fields.number_change("dubbing_concurrency_limit", 0, MAX_AT_ONCE),
        music_concurrency_limit: fields.number_change("music_concurrency_limit", 0, MAX_AT_ONCE),
        expires_at_unix: fields.expiry_change(),
    };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, account.into(), key.into(), change).await?;
    committed(&made, &made.value)
}

/// `DELETE …/api-keys/{key}`.
pub async fn revoke(State(app): State<Arc<App>>, caller: Caller, Ids([account, key]): Ids<2>) -> Answer {
    let made = super::revoke(&app, &caller, account.into(), key.into()).await?;
    committed(&made, &made.value)
}

/// `POST …/api-keys/{key}/disable`.
pub async fn disable(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([account, key]): Ids<2>,
    body: JsonObject,
) -> Answer {
    let made = super::disable(&app, &caller, body.retry, account.into(), key.into()).await?;
    committed(&made, &made.value)
}

/// `POST …/api-keys/{key}/rotate`.
pub async fn rotate(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([account, key]): Ids<2>,
    body: JsonObject,
) -> Answer {
    let mut fields = Fields::new(&body.object);
    let grace = fields.number("grace_period_seconds", 0, MAX_GRACE_SECONDS);
    let grace = fields.finish(grace)?.unwrap_or(DEFAULT_GRACE_SECONDS);
    reveal(rotation::rotate(&app, &caller, body.retry, account.into(), key.into(), grace).await?)
}

/// `POST …/api-keys/{key}/rotate/undo`.
pub async fn undo_rotation(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([account, key]): Ids<2>,
    body: JsonObject,
) -> Answer {
    let made = rotation::undo(&app, &caller, body.retry, account.into(), key.into()).await?;
    committed(&made, &made.value)
}

/// The query of [`disable_self`].
pub const DISABLE_SELF: &[Parameter] =
    &[Parameter::words("api_key_name", "The key that makes the call", &["self"]).required()];

/// `POST /v1/workspaces/api-keys/disable?api_key_name=self`.
pub async fn disable_self(
    State(app): State<Arc<App>>,
    caller: Caller,
    Query(query): Query,
    body: JsonObject,
) -> Answer {
    match query.get("api_key_name").and_then(Value::as_str) {
        Some("self") => {}
        Some(_) => return Err(Failure::invalid(&["query", "api_key_name"], "literal_error", "Input should be 'self'")),
        None => return Err(Failure::invalid(&["query", "api_key_name"], "missing", "Field required")),
    }
    let made = exposure::disable_self(&app, &caller, body.retry).await?;
    committed(&made, &made.value)
}

/// The longest place and kind of place of a report, and most reports at once.
const URL: usize = 2000;
const SOURCE: usize = 200;
const MOST_REPORTS: usize = 100;

/// `POST /v1/api-keys/report`: one report, or a list of them as secret scanners send it.
pub async fn report(State(app): State<Arc<App>>, from: Request, JsonBytes(body): JsonBytes) -> Answer {
    let body = parse(&body)?;
    let list = body.as_array().or_else(|| body.get("reports")?.as_array());
    let reports = match list {
        None => vec![read_report(object(&body)?)?],
        Some(list) if list.len() > MOST_REPORTS => {
            let message = format!("List should have at most {MOST_REPORTS} items");
            return Err(Failure::invalid(&["body"], "too_long", message));
        }
        Some(list) => {
            let read = |(place, item)| object(item).and_then(read_report).map_err(|failure| at(failure, place));
            list.iter().enumerate().map(read).collect::<Result<_, _>>()?
        }
    };
    for report in reports {
        exposure::report(&app, from.clone(), report).await?;
    }
    json(&Status::ok())
}

fn read_report(body: &Map<String, Value>) -> Result<ReportApiKey, Failure> {
    let mut fields = Fields::new(body);
    // Scanners call it a token.
    let (key, token) = (fields.text("api_key", 1, MAX_LENGTH), fields.text("token", 1, MAX_LENGTH));
    if key.is_some() && token.is_some() && key != token {
        fields.mistake("token", "value_error", "api_key and token are the same thing; they differ here");
    }
    if fields.value("api_key").is_none() && fields.value("token").is_none() {
        fields.mistake("api_key", "missing", "Field required");
    }
    let report = ReportApiKey {
        api_key: Secret::new(key.or(token).unwrap_or_default()),
        url: fields.text("url", 0, URL),
        source: fields.text("source", 0, SOURCE),
        comment: fields.text("comment", 0, DESCRIPTION),
    };
    fields.finish(report)
}

/// A mistake in a report of a list, told with its place.
fn at(mut failure: Failure, place: usize) -> Failure {
    if let Failure::Invalid(mistakes) = &mut failure {
        for mistake in mistakes {
            mistake.loc.insert(1, place.into());
        }
    }
    failure
}

/// The query of [`search`].
pub const SEARCH: &[Parameter] = &[
    Parameter::words(
        "status",
        "Only those; without it, all that are not revoked",
        &["active", "disabled", "expired", "revoked"],
    ),
    Parameter::text("account", "The owner's id"),
    Parameter::text("expiring_within", "Ends within this time, as in `30d`, `12h`, `90m` or seconds"),
    Parameter::text("unused_for", "Never used, or not for this time, as in `90d`"),
    Parameter::number("limit", "Keys of a page, 1–200, 100 if absent", 1, 200),
    Parameter::text("cursor", "`next_cursor` of the page before"),
];

/// `GET /v1/api-keys`.
pub async fn search(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let workspace = workspace(&caller)?;
    let now = app.clock.now();
    let mut mistakes = Vec::new();
    let mut filter = Filter { now: Some(now), limit: 100, ..Filter::default() };
    if let Some(status) = text(&query, "status") {
        let known = [KeyStatus::Active, KeyStatus::Disabled, KeyStatus::Expired, KeyStatus::Revoked];
        filter.status = known.into_iter().map(KeyStatus::as_str).find(|word| *word == status);
        if filter.status.is_none() {
            mistakes.push(mistake("status", "must be active, disabled, expired or revoked"));
        }
    }
    filter.principal = text(&query, "account").map(|text| id(text).into());
    filter.expiring_before = span(&query, "expiring_within", &mut mistakes).map(|seconds| now.plus_seconds(seconds));
    filter.unused_since = span(&query, "unused_for", &mut mistakes).map(|seconds| now.plus_seconds(-seconds));
    filter.limit = limit(&query, 100, 200, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let pages = Pages::new(&app, &("keys", &workspace));
    filter.after = pages.after(&query, |age, id| Some((age.parse().ok()?, id.to_owned())))?;
    let (keys, next) = super::search(&app, &caller, workspace.clone(), filter).await?;
    let next_cursor = next.map(|(age, id)| pages.cursor(age, id));
    json(&ApiKeyPage { hyphenated: keys.clone(), api_keys: keys, has_more: next_cursor.is_some(), next_cursor })
}

fn text<'a>(query: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    query.get(name).and_then(Value::as_str)
}

fn mistake(name: &str, message: &str) -> FieldError {
    field_error(&["query", name], "value_error", message)
}

/// A span of time in seconds: a number with `s`, `m`, `h`, `d` or `w`, or of seconds.
fn span(query: &Map<String, Value>, name: &str, mistakes: &mut Vec<FieldError>) -> Option<i64> {
    let given = text(query, name)?;
    let (number, unit) = match given.char_indices().next_back() {
        Some((at, 's')) => (&given[..at], 1),
        Some((at, 'm')) => (&given[..at], 60),
        Some((at, 'h')) => (&given[..at], 3600),
        Some((at, 'd')) => (&given[..at], 86_400),
        Some((at, 'w')) => (&given[..at], 604_800),
        _ => (given, 1),
    };
    // Ten thousand years are enough, and leave room in the arithmetic.
    let seconds =
        number.parse::<i64>().ok().filter(|number| (0..=10_000_000).contains(number)).map(|number| number * unit);
    if seconds.is_none() {
        mistakes.push(mistake(name, "must be a time as in 30d, 12h, 90m or 3600"));
    }
    seconds
}
