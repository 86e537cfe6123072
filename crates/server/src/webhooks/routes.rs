//! HTTP of webhooks (wire §13.3).

use super::MAX_GRACE_SECONDS;
use super::headers::{self, MAX_HEADERS};
use super::target::{MAX_URL, Target};
use crate::accounts::routes::{NAME, workspace};
use crate::app::App;
use crate::error::{Failure, field_error};
use crate::feed::mutation::Committed;
use crate::http::extract::{Ids, JsonObject, Query};
use crate::http::fields::{Fields, object};
use crate::http::pages::{Pages, limit};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, committed, json, no_store};
use crate::members::Caller;
use axum::extract::State;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use stead_api::id::WebhookId;
use stead_api::webhook::{
    CreatedWebhook, DeliveryStatus, EVENTS, RotatedWebhookSecret, TestedWebhook, UpdateWebhook, WIRE_EVENTS,
    WebhookDeliveryPage, WebhookList, WebhookSettings,
};

/// The query of [`list`].
pub const LIST: &[Parameter] = &[Parameter::flag("include_usages", "`true`: with `usage` and `events`")];

/// `GET /v1/workspace/webhooks`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let with_usages = match query.get("include_usages").and_then(Value::as_str) {
        None | Some("") => false,
        Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => true,
        Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => false,
        Some(_) => {
            return Err(Failure::invalid(
                &["query", "include_usages"],
                "bool_parsing",
                "Input should be a valid boolean",
            ));
        }
    };
    json(&WebhookList { webhooks: super::list(&app, workspace(&caller)?, with_usages).await? })
}

/// `POST /v1/workspace/webhooks`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let Some(settings) = body.object.get("settings").filter(|value| !value.is_null()) else {
        return Err(Failure::invalid(&["body", "settings"], "missing", "Field required"));
    };
    let (new, target) = object(settings).and_then(|settings| settings_of(&app, settings)).map_err(within_settings)?;
    let made = super::create(&app, &caller, body.retry, new, target).await?;
    let Committed { value: webhook_id, secret: Some(webhook_secret), revision } = made else {
        return Err(Failure::Defect("a new webhook without a secret".into()));
    };
    let answer = CreatedWebhook { webhook_id, webhook_secret };
    committed(&Committed { value: (), secret: None, revision }, &answer).map(no_store)
}

fn settings_of(app: &App, settings: &Map<String, Value>) -> Result<(WebhookSettings, Target), Failure> {
    let mut fields = Fields::new(settings);
    let new = WebhookSettings {
        auth_type: fields.required_text("auth_type", NAME),
        name: fields.required_text("name", NAME),
        webhook_url: fields.required_text("webhook_url", MAX_URL),
        request_headers: headers_of(&mut fields).map(|headers| {
            // One without a value has none to keep yet.
            headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
        }),
        events: events_of(&mut fields),
        retry_enabled: fields.boolean("retry_enabled"),
    };
    if !new.auth_type.is_empty() && new.auth_type != "hmac" {
        fields.mistake("auth_type", "literal_error", "Input should be 'hmac'");
    }
    let mut target = None;
    if !new.webhook_url.is_empty() {
        match Target::parse(&new.webhook_url, &app.sender.outward.allowed) {
            Ok(read) => target = Some(read),
            Err(why) => fields.mistake("webhook_url", "url_parsing", why),
        }
    }
    let new = fields.finish(new)?;
    let target = target.ok_or_else(|| Failure::Defect("a URL was neither read nor refused".into()))?;
    Ok((new, target))
}

/// Mistakes in the settings are told where they stand in the body.
fn within_settings(failure: Failure) -> Failure {
    let Failure::Invalid(mut mistakes) = failure else { return failure };
    for mistake in &mut mistakes {
        mistake.loc.insert(1, "settings".into());
    }
    Failure::Invalid(mistakes)
}

/// Headers by their names in lower case; a value may be null.
fn headers_of(fields: &mut Fields<'_>) -> Option<BTreeMap<String, Option<String>>> {
    const FIELD: &str = "request_headers";
    let Some(given) = fields.value(FIELD)?.as_object() else {
        fields.mistake(FIELD, "dict_type", "Input should be a valid dictionary");
        return None;
    };
    if given.len() > MAX_HEADERS {
        fields.mistake(FIELD, "too_long", format!("Dictionary should have at most {MAX_HEADERS} items"));
        return None;
    }
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let value = match value {
            Value::Null => Some(None),
            Value::String(text) if headers::is_value(text) => Some(Some(text.clone())),
            _ => None,
        };
        // The name is the tenant's, and may be anything: it isn't echoed.
        match (headers::name(name), value) {
            (None, _) => fields.mistake(FIELD, "value_error", "a name is none of a header that can be sent along"),
            (_, None) => fields.mistake(FIELD, "value_error", "a value must be printable ASCII of 2,048 characters"),
            (Some(name), Some(value)) => {
                if headers.insert(name, value).is_some() {
                    fields.mistake(FIELD, "value_error", "a header is given twice");
                }
            }
        }
    }
    Some(headers)
}

