//! The outbox: events are written in the transaction that they tell of, with a delivery for each webhook that wants
//! them. What became of the deliveries can be read, and each can be sent again.
//!
//! Order is kept per webhook and object (a key, an account): of the deliveries about one object only the first that is
//! open is ever sent. What fails holds up only what is about the same object, and no longer than its retries last.

mod queries;

use super::row::WebhookRow;
use crate::app::App;
use crate::seal;
use crate::store::{Error, Tx};
use queries::{DeliveryRow, Due, EventRow};
use serde::Serialize;
use serde_json::{Value, json};
use stead_api::id::{EventId, WorkspaceId};
use stead_api::time::Timestamp;
use stead_api::webhook::{DeliveryStatus, WebhookDelivery};
use stead_verify::pepper::{Label, Ring};

pub use queries::Place;

/// Most open deliveries of a webhook; what comes on top is given up at once.
pub const MAX_OPEN: i64 = 10_000;

/// What goes out. The order of the fields is that of the wire's example.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    data: &'a Value,
    event_timestamp: i64,
    event_id: &'a EventId,
    workspace_id: &'a WorkspaceId,
}

impl EventRow {
    fn new(
        app: &App,
        workspace: &WorkspaceId,
        now: Timestamp,
        seq: i64,
        kind: &str,
        data: &Value,
    ) -> Result<Self, Error> {
        let id = EventId::from_random(app.entropy.id());
        let body = Body { r#type: kind, data, event_timestamp: now.seconds(), event_id: &id, workspace_id: workspace };
        let body = serde_json::to_string(&body).map_err(|error| Error::Defect(error.to_string()))?;
        let mut row = Self {
            seq,
            id: id.to_string(),
            kind: kind.to_owned(),
            object_id: object(kind, data).to_owned(),
            body,
            at: now.0,
            seal: Vec::new(),
        };
        row.seal = app.ring.seal(Label::Webhook, &row.sealed_bytes(workspace)).to_vec();
        Ok(row)
    }

    fn sealed_bytes(&self, workspace: &WorkspaceId) -> Vec<u8> {
        seal::bytes(&("event", workspace.as_str(), self.seq, &self.id, &self.kind, &self.body, self.at))
    }

    fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed(Label::Webhook, &self.sealed_bytes(workspace), &self.seal)
    }
}

/// What an event is about, by its id; by its kind where it names none.
fn object<'a>(kind: &'a str, data: &'a Value) -> &'a str {
    let family = kind.split('.').next().unwrap_or(kind);
    let id = match family {
        "api_key" => data["api_key_id"].as_str().or_else(|| data["key_id"].as_str()),
        "service_account" => data["service_account_user_id"].as_str(),
        "group" => data["group_id"].as_str(),
        "member" => data["user_id"].as_str(),
        _ => data["id"].as_str(),
    };
    id.unwrap_or(family)
}

