//! Webhooks: others are told of what was changed (wire §13.3).
//!
//! - `row`: the record; [`mod@self`]: create, change, delete, a new secret
//! - [`outbox`]: events are written in the transaction that they tell of
//! - [`sender`]: what is due goes out, again and again until it arrives or is given up
//! - [`address`], [`target`], [`headers`], [`transport`]: where to, what along, and how: nothing inside is reached
//! - [`notices`]: events that time brings, and credits
//! - `queries`, [`routes`]: SQL and HTTP

pub mod address;
pub mod headers;
pub mod notices;
pub mod outbox;
mod queries;
pub mod routes;
mod row;
pub mod sender;
pub mod target;
pub mod transport;

use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, Committed, Made, Mutation};
use crate::keys::note_change;
use crate::members::Caller;
use crate::seal::hex;
use crate::store::{Error, Tx};
use crate::workspaces;
use queries::State;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{EventId, KeyId, WebhookId, WorkspaceId};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_api::webhook::{DeliveryStatus, EVENTS, UpdateWebhook, Webhook, WebhookDelivery, WebhookSettings};
use stead_verify::pepper::Ring;
use target::{Host, Target};

pub use outbox::enqueue;
pub use row::WebhookRow;

/// Most webhooks of a workspace.
pub const MAX_WEBHOOKS: usize = 50;
/// The longest that an old secret may go on, in seconds.
pub const MAX_GRACE_SECONDS: i64 = 30 * 86_400;

/// The one refusal for what is not there and what is another workspace's.
fn not_found() -> Failure {
    Failure::refused(ErrorCode::WebhookNotFound, "There is no such webhook, or no such delivery of it.")
}

fn live(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &WebhookId) -> Result<WebhookRow, Failure> {
    queries::find(tx, workspace, id.as_str())?.ok_or_else(not_found)
}

/// One that may be changed: a row that somebody else wrote must not get a seal.
fn trusted(m: &mut Mutation<'_, '_>, id: &WebhookId) -> Result<WebhookRow, Failure> {
    let workspace = m.workspace_id();
    let row = live(m.tx, &workspace, id)?;
    if row.is_sealed(&m.app.ring, &workspace) {
        return Ok(row);
    }
    let message = "The webhook was changed behind the server's back and is refused. It can only be deleted.";
    Err(Failure::refused(ErrorCode::NotTrusted, message))
}

fn save(m: &mut Mutation<'_, '_>, row: &mut WebhookRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.reseal(&m.app.ring, &workspace);
    Ok(queries::save(m.tx, &workspace, row)?)
}

/// Every webhook whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let broken = |(workspace, row): &(WorkspaceId, WebhookRow)| !row.is_sealed(ring, workspace);
    Ok(queries::all_workspaces(tx)?.into_iter().filter(broken).map(|(_, row)| row.id).collect())
}

/// All webhooks of the caller's workspace, the oldest first.
pub async fn list(app: &Arc<App>, workspace: WorkspaceId, with_usages: bool) -> Result<Vec<Webhook>, Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let rows = queries::all(tx, &workspace)?;
        rows.into_iter().map(|row| view(&worker, tx, &workspace, &row, with_usages)).collect()
    };
    app.store.read(read).await
}

/// One webhook.
pub async fn get(app: &Arc<App>, workspace: WorkspaceId, id: WebhookId) -> Result<Webhook, Failure> {
    let worker = app.clone();
    let read = move |tx: &mut Tx<'_>| {
        let row = live(tx, &workspace, &id)?;
        view(&worker, tx, &workspace, &row, true)
    };
    app.store.read(read).await
}

fn view(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    row: &WebhookRow,
    with_usages: bool,
) -> Result<Webhook, Failure> {
    let state = queries::state(tx, workspace, &row.id)?;
    let seconds = |at: i64| Timestamp(at).seconds();
    let all = || EVENTS.map(str::to_owned).to_vec();
    Ok(Webhook {
        name: row.name.clone(),
        webhook_id: row.id.as_str().into(),
        webhook_url: row.url.clone(),
        is_disabled: row.is_disabled,
        is_auto_disabled: row.is_auto_disabled,
        created_at_unix: seconds(row.created_at),
        auth_type: "hmac".into(),
        usage: with_usages.then(Vec::new),
        events: with_usages.then(|| row.events.clone().unwrap_or_else(all)),
        most_recent_failure_error_code: state.last_failure_status,
        most_recent_failure_timestamp: state.last_failure_at.map(seconds),
        retry_enabled: row.retry_enabled,
        // What can't be read has none: a list must be had all the same.
        request_header_names: row.headers(&app.ring, workspace).unwrap_or_default().into_keys().collect(),
        next_secret_active_from_unix: row.next_secret_from.filter(|from| *from > app.clock.now().0).map(seconds),
    })
}

