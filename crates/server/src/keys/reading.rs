//! Reading keys: for the mirror, for lists, for one's own eyes.

use super::queries::{self, Filter};
use super::row::KeyRow;
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::Mutation;
use crate::members::{self, Caller};
use crate::store::{Error, Tx};
use crate::{accounts, seal, workspaces};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::key::{ApiKey, Limit, OwnApiKey, PlatformLimits};
use stead_api::permission::Catalogue;
use stead_api::time::Timestamp;
use stead_verify::facts::Fact;
use stead_verify::index::KeyRecord;
use stead_verify::pepper::Ring;
use stead_verify::period::Period;

/// The mirror says `REVOKED` for this long, `NOT_FOUND` afterwards; the store keeps the row for ever.
const REVOKED_SECONDS: i64 = 30 * 24 * 60 * 60;
/// Rows that are handed from thread to thread at once, and how many such lots may wait.
const BATCH: usize = 256;
const BATCHES: usize = 16;

/// A key, revoked ones included.
pub fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &KeyId) -> Result<Option<KeyRow>, Error> {
    queries::find(tx, workspace, id.as_str())
}

/// The keys of a lineage that have a cap and are not revoked, the newest last.
pub fn capped_of_lineage(tx: &mut Tx<'_>, workspace: &WorkspaceId, lineage: &LineageId) -> Result<Vec<KeyRow>, Error> {
    queries::capped_of_lineage(tx, workspace, lineage)
}

/// How many keys there are in the store, revoked ones included.
pub fn count_all(tx: &mut Tx<'_>) -> Result<usize, Error> {
    queries::count_all(tx)
}

/// Hands over every key's facts, for the mirror. A row that somebody else wrote is left out, so nobody finds it. Rows are
/// read by one thread and their seals checked by the others, since that takes longer.
pub fn each_fact(
    tx: &mut Tx<'_>,
    ring: &Ring,
    catalogue: &Catalogue,
    now: Timestamp,
    take: impl Fn(Fact) + Sync,
) -> Result<(), Error> {
    let since = now.plus_seconds(-REVOKED_SECONDS);
    let (send, receive) = sync_channel::<Vec<(WorkspaceId, KeyRow)>>(BATCHES);
    let (receive, failed) = (Mutex::new(receive), Mutex::new(None));
    let check = || {
        loop {
            let batch = receive.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(batch) = batch else { return };
            for (workspace, row) in batch {
                if !row.is_sealed(ring, &workspace) {
                    tracing::error!(key = row.id, "the key's row was changed behind the server's back; it is refused");
                    continue;
                }
                match row.fact(catalogue, &workspace) {
                    Ok(fact) => take(fact),
                    Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
                }
            }
        }
    };
    let read = std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, std::num::NonZero::get) {
            scope.spawn(check);
        }
        let mut batch = Vec::with_capacity(BATCH);
        let read = queries::each(tx, since, |workspace, row| {
            batch.push((workspace, row));
            if batch.len() == BATCH {
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
                send.send(full).map_err(|_| Error::Defect("nobody checks the rows".into()))?;
            }
            Ok(())
        });
        let last = send.send(batch).map_err(|_| Error::Defect("nobody checks the rows".into()));
        drop(send);
        read.and(last)
    });
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => read,
    }
}

/// One key's facts; none if somebody else wrote its row.
pub fn fact(
    tx: &mut Tx<'_>,
    ring: &Ring,
    catalogue: &Catalogue,
    workspace: &WorkspaceId,
    id: &KeyId,
) -> Result<Option<Fact>, Error> {
    let row = find(tx, workspace, id)?.filter(|row| row.is_sealed(ring, workspace));
    row.map(|row| row.fact(catalogue, workspace)).transpose()
}

/// Every key of every workspace whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let mut broken = Vec::new();
    queries::each(tx, Timestamp(i64::MIN), |workspace, row| {
        if !row.is_sealed(ring, &workspace) {
            broken.push(row.id);
        }
        Ok(())
    })?;
    Ok(broken)
}