/// Puts events into the outbox, in the transaction that they tell of; whether there is anything to send now. A workspace
/// without webhooks costs one read. `actor` is as the audit log has it.
pub fn enqueue(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    now: Timestamp,
    actor: &Value,
    events: Vec<(&'static str, Value)>,
) -> Result<bool, Error> {
    if events.is_empty() {
        return Ok(false);
    }
    let rows = super::queries::all(tx, workspace)?.into_iter().filter(WebhookRow::works);
    // Each with how much of it is open, once that is asked for.
    let mut webhooks: Vec<(_, Option<i64>)> = rows.map(|row| (row, None)).collect();
    if webhooks.is_empty() {
        return Ok(false);
    }
    // Who it was, but not from where: that is for the audit log.
    let named = |name: &str| actor.get(name).cloned().unwrap_or_default();
    let actor =
        json!({ "type": named("type"), "id": named("id"), "name": named("name"), "api_key_id": named("key_id") });
    let (mut seq, mut anything) = (queries::last_seq(tx, workspace)?, false);
    for (kind, mut data) in events {
        if let Value::Object(data) = &mut data {
            data.insert("actor".into(), actor.clone());
        }
        let mut event = None;
        for (webhook, open) in webhooks.iter_mut().filter(|(webhook, _)| webhook.wants(kind)) {
            if event.is_none() {
                seq += 1;
                let row = EventRow::new(app, workspace, now, seq, kind, &data)?;
                queries::insert_event(tx, workspace, &row)?;
                event = Some(row);
            }
            let Some(event) = &event else { continue };
            let count = match *open {
                Some(count) => count,
                None => queries::count_open(tx, workspace, &webhook.id, MAX_OPEN)?,
            };
            *open = Some(count + 1);
            let given_up = (count >= MAX_OPEN).then_some("too_many_pending");
            if given_up.is_some() {
                tracing::warn!(webhook = webhook.id, "too many deliveries wait; an event is given up");
            }
            let place = Place { workspace: workspace.clone(), webhook: webhook.id.clone(), seq };
            queries::insert_delivery(tx, &place, &event.object_id, now, given_up)?;
            anything |= given_up.is_none();
        }
    }
    Ok(anything)
}

/// An event for one webhook alone, whatever it subscribes to.
pub(super) fn enqueue_for(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    now: Timestamp,
    webhook: &str,
    kind: &str,
    data: &Value,
) -> Result<EventId, Error> {
    let seq = queries::last_seq(tx, workspace)? + 1;
    let event = EventRow::new(app, workspace, now, seq, kind, data)?;
    queries::insert_event(tx, workspace, &event)?;
    let place = Place { workspace: workspace.clone(), webhook: webhook.to_owned(), seq };
    queries::insert_delivery(tx, &place, &event.object_id, now, None)?;
    Ok(event.id.into())
}

/// Opens a delivery anew; whether there is such a one.
pub(super) fn reopen(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    event: &EventId,
    now: Timestamp,
) -> Result<bool, Error> {
    let Some((seq, object)) = queries::place_of(tx, workspace, event.as_str())? else { return Ok(false) };
    let place = Place { workspace: workspace.clone(), webhook: webhook.to_owned(), seq };
    queries::reopen(tx, &place, &object, now)
}

/// Gives up everything of a webhook that is open; how much that was.
pub(super) fn give_up_open(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    why: &str,
    now: Timestamp,
) -> Result<u64, Error> {
    queries::give_up_open(tx, workspace, webhook, why, now)
}

/// A page of a webhook's deliveries, the newest event first, and where the next one begins.
pub(super) fn page(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    webhook: &str,
    status: Option<DeliveryStatus>,
    before: Option<i64>,
    limit: usize,
) -> Result<(Vec<WebhookDelivery>, Option<i64>), Error> {
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let status = status.map(DeliveryStatus::as_str);
    let mut rows = queries::page(tx, workspace, webhook, status, before.unwrap_or(i64::MAX), most)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| more).map(|row| row.seq);
    Ok((rows.into_iter().map(view).collect(), next))
}

fn view(row: DeliveryRow) -> WebhookDelivery {
    let seconds = |at: i64| Timestamp(at).seconds();
    WebhookDelivery {
        event_id: row.event_id.into(),
        kind: row.kind,
        status: DeliveryStatus::parse(&row.status).unwrap_or(DeliveryStatus::Dead),
        attempts: row.attempts,
        created_at_unix: seconds(row.at),
        last_attempt_at_unix: row.last_at.map(seconds),
        next_attempt_at_unix: if row.finished_at.is_some() { None } else { Some(seconds(row.next_at)) },
        last_response_status: row.last_status,
        last_error: row.last_error,
    }
}