fn mint(app: &App) -> Secret {
    Secret::new(format!("wsec_{}", hex(&app.entropy.bytes::<32>())))
}

fn encrypted_headers(
    m: &Mutation<'_, '_>,
    id: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Option<Vec<u8>>, Failure> {
    if headers.is_empty() {
        return Ok(None);
    }
    let text = serde_json::to_string(headers).map_err(|error| Failure::Defect(error.to_string()))?;
    row::close(m.app, &m.workspace_id(), id, &text).map(Some)
}

/// Makes a webhook; its secret goes with the answer. The URL was read already.
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    new: WebhookSettings,
    target: Target,
) -> Result<Committed<WebhookId>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        if queries::all(m.tx, &workspace)?.len() >= MAX_WEBHOOKS {
            let message = format!("The workspace has {MAX_WEBHOOKS} webhooks, which is as many as it may have.");
            return Err(Failure::refused(ErrorCode::LimitReached, message));
        }
        let id = WebhookId::from_random(m.app.entropy.id());
        let secret = mint(m.app);
        let headers = new.request_headers.clone().unwrap_or_default();
        let mut row = WebhookRow {
            id: id.to_string(),
            name: new.name.clone(),
            url: new.webhook_url.clone(),
            is_disabled: false,
            is_auto_disabled: false,
            retry_enabled: new.retry_enabled.unwrap_or(true),
            events: new.events.clone(),
            headers: encrypted_headers(m, id.as_str(), &headers)?,
            secret: row::close(m.app, &workspace, id.as_str(), secret.expose())?,
            next_secret: None,
            next_secret_from: None,
            created_at: m.now.0,
            version: 0,
            seal: Vec::new(),
        };
        save(m, &mut row)?;
        // The path may hold a password of the receiver's.
        let host = match &target.host {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        let names: Vec<_> = headers.keys().collect();
        m.audit("Webhook Creation", row.target(), json!({ "host": host, "events": row.events, "headers": names }));
        Ok(Made { key_id: Some(KeyId::from(id.as_str())), ..Made::with_secret(id, Some(secret)) })
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Changes a webhook. Disabling gives up what waits; enabling forgets the failures.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    id: WebhookId,
    change: UpdateWebhook,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let old = trusted(m, &id)?;
        let mut row = old.clone();
        row.name.clone_from(&change.name);
        row.is_disabled = change.is_disabled;
        row.is_auto_disabled = old.is_auto_disabled && change.is_disabled;
        row.retry_enabled = change.retry_enabled.unwrap_or(old.retry_enabled);
        if let Some(events) = &change.events {
            row.events = Some(events.clone());
        }
        let mut details = Map::new();
        if let Some(headers) = &change.request_headers {
            let known = old.headers(&m.app.ring, &workspace)?;
            let value = |name: &String, value: &Option<String>| value.clone().or_else(|| known.get(name).cloned());
            let headers: BTreeMap<_, _> =
                headers.iter().filter_map(|(name, given)| Some((name.clone(), value(name, given)?))).collect();
            if headers != known {
                row.headers = encrypted_headers(m, &row.id, &headers)?;
                details.insert("headers".into(), json!(headers.keys().collect::<Vec<_>>()));
            }
        }
        note_change(&mut details, "name", &old.name, &row.name);
        note_change(&mut details, "is_disabled", &old.is_disabled, &row.is_disabled);
        note_change(&mut details, "is_auto_disabled", &old.is_auto_disabled, &row.is_auto_disabled);
        note_change(&mut details, "retry_enabled", &old.retry_enabled, &row.retry_enabled);
        note_change(&mut details, "events", &old.events, &row.events);
        if !details.is_empty() {
            if old.works() && !row.works() {
                outbox::give_up_open(m.tx, &workspace, &row.id, "webhook_disabled", m.now)?;
            }
            if !old.works() && row.works() {
                let state = queries::state(m.tx, &workspace, &row.id)?;
                queries::save_state(m.tx, &workspace, &row.id, &State { failures: 0, ..state })?;
            }
            save(m, &mut row)?;
            m.audit("Webhook Update", row.target(), Value::Object(details));
        }
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Deletes a webhook with what waits for it, for good; also one that somebody else wrote.
pub async fn delete(app: &Arc<App>, caller: &Caller, id: WebhookId) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = live(m.tx, &workspace, &id)?;
        queries::delete(m.tx, &workspace, &row.id)?;
        m.audit("Webhook Deletion", row.target(), json!({}));
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Makes a new secret, which signs after the grace period. One signature at a time: of two in a header one SDK takes the
/// first, the other the last.
pub async fn rotate_secret(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    id: WebhookId,
    grace_seconds: i64,
) -> Result<Committed<(WebhookId, i64)>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let mut row = trusted(m, &id)?;
        let secret = mint(m.app);
        let fresh = row::close(m.app, &m.workspace_id(), &row.id, secret.expose())?;
        let from = m.now.plus_seconds(grace_seconds);
        row.secret = row.secret_at(m.now).to_vec();
        (row.next_secret, row.next_secret_from) = (None, None);
        if grace_seconds == 0 {
            row.secret = fresh;
        } else {
            (row.next_secret, row.next_secret_from) = (Some(fresh), Some(from.0));
        }
        save(m, &mut row)?;
        m.audit("Webhook Update", row.target(), json!({ "secret_rotated": { "active_from": from.0 } }));
        let value = (id.clone(), from.seconds());
        Ok(Made { key_id: Some(KeyId::from(id.as_str())), ..Made::with_secret(value, Some(secret)) })
    };
    mutation::mutate(app, caller, retry, operation).await
}

