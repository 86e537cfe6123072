//! API keys: the record, and what can be done with it.
//!
//! - [`mod@self`]: the row, its view, list, create, update, disable, revoke
//! - [`rotation`]: a successor now, the old key later
//! - [`power`]: a key can't make a stronger key
//! - `queries`, [`routes`]: SQL and HTTP

pub mod power;
mod queries;
pub mod rotation;
pub mod routes;

use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, ChangeKind, Committed, Made, Mutation, Target};
use crate::members::{self, Caller};
use crate::store::{Error, Tx};
use crate::{accounts, seal, workspaces};
use ipnet::IpNet;
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::key::{
    ApiKey, Change, CreateApiKey, KeyStatus, Limit, Permissions, PlatformLimits, Rotation, UpdateApiKey,
};
use stead_api::permission::Catalogue;
use stead_api::secret::{Form, Secret};
use stead_api::time::Timestamp;
use stead_verify::facts::{Fact, KeyFacts};
use stead_verify::pepper::Ring;
use stead_verify::period::Month;
use stead_verify::permissions::PermissionSet;

pub use queries::Filter;

/// The mirror says `REVOKED` for this long, `NOT_FOUND` afterwards; the store keeps the row for ever.
const REVOKED_SECONDS: i64 = 30 * 24 * 60 * 60;

/// A key as stored.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Which.
    pub id: String,
    /// Its owner: a service account or a person.
    pub principal_id: String,
    /// The key and its successors by rotation.
    pub lineage_id: String,
    /// 1–128 printable characters.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The last four characters of the secret.
    pub hint: String,
    /// What is stored of the secret.
    pub digest: Vec<u8>,
    /// The pepper that made the digest.
    pub pepper_version: i64,
    /// Whether the secret is of a form that is not ours.
    pub is_foreign: bool,
    /// `None` means unrestricted.
    pub permissions: Option<Vec<String>>,
    /// `None` means anywhere.
    pub allowed_ips: Option<Vec<String>>,
    /// Credits a month.
    pub character_limit: Option<i64>,
    /// Speech at once.
    pub tts_concurrency_limit: Option<i64>,
    /// Dubbings at once.
    pub dubbing_concurrency_limit: Option<i64>,
    /// Music at once.
    pub music_concurrency_limit: Option<i64>,
    /// Whether its holder may disable it; `None`: the workspace decides.
    pub third_party_disable_allowed: Option<bool>,
    /// Refused until enabled.
    pub is_disabled: bool,
    /// Why, if not by an admin.
    pub disable_reason: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// Refused from then on.
    pub expires_at: Option<i64>,
    /// Refused for good.
    pub revoked_at: Option<i64>,
    /// The key it succeeded.
    pub rotated_from: Option<String>,
    /// Its successor.
    pub rotated_to: Option<String>,
    /// What `expires_at` was before the rotation.
    pub unrotated_expires_at: Option<i64>,
    /// Grows with each change.
    pub version: i64,
    /// Over what decisions read.
    pub seal: Vec<u8>,
}

impl KeyRow {
    /// The id.
    pub fn id(&self) -> KeyId {
        self.id.as_str().into()
    }