/// A delivery that this node has taken upon itself.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) place: Place,
    pub(super) object: String,
    pub(super) event_id: String,
    pub(super) body: String,
    /// Attempts before this one.
    pub(super) attempts: i64,
    /// Since when it is tried.
    pub(super) since: Timestamp,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) claimed: Claimed,
    /// The status of a success; else the status, if there was one, and why it failed.
    pub(super) result: Result<u16, (Option<u16>, &'static str)>,
    /// When it is tried again; `None`: it is given up.
    pub(super) next_at: Option<Timestamp>,
}

/// Whether anything could be sent now.
pub(super) fn is_any_due(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    queries::is_any_due(tx, now)
}

/// The next webhook after another one that has something open.
pub(super) fn next_webhook(tx: &mut Tx<'_>, after: &(String, String)) -> Result<Option<(String, String)>, Error> {
    queries::next_webhook(tx, after)
}

/// Takes up to `most` of a webhook's due deliveries upon a node until some instant. An event that somebody else wrote is
/// given up.
pub(super) fn claim(
    tx: &mut Tx<'_>,
    ring: &Ring,
    (workspace, webhook): (&WorkspaceId, &str),
    node: &str,
    now: Timestamp,
    until: Timestamp,
    most: usize,
) -> Result<Vec<Claimed>, Error> {
    let mut claimed = Vec::new();
    for Due { attempts, since, event } in
        queries::due(tx, workspace, webhook, now, i64::try_from(most).unwrap_or(i64::MAX))?
    {
        let place = Place { workspace: workspace.clone(), webhook: webhook.to_owned(), seq: event.seq };
        if !queries::claim(tx, &place, node, now, until)? {
            continue;
        }
        if !event.is_sealed(ring, workspace) {
            tracing::error!(event = event.id, "the event was changed behind the server's back and is not sent");
            let failed = queries::Failed { status: None, why: "not_trusted", next_at: None, attempts, node };
            queries::failed(tx, &place, &failed, now)?;
            queries::release(tx, &place, &event.object_id, now)?;
            continue;
        }
        let EventRow { id: event_id, object_id: object, body, .. } = event;
        claimed.push(Claimed { place, object, event_id, body, attempts, since: Timestamp(since) });
    }
    Ok(claimed)
}

/// Frees what other nodes have claimed: where no other node can be.
pub(super) fn free_claims(tx: &mut Tx<'_>, node: &str) -> Result<(), Error> {
    queries::free_claims(tx, node)
}

/// Writes down what became of an attempt; whether that was news.
pub(super) fn settle(tx: &mut Tx<'_>, attempt: &Attempt, node: &str, now: Timestamp) -> Result<bool, Error> {
    let Attempt { claimed, result, next_at } = attempt;
    let Claimed { place, object, .. } = claimed;
    let (is_news, again_at) = match result {
        Ok(status) => (queries::arrived(tx, place, (*status).into(), now)?, None),
        Err((status, why)) => {
            let next_at = next_at.map(|at| at.0);
            let status = status.map(i64::from);
            let failed = queries::Failed { status, why, next_at, attempts: claimed.attempts, node };
            (queries::failed(tx, place, &failed, now)?, next_at)
        }
    };
    if is_news {
        match again_at {
            Some(until) => queries::hold_back(tx, place, object, until)?,
            // Finished, perhaps earlier than what waits behind it was told.
            None => queries::release(tx, place, object, now)?,
        }
    }
    Ok(is_news)
}

/// Most rows that are forgotten at a time.
const FORGOTTEN: i64 = 1_000;
/// So long a delivery can be looked up, in seconds.
const DELIVERED_KEPT: i64 = 7 * 86_400;
/// So long a dead letter can be sent again.
const DEAD_KEPT: i64 = 30 * 86_400;

/// Forgets what is finished for long; whether there may be more.
pub(super) fn forget(tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Error> {
    let rows = queries::forget(tx, now.plus_seconds(-DELIVERED_KEPT), now.plus_seconds(-DEAD_KEPT), FORGOTTEN)?;
    Ok(rows >= FORGOTTEN.unsigned_abs())
}