fn check_works(row: &WebhookRow) -> Result<(), Failure> {
    if row.works() {
        return Ok(());
    }
    Err(Failure::refused(ErrorCode::BadRequest, "The webhook is disabled. Enable it first."))
}

/// Sends a `webhook.test` event on its way.
pub async fn test(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    id: WebhookId,
) -> Result<Committed<EventId>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = trusted(m, &id)?;
        check_works(&row)?;
        let data = json!({ "id": row.id, "webhook_id": row.id, "name": row.name });
        let event = outbox::enqueue_for(m.app, m.tx, &workspace, m.now, &row.id, "webhook.test", &data)?;
        m.audit("Webhook Management", row.target(), json!({ "tested": event }));
        Ok(event.into())
    };
    let made = mutation::mutate(app, caller, retry, operation).await?;
    app.sender.wake.notify_one();
    Ok(made)
}

/// Sends an event once more, with the same id and the same bytes.
pub async fn redeliver(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    id: WebhookId,
    event: EventId,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = trusted(m, &id)?;
        check_works(&row)?;
        if !outbox::reopen(m.tx, &workspace, &row.id, &event, m.now)? {
            return Err(not_found());
        }
        m.audit("Webhook Management", row.target(), json!({ "redelivered": event }));
        Ok(Status::ok().into())
    };
    let made = mutation::mutate(app, caller, retry, operation).await?;
    app.sender.wake.notify_one();
    Ok(made)
}

/// A page of a webhook's deliveries, and where the next one begins.
pub async fn deliveries(
    app: &Arc<App>,
    workspace: WorkspaceId,
    id: WebhookId,
    status: Option<DeliveryStatus>,
    before: Option<i64>,
    limit: usize,
) -> Result<(Vec<WebhookDelivery>, Option<i64>), Failure> {
    let read = move |tx: &mut Tx<'_>| {
        let row = live(tx, &workspace, &id)?;
        Ok(outbox::page(tx, &workspace, &row.id, status, before, limit)?)
    };
    app.store.read(read).await
}

/// Disables a webhook that nothing reaches any more, and gives up what waits for it.
async fn disable_by_itself(app: &Arc<App>, workspace: WorkspaceId, id: String) -> Result<(), Failure> {
    let locked = workspace.clone();
    let open = move |app: &App, tx: &mut Tx<'_>| {
        // Nothing is written, and so nothing sealed, in a workspace that somebody else wrote.
        Ok(Some(workspaces::lock(tx, &locked)?).filter(|row| row.is_sealed(&app.ring)))
    };
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        let row = queries::find(m.tx, &workspace, &id)?;
        let Some(mut row) = row.filter(|row| row.works() && row.is_sealed(&m.app.ring, &workspace)) else {
            return Ok(().into());
        };
        let state = queries::state(m.tx, &workspace, &id)?;
        if !sender::is_hopeless(&state, m.now) {
            return Ok(().into());
        }
        row.is_auto_disabled = true;
        save(m, &mut row)?;
        let given_up = outbox::give_up_open(m.tx, &workspace, &id, "webhook_disabled", m.now)?;
        tracing::warn!(webhook = id, given_up, "the webhook fails and fails, and is disabled");
        m.audit(
            "Webhook Update",
            row.target(),
            json!({ "is_auto_disabled": { "from": false, "to": true }, "failures": state.failures }),
        );
        Ok(().into())
    };
    mutation::write(app, workspace, Caller::system(), None, open, operation).await.map(drop)
}