/// The keys of one owner that are not revoked, oldest first.
pub fn rows_of_principal(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Vec<KeyRow>, Error> {
    Ok(queries::of_principal(tx, workspace, principal)?.into_iter().map(|(row, _)| row).collect())
}

/// The same, as lists show them.
pub fn of_principal(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Vec<ApiKey>, Error> {
    let rows = queries::of_principal(tx, workspace, principal)?;
    Ok(rows.iter().map(|(row, used)| view(app, row, *used)).collect())
}

/// All keys of a workspace that are not revoked, as lists show them, oldest first.
pub fn all_unrevoked(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<ApiKey>, Error> {
    Ok(queries::unrevoked(tx, workspace)?.iter().map(|(row, used)| view(app, row, *used)).collect())
}

/// When a key of an owner was last accepted, revoked keys included.
pub fn last_use_of(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Option<Timestamp>, Error> {
    let uses = queries::uses_of(tx, workspace, principal)?;
    Ok(uses.into_iter().filter_map(|(key, stored)| last_use(app, &key.into(), stored)).max())
}

/// When a key of each owner was last accepted, revoked keys included.
pub fn last_uses(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<HashMap<String, Timestamp>, Error> {
    let mut uses: HashMap<String, Timestamp> = HashMap::new();
    for (principal, key, stored) in queries::uses(tx, workspace)? {
        if let Some(used) = last_use(app, &key.into(), stored) {
            let latest = uses.entry(principal).or_insert(used);
            *latest = (*latest).max(used);
        }
    }
    Ok(uses)
}

/// What this node knows of a key's last use, which may be more than the store does.
pub(super) fn use_in_memory(app: &App, key: &KeyId) -> Option<Timestamp> {
    app.index.get(key).and_then(|record| app.index.last_used(record.place()))
}

/// What the store knows of a key's last use, and what this node knows better.
fn last_use(app: &App, key: &KeyId, stored: Option<i64>) -> Option<Timestamp> {
    use_in_memory(app, key).max(stored.map(Timestamp))
}

/// A digest hashed once more, so that what is shown is not what is stored.
fn shown_hash(digest: &[u8]) -> String {
    seal::hex(&Sha256::digest(digest))
}

/// Whose a key is, and what it is called: what its usage is told by.
#[derive(Clone, Debug)]
pub struct Attribution {
    /// The key.
    pub id: KeyId,
    /// Its owner.
    pub principal_id: PrincipalId,
    /// Its name.
    pub name: String,
    /// As lists show it.
    pub hashed_xi_api_key: String,
}

/// Of every key of a workspace or of one owner, revoked ones included.
pub fn attributions(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    owner: Option<&PrincipalId>,
) -> Result<Vec<Attribution>, Error> {
    queries::names(tx, workspace, owner, |id, principal, name, digest| Attribution {
        id: id.into(),
        principal_id: principal.into(),
        name,
        hashed_xi_api_key: shown_hash(&digest),
    })
}

/// Of one key.
pub fn attribution(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &KeyId) -> Result<Option<Attribution>, Error> {
    let row = queries::find(tx, workspace, id.as_str())?;
    Ok(row.map(|row| Attribution {
        id: row.id(),
        principal_id: row.principal_id.as_str().into(),
        hashed_xi_api_key: shown_hash(&row.digest),
        name: row.name,
    }))
}

/// A key as lists show it.
pub(super) fn view(app: &App, row: &KeyRow, stored_use: Option<i64>) -> ApiKey {
    let now = app.clock.now();
    let (used, forfeited) = credits_of(app, row, now);
    let seconds = |at: Option<i64>| at.map(|at| Timestamp(at).seconds());
    let limit = |limit| Limit { limit };
    let created = Timestamp(row.created_at).seconds();
    ApiKey {
        name: row.name.clone(),
        hint: row.hint.clone(),
        key_id: row.id(),
        api_key_id: row.id(),
        service_account_user_id: row.principal_id.as_str().into(),
        service_account_id: row.principal_id.as_str().into(),
        hashed_xi_api_key: shown_hash(&row.digest),
        description: row.description.clone(),
        created_at_unix: created,
        created_at: created,
        is_disabled: row.is_disabled,
        status: row.status(now),
        permissions: row.permissions.clone(),
        disable_reason: row.disable_reason.clone(),
        exposed_at: seconds(row.exposed_at),
        character_limit: row.character_limit,
        character_count: used,
        character_forfeited: forfeited,
        rate_limits: row.rate_limits.clone(),
        allowed_ips: row.allowed_ips.clone(),
        third_party_disable_allowed: row.third_party_disable_allowed,
        platform_limits: Some(PlatformLimits {
            concurrency: limit(row.tts_concurrency_limit),
            dubbing_concurrency: limit(row.dubbing_concurrency_limit),
            music_concurrency: limit(row.music_concurrency_limit),
        }),
        expires_at_unix: seconds(row.expires_at),
        expires_at: seconds(row.expires_at),
        last_used_at: last_use(app, &row.id(), stored_use).map(Timestamp::seconds),
        revoked_at: seconds(row.revoked_at),
        lineage_id: row.lineage_id.as_str().into(),
        rotated_from: row.rotated_from.as_deref().map(Into::into),
        rotated_to: row.rotated_to.as_deref().map(Into::into),
    }
}

/// Credits that a key's lineage has used this month, and those that were lost.
fn credits_of(app: &App, row: &KeyRow, now: Timestamp) -> (i64, i64) {
    let record = app.index.get(&row.id());
    record.map_or((0, 0), |record| month_of(app, &record, now).0)
}

/// Used and forfeited credits of the month, and the month.
pub fn month_of(app: &App, key: &KeyRecord, now: Timestamp) -> ((i64, i64), Period) {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let period = app.index.workspace(key).period(now);
    let Some(ledger) = app.index.find_ledger(key.lineage_bits()) else { return ((0, 0), period) };
    let mut account = ledger.lock();
    account.credits.turn(period);
    ((number(account.credits.used()), number(account.credits.forfeited())), period)
}

/// The owner that a path names: a service account, or the caller's own person, whose keys are managed likewise.
/// Anybody else's reads the same as nobody's.
fn owner(tx: &mut Tx<'_>, caller_id: Option<&str>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<(), Failure> {
    if caller_id == Some(id.as_str()) { Ok(()) } else { accounts::live(tx, workspace, id).map(drop) }
}

pub(super) fn live(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
    id: &KeyId,
) -> Result<KeyRow, Failure> {
    let row = queries::find(tx, workspace, id.as_str())?;
    row.filter(|row| row.revoked_at.is_none() && row.principal_id == principal.as_str()).ok_or_else(not_found)
}

/// Checks the owner that the path of a change names.
pub(super) fn addressed_owner(m: &mut Mutation<'_, '_>, principal: &PrincipalId) -> Result<(), Failure> {
    let own = m.authority.key.as_ref().map(|key| key.principal_id.as_str());
    owner(m.tx, own, &m.workspace.id(), principal)
}

/// The key that the path of a change names. A row that somebody else wrote must not get a seal: it can only be revoked.
pub(super) fn addressed_key(m: &mut Mutation<'_, '_>, principal: &PrincipalId, id: &KeyId) -> Result<KeyRow, Failure> {
    addressed_owner(m, principal)?;
    let workspace = m.workspace_id();
    let row = live(m.tx, &workspace, principal, id)?;
    if row.is_sealed(&m.app.ring, &workspace) {
        return Ok(row);
    }
    let message = "The key was changed behind the server's back and is refused. It can only be revoked.";
    Err(Failure::refused(ErrorCode::NotTrusted, message))
}

/// The refusal for a key that is not there, or not the caller's.
pub fn not_found() -> Failure {
    Failure::refused(ErrorCode::ApiKeyNotFound, "There is no such API key.")
}

/// The owner's id of the key that asks.
fn own_id(caller: &Caller) -> Option<String> {
    caller.key().map(|key| key.principal_id.to_string())
}

/// The keys of an owner, oldest first.
pub async fn list(
    app: &Arc<App>,
    caller: &Caller,
    workspace: WorkspaceId,
    principal: PrincipalId,
) -> Result<Vec<ApiKey>, Failure> {
    let (worker, own) = (app.clone(), own_id(caller));
    let read = move |tx: &mut Tx<'_>| {
        owner(tx, own.as_deref(), &workspace, &principal)?;
        Ok(of_principal(&worker, tx, &workspace, &principal)?)
    };
    app.store.read(read).await
}

/// One key.
pub async fn get(
    app: &Arc<App>,
    caller: &Caller,
    workspace: WorkspaceId,
    principal: PrincipalId,
    id: KeyId,
) -> Result<ApiKey, Failure> {
    let (worker, own) = (app.clone(), own_id(caller));
    let read = move |tx: &mut Tx<'_>| {
        owner(tx, own.as_deref(), &workspace, &principal)?;
        let row = live(tx, &workspace, &principal, &id)?;
        let used = queries::last_used(tx, &workspace, &id)?;
        Ok(view(&worker, &row, used))
    };
    app.store.read(read).await
}

/// The key that asks.
pub async fn own(app: &Arc<App>, caller: &Caller) -> Result<OwnApiKey, Failure> {
    let (worker, caller, asker) = (app.clone(), caller.clone(), caller.key().cloned().ok_or_else(not_found)?);
    let read = move |tx: &mut Tx<'_>| {
        let workspace = workspaces::find(tx, &asker.workspace_id)?.ok_or_else(not_found)?;
        members::authorize(tx, &worker.ring, &caller, &workspace, worker.clock.now())?;
        let row = queries::find(tx, &asker.workspace_id, asker.id.as_str())?.ok_or_else(not_found)?;
        let used = queries::last_used(tx, &asker.workspace_id, &asker.id)?;
        let service_account_name = members::name(tx, &asker.workspace_id, &asker.principal_id)?;
        Ok(OwnApiKey { key: view(&worker, &row, used), workspace_id: asker.workspace_id.clone(), service_account_name })
    };
    app.store.read(read).await
}

/// Whether a caller may see the keys of an owner in their workspace: who is no admin sees those of service accounts and
/// their own.
pub async fn may_see(app: &Arc<App>, caller: &Caller, owner: PrincipalId) -> Result<bool, Failure> {
    let (worker, caller) = (app.clone(), caller.clone());
    let read = move |tx: &mut Tx<'_>| {
        let id = caller.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
        let row = workspaces::find(tx, id)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
        let authority = members::authorize(tx, &worker.ring, &caller, &row, worker.clock.now())?;
        let is_own = caller.key().is_some_and(|key| key.principal_id == owner);
        Ok::<_, Failure>(authority.is_admin || is_own || !members::is_person(tx, id, &owner)?)
    };
    app.store.read(read).await
}

/// A page of the keys of the caller's workspace, oldest first, and the place where the next one begins. Who is no
/// admin sees the keys of service accounts and their own, not those of other people.
pub async fn search(
    app: &Arc<App>,
    caller: &Caller,
    workspace: WorkspaceId,
    mut filter: Filter,
) -> Result<(Vec<ApiKey>, Option<(i64, String)>), Failure> {
    if filter.unused_since.is_some() {
        // The question is put to the store, so the store must know what this node knows.
        crate::verify::usage::flush(app).await?;
    }
    let (worker, caller) = (app.clone(), caller.clone());
    let read = move |tx: &mut Tx<'_>| {
        let row =
            workspaces::find(tx, &workspace)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
        let authority = members::authorize(tx, &worker.ring, &caller, &row, worker.clock.now())?;
        filter.person = if authority.is_admin { None } else { own_id(&caller) };
        let mut rows = queries::search(tx, &workspace, &filter)?;
        let more = rows.len() > filter.limit;
        rows.truncate(filter.limit);
        let next = rows.last().filter(|_| more).map(|(row, _)| (row.created_at, row.id.clone()));
        Ok((rows.iter().map(|(row, used)| view(&worker, row, *used)).collect(), next))
    };
    app.store.read(read).await
}
