//! HTTP of verification: questions one at a time and many at once, rehearsals, recent decisions, places given back.

use super::answer::{Beside, Names, write};
use super::decisions::PastVerdict;
use super::question::{self, Question};
use super::{Attempt, Manner, Verdict, freshness, judge, verify};
use crate::app::App;
use crate::error::Failure;
use crate::http::actor::Scope;
use crate::http::extract::{Ids, JsonBytes, JsonObject, parse};
use crate::http::fields::{Fields, MAX_MISTAKES, object, within};
use crate::http::reply::{self, Answer, json, json_bytes, no_store};
use crate::members::{self, Caller};
use crate::metrics::Via;
use crate::store::Tx;
use crate::{keys, resources};
use axum::extract::State;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use stead_api::error::ErrorCode;
use stead_api::id::{DecisionId, KeyId, LeaseId, WorkspaceId};
use stead_api::verify::Asked;
use tokio::time::Instant;

/// How long a verification waits for the state it asks for.
const AT_LEAST: Duration = Duration::from_secs(1);
/// The largest body of a batch.
const MAX_BATCH_BODY: usize = 1024 * 1024;
/// Most questions of a batch.
const MAX_BATCH: usize = 1000;

/// `POST /v1/api-keys/verify`. 200 whenever the question could be answered; 503 when it could not.
pub async fn verify_api_key(State(app): State<Arc<App>>, scope: Scope, JsonBytes(body): JsonBytes) -> Answer {
    let question = question::read(&app, &body)?;
    let mut out = Vec::with_capacity(512);
    let until = Instant::now() + AT_LEAST;
    answer(&app, (Via::Verify, until), scope.0.as_ref(), &question, &mut out).await?;
    Ok(no_store(json_bytes(out)))
}

/// Answers a question, behind what is in `out`.
async fn answer(
    app: &Arc<App>,
    (via, until): (Via, Instant),
    within: Option<&WorkspaceId>,
    question: &Question,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    if let Some(revision) = question.at_least {
        let reached = tokio::time::timeout_at(until, app.progress.reach(revision)).await;
        reached.map_err(|_| {
            Failure::refused(ErrorCode::NotYetAvailable, "The state asked for with at_least has not arrived here yet.")
        })?;
    }
    let mut beside = Beside { stale_seconds: freshness(app)?, ..Beside::default() };
    // Before the decision, which may then be by a newer state, never by an older one.
    let reached = app.progress.reached();
    let resource = question.resource.as_ref().map(|(kind, id)| (&**kind, &**id));
    let manner = Manner { within, request_id: question.request_id.as_deref(), resource, is_rehearsal: false, via };
    let verdict = verify(app, question.api_key.expose(), &question.ask, manner).await?;
    let workspace = within.or(verdict.key.as_ref().map(|key| &app.index.workspace(key).id));
    beside.revision = workspace.map(|workspace| reached.of(workspace));
    if question.explain {
        beside.checks = Some(verdict.checks(app));
        // The decision stands, and may have been charged for: names that can't be had are left out.
        beside.names = names(app, &verdict, question.resource.clone()).await.unwrap_or_default();
    }
    write(app, &verdict, &beside, out);
    Ok(())
}

/// The names that only an explanation carries: they are not in the mirror.
async fn names(app: &Arc<App>, verdict: &Verdict, resource: Option<(String, String)>) -> Result<Names, Failure> {
    let Some(key) = &verdict.key else { return Ok(Names::default()) };
    let (workspace, principal) = (app.index.workspace(key).id.clone(), app.index.principal(key).id.clone());
    let (id, via) = (key.id(), verdict.ask.resource.map(|_| verdict.before.held.via));
    let read = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let key = keys::find(tx, &workspace, &id)?.map(|row| row.name);
        let path = via.map(|via| resources::path(tx, &workspace, &principal, via, resource.as_ref())).transpose()?;
        Ok(Names { key, owner: members::name(tx, &workspace, &principal)?, path })
    };
    app.store.read(read).await
}

/// `POST /v1/api-keys/verify-batch`. Nothing is decided, or charged, if any of the questions has a mistake.
pub async fn verify_api_keys(
    State(app): State<Arc<App>>,
    scope: Scope,
    JsonBytes(body): JsonBytes<MAX_BATCH_BODY>,
) -> Answer {
    let questions = batch(&app, &body)?;
    // They wait for the states they ask for together, not one after the other.
    let until = Instant::now() + AT_LEAST;
    let mut out = b"{\"results\":[".to_vec();
    for (place, question) in questions.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let start = out.len();
        if let Err(failure) = answer(&app, (Via::Batch, until), scope.0.as_ref(), question, &mut out).await {
            // The questions before it may have been charged for, so the others' answers must go out.
            out.truncate(start);
            let (code, message) = reply::told(&failure);
            let error = serde_json::json!({ "error": { "code": code.as_str(), "message": message } });
            out.extend_from_slice(error.to_string().as_bytes());
        }
    }
    out.extend_from_slice(b"]}");
    Ok(no_store(json_bytes(out)))
}

