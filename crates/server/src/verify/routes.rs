//! `POST /v1/api-keys/verify`.

use super::{Manner, Verdict, check_freshness, verify};
use crate::app::App;
use crate::error::Failure;
use crate::feed::Revision;
use crate::http::actor::Scope;
use crate::http::extract::{JsonBytes, parse};
use crate::http::fields::{Fields, MAX_NUMBER, object};
use crate::http::reply::{Answer, json, no_store};
use crate::keys;
use crate::members;
use crate::store::Tx;
use axum::extract::State;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use stead_api::error::ErrorCode;
use stead_api::id::{DecisionId, WorkspaceId};
use stead_api::secret::Secret;
use stead_api::verify::{Decision, DecisionCode, VerifyApiKey};
use stead_verify::decide::{Ask, missing};
use stead_verify::index::KeyRecord;
use stead_verify::period::Month;
use stead_verify::permissions::PermissionSet;

/// How long a verification waits for the state it asks for.
const AT_LEAST: Duration = Duration::from_secs(1);
/// A mirror that was not confirmed for this long says so in its answers.
const FLAGGED_SECONDS: u64 = 5;
/// Longest string that is looked at at all; a longer one is malformed.
const LONGEST: usize = 60 * 1024;

/// A question whose parts were checked.
struct Question {
    ask: Ask,
    request_id: Option<String>,
    explain: bool,
    at_least: Option<Revision>,
    api_key: Secret,
}

/// Answers one question about one key. 200 whenever it could be answered; 503 when it could not.
pub async fn verify_api_key(State(app): State<Arc<App>>, scope: Scope, JsonBytes(body): JsonBytes) -> Answer {
    let workspace = scope.0.unwrap_or_else(|| "".into());
    let question = match serde_json::from_slice::<VerifyApiKey>(&body).ok().and_then(|asked| quick(&app, asked)) {
        Some(question) => question,
        // Something is wrong: read once more, field by field, to say what.
        None => careful(&app, &body)?,
    };
    if let Some(revision) = question.at_least {
        let reached = tokio::time::timeout(AT_LEAST, app.progress.reach(revision)).await;
        reached.map_err(|_| {
            Failure::refused(ErrorCode::NotYetAvailable, "The state asked for with at_least has not arrived here yet.")
        })?;
    }
    let stale = check_freshness(&app)?;
    let revision = app.progress.of(&workspace);
    let manner =
        Manner { within: Some(&workspace), request_id: question.request_id.as_deref(), explain: question.explain };
    let verdict = verify(&app, question.api_key.expose(), &question.ask, manner)?;
    let mut decision = describe(&app, &verdict, &question.ask, revision);
    decision.stale_seconds = (stale >= FLAGGED_SECONDS).then_some(stale);
    if question.explain
        && let Some(key) = &verdict.key
    {
        // The decision stands, and may have been charged for: names that can't be had are left out.
        (decision.key_name, decision.service_account_name) = names(&app, key, workspace).await.unwrap_or_default();
    }
    json(&decision).map(no_store)
}

/// The question, if nothing is wrong with it.
fn quick(app: &App, asked: VerifyApiKey) -> Option<Question> {
    let mut permissions = PermissionSet::EMPTY;
    for name in asked.permissions.iter().flatten() {
        permissions.insert(app.catalogue.place(name)?);
    }
    let ip = match &asked.ip {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let at_least = match &asked.at_least {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    let cost = asked.cost.unwrap_or(0);
    let later = asked.resource.is_some() || asked.concurrency.is_some();
    let fits = !later
        && cost <= MAX_NUMBER.unsigned_abs()
        && asked.request_id.as_ref().is_none_or(|id| (1..=255).contains(&id.len()));
    let explain = asked.explain.unwrap_or(false);
    fits.then_some(Question {
        ask: Ask { permissions, ip, cost },
        request_id: asked.request_id,
        explain,
        at_least,
        api_key: asked.api_key,
    })
}

/// The same, telling every mistake.
fn careful(app: &App, body: &[u8]) -> Result<Question, Failure> {
    let value = parse(body)?;
    let mut fields = Fields::new(object(&value)?);
    // Read without the rules for names: any text may be presented as a key, and is then malformed or unknown.
    let api_key = match fields.value("api_key").map(serde_json::Value::as_str) {
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
    let at_least = fields.text("at_least", 1, 64).and_then(|text| {
        let revision = text.parse().ok();
        if revision.is_none() {
            fields.mistake("at_least", "value_error", "must be a revision that an answer of this server carried");
        }
        revision
    });
    let cost = fields.number("cost", 0, MAX_NUMBER).map_or(0, i64::unsigned_abs);
    let request_id = fields.text("request_id", 1, 255);
    let explain = fields.boolean("explain").unwrap_or(false);
    for later in ["resource", "concurrency"] {
        if fields.value(later).is_some() {
            // Left unanswered it would be taken for a yes.
            fields.mistake(later, "value_error", "this version does not decide about it yet");
        }
    }
    fields.finish(Question { ask: Ask { permissions, ip, cost }, request_id, explain, at_least, api_key })
}

fn describe(app: &App, verdict: &Verdict, ask: &Ask, revision: Revision) -> Decision {
    let key = verdict.key.as_ref();
    let facts = key.map(|key| &key.facts);
    let cap = facts.and_then(|facts| facts.character_limit);
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let lacking = key.filter(|_| verdict.code == DecisionCode::InsufficientPermissions);
    Decision {
        valid: verdict.code == DecisionCode::Valid,
        code: verdict.code,
        decision_id: DecisionId::from_random(app.entropy.id()),
        key_id: facts.map(|facts| facts.id.clone()),
        service_account_user_id: facts.map(|facts| facts.principal_id.clone()),
        workspace_id: facts.map(|facts| facts.workspace_id.clone()),
        permissions: facts.and_then(|facts| facts.permissions).map(|held| held.names(&app.catalogue)),
        missing_permissions: lacking.map(|key| missing(key, ask).names(&app.catalogue)),
        expires_at: facts.and_then(|facts| facts.expires_at).map(stead_api::time::Timestamp::seconds),
        character_limit: cap.map(number),
        character_count: facts.map(|_| number(verdict.used)),
        remaining: cap.map(|cap| number(cap.saturating_sub(verdict.used))),
        resets_at: cap.map(|_| Month::containing(app.clock.now()).ends().seconds()),
        revision: revision.to_string(),
        stale_seconds: None,
        checks: verdict.checks.clone(),
        key_name: None,
        service_account_name: None,
    }
}

/// The names that only an explanation carries: they are not in the mirror.
async fn names(
    app: &Arc<App>,
    key: &KeyRecord,
    workspace: WorkspaceId,
) -> Result<(Option<String>, Option<String>), Failure> {
    let (id, principal) = (key.facts.id.clone(), key.facts.principal_id.clone());
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let key = keys::find(tx, &workspace, &id)?.map(|row| row.name);
        Ok((key, members::name(tx, &workspace, &principal)?))
    };
    app.store.read(read).await
}