/// Known events, each once.
fn events_of(fields: &mut Fields<'_>) -> Option<Vec<String>> {
    let Some(given) = fields.value("events")?.as_array() else {
        fields.mistake("events", "list_type", "Input should be a valid list");
        return None;
    };
    let mut events: Vec<String> = Vec::new();
    for item in given {
        match item.as_str().filter(|text| EVENTS.contains(text) || WIRE_EVENTS.contains(text)) {
            Some(text) if events.iter().any(|known| known == text) => {}
            Some(text) => events.push(text.to_owned()),
            None => fields.mistake("events", "enum", "Input should be an event of this server"),
        }
    }
    Some(events)
}

/// `GET /v1/workspace/webhooks/{webhook_id}`.
pub async fn get(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    json(&super::get(&app, workspace(&caller)?, id.into()).await?)
}

/// `PATCH /v1/workspace/webhooks/{webhook_id}`.
pub async fn update(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    if fields.value("is_disabled").is_none() {
        fields.mistake("is_disabled", "missing", "Field required");
    }
    let change = UpdateWebhook {
        is_disabled: fields.boolean("is_disabled").unwrap_or_default(),
        name: fields.required_text("name", NAME),
        retry_enabled: fields.boolean("retry_enabled"),
        request_headers: headers_of(&mut fields),
        events: events_of(&mut fields),
    };
    let change = fields.finish(change)?;
    let made = super::update(&app, &caller, id.into(), change).await?;
    committed(&made, &made.value)
}

/// `DELETE /v1/workspace/webhooks/{webhook_id}`.
pub async fn delete(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    let made = super::delete(&app, &caller, id.into()).await?;
    committed(&made, &made.value)
}

/// `POST …/rotate-secret`.
pub async fn rotate_secret(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let grace = fields.number("grace_period_seconds", 0, MAX_GRACE_SECONDS);
    let grace = fields.finish(grace)?.unwrap_or(0);
    let made = super::rotate_secret(&app, &caller, body.retry, id.into(), grace).await?;
    let Committed { value: (webhook_id, active_from_unix), secret: Some(webhook_secret), revision } = made else {
        return Err(Failure::Defect("a new secret without a secret".into()));
    };
    let answer = RotatedWebhookSecret { webhook_id, webhook_secret, active_from_unix };
    committed(&Committed { value: (), secret: None, revision }, &answer).map(no_store)
}

/// `POST …/test`.
pub async fn test(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, body: JsonObject) -> Answer {
    let made = super::test(&app, &caller, body.retry, id.into()).await?;
    let answer = TestedWebhook { status: "ok".into(), event_id: made.value.clone() };
    committed(&made, &answer)
}

/// `POST …/deliveries/{event_id}/redeliver`.
pub async fn redeliver(
    State(app): State<Arc<App>>,
    caller: Caller,
    Ids([id, event]): Ids<2>,
    body: JsonObject,
) -> Answer {
    let made = super::redeliver(&app, &caller, body.retry, id.into(), event.into()).await?;
    committed(&made, &made.value)
}

/// The query of [`deliveries`].
pub const DELIVERIES: &[Parameter] = &[
    Parameter::words(
        "status",
        "Only those: `failed` is to be tried again; without it, all",
        &["pending", "failed", "delivered", "dead"],
    ),
    Parameter::number("limit", "Deliveries of a page, 1–200, 100 if absent", 1, 200),
    Parameter::text("cursor", "`next_cursor` of the page before"),
];

/// `GET …/deliveries`.
pub async fn deliveries(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>, Query(query): Query) -> Answer {
    let workspace = workspace(&caller)?;
    let id: WebhookId = id.into();
    let text = |name: &str| query.get(name).and_then(Value::as_str);
    let mut mistakes = Vec::new();
    let status = text("status").map(|text| {
        let status = DeliveryStatus::parse(text);
        if status.is_none() {
            let told = "must be pending, failed, delivered or dead";
            mistakes.push(field_error(&["query", "status"], "value_error", told));
        }
        status
    });
    let limit = limit(&query, 100, 200, &mut mistakes);
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let pages = Pages::new(&app, &("deliveries", &workspace, &id));
    let before = pages.after(&query, |place, _| place.parse().ok())?;
    let (deliveries, next) =
        super::deliveries(&app, workspace.clone(), id.clone(), status.flatten(), before, limit).await?;
    let next_cursor = next.map(|place| pages.cursor(place, ""));
    json(&WebhookDeliveryPage { deliveries, has_more: next_cursor.is_some(), next_cursor })
}