    /// When it ends.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.expires_at.map(Timestamp)
    }

    /// Whether it may do something, whatever the catalogue says.
    pub fn holds(&self, permission: &str) -> bool {
        self.permissions.as_ref().is_none_or(|list| list.iter().any(|held| held == permission))
    }

    /// Whether it may be used from an address. A network that can't be read lets nobody in.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        let within = |network: &String| {
            let network = network.parse::<IpNet>();
            network.is_ok_and(|network| address.is_some_and(|address| network.contains(&address.to_canonical())))
        };
        self.allowed_ips.as_ref().is_none_or(|networks| networks.iter().any(within))
    }

    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let what = (&self.id, &self.principal_id, &self.lineage_id, &self.digest, self.is_foreign);
        let may = (&self.permissions, &self.allowed_ips, self.character_limit);
        let ends = (self.is_disabled, self.expires_at, self.revoked_at, self.unrotated_expires_at, &self.rotated_to);
        let ends = (ends, self.third_party_disable_allowed);
        let limits = (self.tts_concurrency_limit, self.dubbing_concurrency_limit, self.music_concurrency_limit);
        seal::bytes(&(workspace, what, may, ends, limits, self.version))
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed("key", &self.sealed_bytes(workspace.as_str()), &self.seal)
    }

    fn fact(&self, catalogue: &Catalogue, workspace: &WorkspaceId) -> Result<Fact, Error> {
        let digest = self.digest.as_slice().try_into();
        let networks = self.allowed_ips.iter().flatten().map(|text| text.parse::<IpNet>());
        Ok(Fact::Key(Box::new(KeyFacts {
            id: self.id(),
            version: self.version,
            workspace_id: workspace.clone(),
            principal_id: self.principal_id.as_str().into(),
            lineage_id: self.lineage_id.as_str().into(),
            digest: digest.map_err(|_| Error::Defect("a digest has 32 bytes".into()))?,
            foreign: self.is_foreign,
            revoked: self.revoked_at.is_some(),
            disabled: self.is_disabled,
            expires_at: self.expiry(),
            permissions: self.permissions.as_ref().map(|names| PermissionSet::known(catalogue, names)),
            allowed_ips: networks
                .collect::<Result<_, _>>()
                .map_err(|_| Error::Defect("a stored network can't be read".into()))?,
            character_limit: self.character_limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        })))
    }

    fn target(&self) -> Target {
        Target::new("api_key", &self.id, &self.name)
    }

    fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked_at.is_some() {
            KeyStatus::Revoked
        } else if self.expiry().is_some_and(|end| end <= now) {
            KeyStatus::Expired
        } else if self.is_disabled {
            KeyStatus::Disabled
        } else {
            KeyStatus::Active
        }
    }
}

/// Why a key doesn't work by itself, as an error for its holder; `None` if it does.
pub fn standing(key: &KeyRow, now: Timestamp) -> Option<ErrorCode> {
    match key.status(now) {
        KeyStatus::Active => None,
        KeyStatus::Disabled => Some(ErrorCode::ApiKeyDisabled),
        KeyStatus::Expired => Some(ErrorCode::ApiKeyExpired),
        KeyStatus::Revoked => Some(ErrorCode::ApiKeyRevoked),
    }
}

/// A key, revoked ones included.
pub fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &KeyId) -> Result<Option<KeyRow>, Error> {
    queries::find(tx, workspace, id.as_str())
}