fn batch(app: &App, body: &[u8]) -> Result<Vec<Question>, Failure> {
    #[derive(serde::Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        requests: Vec<&'a RawValue>,
    }
    if let Ok(batch) = serde_json::from_slice::<Batch<'_>>(body)
        && (1..=MAX_BATCH).contains(&batch.requests.len())
    {
        let read = batch.requests.iter().map(|ask| question::read(app, ask.get().as_bytes()));
        if let Ok(questions) = read.collect() {
            return Ok(questions);
        }
    }
    // Something is wrong: once more, to tell what.
    let value = parse(body)?;
    let mut fields = Fields::new(object(&value)?);
    let asks = fields.value("requests").and_then(serde_json::Value::as_array);
    let Some(asks) = asks.filter(|asks| (1..=MAX_BATCH).contains(&asks.len())) else {
        fields.mistake("requests", "value_error", format!("must be a list of 1–{MAX_BATCH} questions"));
        return fields.finish(Vec::new());
    };
    let (mut questions, mut mistakes) = (Vec::new(), Vec::new());
    for (place, ask) in asks.iter().enumerate() {
        match object(ask).and_then(|ask| question::careful(app, ask)) {
            Ok(question) => questions.push(question),
            Err(Failure::Invalid(found)) => {
                mistakes.extend(found.into_iter().map(|mistake| within(mistake, "requests", place)));
                if mistakes.len() >= MAX_MISTAKES {
                    break;
                }
            }
            Err(other) => return Err(other),
        }
    }
    if mistakes.is_empty() { Ok(questions) } else { Err(Failure::Invalid(mistakes)) }
}

/// `POST /v1/api-keys/leases/{lease_id}/release`.
pub async fn release_lease(State(app): State<Arc<App>>, scope: Scope, Ids([lease]): Ids<1>) -> Answer {
    let gone = || Failure::refused(ErrorCode::LeaseNotFound, "There is no such lease, or it has ended already.");
    let bits = LeaseId::from(lease).bits().ok_or_else(gone)?;
    if app.places.release(&app, scope.0.as_ref(), bits) { json(&stead_api::account::Status::ok()) } else { Err(gone()) }
}

/// `POST /v1/api-keys/{api_key_id}/simulate`: what would be decided. Takes nothing and notes nothing.
pub async fn simulate(
    State(app): State<Arc<App>>,
    caller: Caller,
    scope: Scope,
    Ids([id]): Ids<1>,
    body: JsonObject,
) -> Answer {
    let mut fields = Fields::new(&body.object);
    let asked = question::ask(&app, &mut fields);
    let (ask, resource) = fields.finish(asked)?;
    let mut beside = Beside { stale_seconds: freshness(&app)?, ..Beside::default() };
    beside.revision = scope.0.as_ref().map(|workspace| app.progress.of(workspace));
    let key = app.index.get(&KeyId::from(id)).filter(|key| scope.0.as_ref() == Some(&app.index.workspace(key).id));
    let key = key.ok_or_else(keys::not_found)?;
    if !keys::may_see(&app, &caller, app.index.principal(&key).id.clone()).await? {
        return Err(keys::not_found());
    }
    let manner = Manner { is_rehearsal: true, ..Manner::default() };
    let Attempt::Decided(verdict) = judge(&app, key, &ask, manner, app.clock.now()) else {
        return Err(Failure::Defect("a rehearsal asks for credits".into()));
    };
    let mut out = Vec::with_capacity(2048);
    explained(&app, &PastVerdict { verdict, resource }, beside, &mut out).await;
    Ok(no_store(json_bytes(out)))
}

/// A verdict with its trail and the names.
async fn explained(app: &Arc<App>, decision: &PastVerdict, beside: Beside, out: &mut Vec<u8>) {
    let PastVerdict { verdict, resource } = decision;
    let names = names(app, verdict, resource.clone()).await.unwrap_or_default();
    write(app, verdict, &Beside { checks: Some(verdict.checks(app)), names, ..beside }, out);
}

/// `GET /v1/decisions/{decision_id}`.
pub async fn get_decision(State(app): State<Arc<App>>, caller: Caller, Ids([id]): Ids<1>) -> Answer {
    let workspace = crate::accounts::routes::workspace(&caller)?;
    let decision = DecisionId::from(id).bits().and_then(|bits| app.decisions.find(&workspace, bits));
    let message = "There is no such decision. Denials and a sample of the rest are kept until newer ones come.";
    let decision = decision.ok_or_else(|| Failure::refused(ErrorCode::DecisionNotFound, message))?;
    let mut out = Vec::with_capacity(2048);
    past(&app, &decision, &mut out).await;
    Ok(no_store(json_bytes(out)))
}

/// `GET /v1/decisions`: the latest ones.
pub async fn list_decisions(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    let workspace = crate::accounts::routes::workspace(&caller)?;
    let mut out = b"{\"decisions\":[".to_vec();
    for (place, decision) in app.decisions.latest(&workspace, 100).iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        past(&app, decision, &mut out).await;
    }
    out.extend_from_slice(b"]}");
    Ok(no_store(json_bytes(out)))
}

async fn past(app: &Arc<App>, decision: &PastVerdict, out: &mut Vec<u8>) {
    let PastVerdict { verdict, resource } = decision;
    let (resource_type, resource_id) = resource.clone().unzip();
    let asked = Asked {
        permissions: verdict.ask.permissions.names(&app.catalogue),
        ip: verdict.ask.ip.map(|ip| ip.to_string()),
        cost: i64::try_from(verdict.ask.cost).unwrap_or(i64::MAX),
        concurrency: verdict.ask.concurrency.map(|(kind, _)| kind.as_str().to_owned()),
        resource_type,
        resource_id,
        role: verdict.ask.resource.map(|(_, role)| role),
    };
    let asked = serde_json::to_string(&asked).unwrap_or_default();
    out.extend_from_slice(format!(r#"{{"decided_at":{},"asked":{asked},"decision":"#, verdict.at.seconds()).as_bytes());
    explained(app, decision, Beside::default(), out).await;
    out.push(b'}');
}