/// Hands over every key's facts, for the mirror. A row that somebody else wrote is left out, so nobody finds it.
pub fn each_fact(
    tx: &mut Tx<'_>,
    ring: &Ring,
    catalogue: &Catalogue,
    now: Timestamp,
    mut take: impl FnMut(Fact),
) -> Result<(), Error> {
    queries::each(tx, now.plus_seconds(-REVOKED_SECONDS), |workspace, row| {
        if row.is_sealed(ring, &workspace) {
            take(row.fact(catalogue, &workspace)?);
        } else {
            tracing::error!(key = row.id, "the key's row was changed behind the server's back; it is refused");
        }
        Ok(())
    })
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

/// What the store knows of a key's last use, and what this node knows better.
fn last_use(app: &App, key: &KeyId, stored: Option<i64>) -> Option<Timestamp> {
    let in_memory = app.index.get(key).and_then(|record| record.last_used.get());
    in_memory.max(stored.map(Timestamp))
}

/// A key as lists show it.
fn view(app: &App, row: &KeyRow, stored_use: Option<i64>) -> ApiKey {
    let now = app.clock.now();
    let record = app.index.get(&row.id());
    let seconds = |at: Option<i64>| at.map(|at| Timestamp(at).seconds());
    let limit = |limit| Limit { limit };
    let used = record.as_ref().map_or(0, |record| record.credits.lock().used(Month::containing(now)));
    let created = Timestamp(row.created_at).seconds();
    ApiKey {
        name: row.name.clone(),
        hint: row.hint.clone(),
        key_id: row.id(),
        api_key_id: row.id(),
        service_account_user_id: row.principal_id.as_str().into(),
        service_account_id: row.principal_id.as_str().into(),
        // Hashed once more, so that what is shown is not what is stored.
        hashed_xi_api_key: hex(&Sha256::digest(&row.digest)),
        description: row.description.clone(),
        created_at_unix: created,
        created_at: created,
        is_disabled: row.is_disabled,
        status: row.status(now),
        permissions: row.permissions.clone(),
        disable_reason: row.disable_reason.clone(),
        character_limit: row.character_limit,
        character_count: i64::try_from(used).unwrap_or(i64::MAX),
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The owner that a path names: a service account, or the caller's own person, whose keys are managed likewise.
/// Anybody else's reads the same as nobody's.
fn owner(tx: &mut Tx<'_>, caller_id: Option<&str>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<(), Failure> {
    if caller_id == Some(id.as_str()) { Ok(()) } else { accounts::live(tx, workspace, id).map(drop) }
}

fn live(tx: &mut Tx<'_>, workspace: &WorkspaceId, principal: &PrincipalId, id: &KeyId) -> Result<KeyRow, Failure> {
    let row = queries::find(tx, workspace, id.as_str())?;
    row.filter(|row| row.revoked_at.is_none() && row.principal_id == principal.as_str()).ok_or_else(not_found)
}

/// A key that is to be changed: a row that somebody else wrote must not get a seal. It can only be revoked.
fn live_and_sealed(m: &mut Mutation<'_, '_>, principal: &PrincipalId, id: &KeyId) -> Result<KeyRow, Failure> {
    let workspace = m.workspace_id();
    let row = live(m.tx, &workspace, principal, id)?;
    if row.is_sealed(&m.app.ring, &workspace) {
        return Ok(row);
    }
    let message = "The key was changed behind the server's back and is refused. It can only be revoked.";
    Err(Failure::refused(ErrorCode::KeyNotTrusted, message))
}

fn not_found() -> Failure {
    Failure::refused(ErrorCode::ApiKeyNotFound, "There is no such API key.")
}

/// The owner's id of the key that asks.
fn own_id(caller: &Caller) -> Option<String> {
    caller.key().map(|key| key.facts.principal_id.to_string())
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

/// A key as create and rotate answer it; the secret goes with it apart.
#[derive(Debug, Serialize, serde::Deserialize)]
pub struct NewKey {
    /// The key.
    pub key: ApiKey,
    /// What more there is to say after a rotation.
    pub rotation: Option<Rotation>,
}

/// Makes a key for an owner.
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    principal: PrincipalId,
    new: CreateApiKey,
) -> Result<Committed<NewKey>, Failure> {
    let own = own_id(caller);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        owner(m.tx, own.as_deref(), &workspace, &principal)?;
        if queries::count(m.tx, &workspace, &principal)? >= m.app.limits.keys_per_account {
            let message =
                format!("The account has {} keys, which is as many as it may have.", m.app.limits.keys_per_account);
            return Err(Failure::refused(ErrorCode::LimitReached, message));
        }
        let permissions = match &new.permissions {
            Some(Permissions::List(names)) => Some(names.clone()),
            Some(Permissions::All) => None,
            // All of what its maker holds, which may be less than everything.
            None => m.authority.key.as_ref().and_then(|maker| maker.permissions.clone()),
        };
        let expires_at = future(m.now, new.expires_at_unix)?;
        let (secret, mut row) = mint(m, &principal);
        row.name.clone_from(&new.name);
        row.description = new.description.clone().filter(|text| !text.is_empty());
        row.permissions = permissions;
        row.allowed_ips.clone_from(&new.allowed_ips);
        row.character_limit = new.character_limit;
        row.tts_concurrency_limit = new.tts_concurrency_limit;
        row.dubbing_concurrency_limit = new.dubbing_concurrency_limit;
        row.music_concurrency_limit = new.music_concurrency_limit;
        row.third_party_disable_allowed = new.third_party_disable_allowed;
        row.expires_at = expires_at;
        power::check_whole(&m.authority, &row)?;
        power::check_owner(m, &principal)?;
        insert(m, &mut row)?;
        m.audit(
            "API Key Creation",
            row.target(),
            json!({ "owner": principal, "permissions": row.permissions, "expires_at": row.expires_at }),
        );
        Ok(made(m.app, &row, secret, None))
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Makes a key for a person without being asked by one: the given one, or a random one, which is then returned.
pub fn create_for_owner(
    m: &mut Mutation<'_, '_>,
    owner: &PrincipalId,
    given: Option<&Secret>,
) -> Result<Option<Secret>, Failure> {
    let (minted, mut row) = mint(m, owner);
    row.name = "Owner's key".into();
    if let Some(secret) = given {
        store_secret(m.app, &mut row, secret);
    }
    insert(m, &mut row)?;
    m.audit("User API Key Creation", row.target(), json!({ "owner": owner }));
    Ok(given.is_none().then_some(minted))
}

/// A new secret and a row that holds nothing else yet.
fn mint(m: &Mutation<'_, '_>, principal: &PrincipalId) -> (Secret, KeyRow) {
    let entropy = &m.app.entropy;
    let secret = m.app.format.mint(&m.workspace.tag, entropy.stream());
    let mut row = KeyRow {
        id: KeyId::from_random(entropy.id()).to_string(),
        principal_id: principal.to_string(),
        lineage_id: LineageId::from_random(entropy.id()).to_string(),
        name: String::new(),
        description: None,
        hint: String::new(),
        digest: Vec::new(),
        pepper_version: 0,
        is_foreign: false,
        permissions: None,
        allowed_ips: None,
        character_limit: None,
        tts_concurrency_limit: None,
        dubbing_concurrency_limit: None,
        music_concurrency_limit: None,
        third_party_disable_allowed: None,
        is_disabled: false,
        disable_reason: None,
        created_at: m.now.0,
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
        rotated_to: None,
        unrotated_expires_at: None,
        version: 0,
        seal: Vec::new(),
    };
    store_secret(m.app, &mut row, &secret);
    (secret, row)
}

/// Puts into a row what is stored of a secret.
fn store_secret(app: &App, row: &mut KeyRow, secret: &Secret) {
    let (version, digest) = app.ring.digest(secret.expose());
    row.hint = secret.hint();
    row.digest = digest.to_vec();
    row.pepper_version = version.into();
    row.is_foreign = matches!(app.format.inspect(secret.expose()), Ok(Form::Foreign));
}

fn made(app: &App, row: &KeyRow, secret: Secret, rotation: Option<Rotation>) -> Made<NewKey> {
    Made { value: NewKey { key: view(app, row, None), rotation }, secret: Some(secret), key_id: Some(row.id()) }
}

/// An expiry that was asked for, which must lie in the future.
fn future(now: Timestamp, seconds: Option<i64>) -> Result<Option<i64>, Failure> {
    match seconds.map(Timestamp::from_seconds) {
        Some(at) if at <= now => Err(Failure::invalid(
            &["body", "expires_at_unix"],
            "value_error",
            "must lie in the future (seconds since the epoch)",
        )),
        at => Ok(at.map(|at| at.0)),
    }
}

/// Changes a key. What is absent stays.
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    principal: PrincipalId,
    id: KeyId,
    change: UpdateApiKey,
) -> Result<Committed<ApiKey>, Failure> {
    let own = own_id(caller);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        owner(m.tx, own.as_deref(), &workspace, &principal)?;
        let old = live_and_sealed(m, &principal, &id)?;
        let mut row = changed(&old, &change, m.now)?;
        let details = differences(&old, &row);
        if !details.is_empty() {
            power::check_change(&m.authority, &old, &row)?;
            if power::is_widened(&old, &row) {
                power::check_owner(m, &principal)?;
            }
            save(m, &mut row)?;
            m.audit("API Key Update", row.target(), Value::Object(details));
        }
        let used = queries::last_used(m.tx, &workspace, &id)?;
        Ok(view(m.app, &row, used).into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// The row as a change leaves it.
fn changed(old: &KeyRow, change: &UpdateApiKey, now: Timestamp) -> Result<KeyRow, Failure> {
    fn set<T: Clone>(field: &mut Option<T>, change: Option<&Change<T>>) {
        if let Some(change) = change {
            *field = change.clone().into_option();
        }
    }
    let mut row = old.clone();
    if let Some(enabled) = change.is_enabled {
        row.is_disabled = !enabled;
        row.disable_reason = None;
    }
    if let Some(name) = &change.name {
        row.name.clone_from(name);
    }
    if let Some(description) = &change.description {
        row.description = Some(description.clone()).filter(|text| !text.is_empty());
    }
    match &change.permissions {
        Some(Permissions::All) => row.permissions = None,
        Some(Permissions::List(names)) => row.permissions = Some(names.clone()),
        None => {}
    }
    set(&mut row.character_limit, change.character_limit.as_ref());
    set(&mut row.allowed_ips, change.allowed_ips.as_ref());
    set(&mut row.third_party_disable_allowed, change.third_party_disable_allowed.as_ref());
    set(&mut row.tts_concurrency_limit, change.tts_concurrency_limit.as_ref());
    set(&mut row.dubbing_concurrency_limit, change.dubbing_concurrency_limit.as_ref());
    set(&mut row.music_concurrency_limit, change.music_concurrency_limit.as_ref());
    match &change.expires_at_unix {
        Some(Change::Clear) => row.expires_at = None,
        Some(Change::Set(seconds)) => row.expires_at = future(now, Some(*seconds))?,
        None => {}
    }
    if change.expires_at_unix.is_some() && row.rotated_to.is_some() {
        // Asked for by name, so undoing the rotation must not bring an older wish back.
        row.unrotated_expires_at = row.expires_at;
    }
    Ok(row)
}

/// Which fields differ, with both values, for the audit log.
fn differences(old: &KeyRow, new: &KeyRow) -> Map<String, Value> {
    let mut details = Map::new();
    macro_rules! note {
        ($($field:ident),*) => { $(note_change(&mut details, stringify!($field), &old.$field, &new.$field);)* };
    }
    note!(
        name,
        description,
        permissions,
        allowed_ips,
        character_limit,
        tts_concurrency_limit,
        dubbing_concurrency_limit
    );
    note!(music_concurrency_limit, third_party_disable_allowed, is_disabled, disable_reason, expires_at);
    details
}

/// Notes a field that differs.
pub fn note_change<T: PartialEq + Serialize>(details: &mut Map<String, Value>, field: &str, old: &T, new: &T) {
    if old != new {
        details.insert(field.to_owned(), json!({ "from": old, "to": new }));
    }
}

/// Disables a key and leaves everything else as it is. Disabling a disabled key changes nothing.
pub async fn disable(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    principal: PrincipalId,
    id: KeyId,
) -> Result<Committed<Status>, Failure> {
    let own = own_id(caller);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        owner(m.tx, own.as_deref(), &workspace, &principal)?;
        let row = live_and_sealed(m, &principal, &id)?;
        disable_row(m, row, None)?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Disables the key that asks, if the workspace or the key itself lets its holder do so (wire §8.3).
pub async fn disable_self(app: &Arc<App>, caller: &Caller, retry: Option<Retry>) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        let row = m.authority.key.clone().ok_or_else(not_found)?;
        let allowed = m.workspace.third_party_disable_allowed.or(row.third_party_disable_allowed).unwrap_or(true);
        if !allowed {
            let message = "This key may not be disabled by its holder. Ask a workspace admin.";
            return Err(Failure::refused(ErrorCode::SelfDisableNotAllowed, message));
        }
        disable_row(m, row, Some("self_disabled"))?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

fn disable_row(m: &mut Mutation<'_, '_>, mut row: KeyRow, reason: Option<&str>) -> Result<(), Failure> {
    if row.is_disabled {
        return Ok(());
    }
    row.is_disabled = true;
    row.disable_reason = reason.map(str::to_owned);
    save(m, &mut row)?;
    m.audit(
        "API Key Update",
        row.target(),
        json!({ "is_disabled": { "from": false, "to": true }, "disable_reason": reason }),
    );
    Ok(())
}

/// Revokes a key, for good.
pub async fn revoke(
    app: &Arc<App>,
    caller: &Caller,
    principal: PrincipalId,
    id: KeyId,
) -> Result<Committed<Status>, Failure> {
    let own = own_id(caller);
    let operation = move |m: &mut Mutation<'_, '_>| {
        let workspace = m.workspace_id();
        owner(m.tx, own.as_deref(), &workspace, &principal)?;
        let row = live(m.tx, &workspace, &principal, &id)?;
        revoke_row(m, row)?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, None, operation).await
}

/// Revokes a key that is not revoked.
pub fn revoke_row(m: &mut Mutation<'_, '_>, mut row: KeyRow) -> Result<(), Failure> {
    row.revoked_at = Some(m.now.0);
    save(m, &mut row)?;
    m.audit("API Key Deletion", row.target(), json!({}));
    Ok(())
}

/// Writes a new key. Its secret must be nobody else's.
fn insert(m: &mut Mutation<'_, '_>, row: &mut KeyRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    queries::insert_digest(m.tx, &workspace, row)?;
    save(m, row)
}

/// Writes a changed key: a new version, sealed anew, on its way to every mirror.
fn save(m: &mut Mutation<'_, '_>, row: &mut KeyRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.version += 1;
    row.seal = m.app.ring.seal("key", &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    let fact = row.fact(&m.app.catalogue, &workspace)?;
    m.changed(ChangeKind::Key, &row.id, row.version, fact);
    Ok(())
}
