//! API keys: the record, and what can be done with it.
//!
//! - `row`: the record; `reading`: lists and searches
//! - [`mod@self`]: create, update, disable, revoke
//! - `notice`: mails about keys
//! - [`rotation`]: a successor now, the old key later
//! - [`power`]: a key can't make a stronger key; `bounds`: nor later, by an invite; `policy`: nor one that the workspace
//!   doesn't allow
//! - [`exposure`]: keys that their holders, or whoever finds them, disable; [`idle`]: keys that nobody uses
//! - `queries`, [`routes`]: SQL and HTTP

mod bounds;
pub mod exposure;
pub mod idle;
mod notice;
mod policy;
pub mod power;
mod queries;
mod reading;
pub mod rotation;
pub mod routes;
mod row;

use crate::app::App;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::feed::mutation::{self, ChangeKind, Committed, Made, Mutation, Target};
use crate::members::{self, Caller, Principal};
use crate::webhooks::notices;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use stead_api::account::Status;
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, LineageId, PrincipalId};
use stead_api::key::{ApiKey, Change, CreateApiKey, Permissions, Rotation, UpdateApiKey};
use stead_api::secret::{Form, Secret};
use stead_api::time::Timestamp;
use stead_verify::pepper::Label;

pub use bounds::Bounds;
pub use queries::Filter;
pub use reading::{
    Attribution, all_unrevoked, attribution, attributions, broken_seals, capped_of_lineage, count_all, each_fact, fact,
    find, get, last_use_of, last_uses, list, month_of, not_found, of_principal, own, rows_of_principal, search,
};
use reading::{addressed_key, addressed_owner, live, use_in_memory, view};
pub use row::{KeyRow, standing};

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
    let operation = move |m: &mut Mutation<'_, '_>| {
        addressed_owner(m, &principal)?;
        power::check_seat(m, &principal)?;
        let workspace = m.workspace_id();
        let most = m.workspace.most_keys_per_account(&m.app.limits);
        if queries::count(m.tx, &workspace, &principal)? >= most {
            let message = format!("The account has {most} keys, which is as many as it may have.");
            return Err(Failure::refused(ErrorCode::LimitReached, message));
        }
        let policies = m.workspace.policies.clone();
        let permissions = match &new.permissions {
            Some(Permissions::List(names)) => Some(names.clone()),
            Some(Permissions::All) => None,
            // All of what its maker holds and the workspace allows, which may be less than everything.
            None => policy::allowed(&policies, m.authority.key.as_ref().and_then(|maker| maker.permissions.clone())),
        };
        let expires_at = future(m.now, new.expires_at_unix)?.or_else(|| policy::default_expiry(&policies, m.now));
        let (secret, mut row) = mint(m, &principal);
        row.name.clone_from(&new.name);
        row.description = new.description.clone().filter(|text| !text.is_empty());
        row.permissions = permissions;
        row.allowed_ips.clone_from(&new.allowed_ips);
        row.character_limit = new.character_limit;
        row.tts_concurrency_limit = new.tts_concurrency_limit;
        row.dubbing_concurrency_limit = new.dubbing_concurrency_limit;
        row.music_concurrency_limit = new.music_concurrency_limit;
        row.rate_limits = new.rate_limits.clone().filter(|limits| !limits.is_empty());
        row.third_party_disable_allowed = new.third_party_disable_allowed;
        row.expires_at = expires_at;
        policy::check_new(&policies, &row, is_persons(m, &principal)?, m.now)?;
        power::check_whole(&m.authority, &row)?;
        power::check_owner(m, &principal)?;
        power::check_credits(m, &principal, &row)?;
        insert(m, &mut row)?;
        m.audit(
            "API Key Creation",
            row.target(),
            json!({ "owner": principal, "permissions": row.permissions, "expires_at": row.expires_at }),
        );
        m.event("api_key.created", told(&row));
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
    m.event("api_key.created", told(&row));
    Ok(given.is_none().then_some(minted))
}

/// Makes the first key of somebody who has just joined.
pub fn create_first(
    m: &mut Mutation<'_, '_>,
    owner: &PrincipalId,
    bounds: &Bounds,
) -> Result<(KeyId, Secret), Failure> {
    let (secret, mut row) = mint(m, owner);
    row.name = "First key".into();
    bounds.put(&mut row);
    insert(m, &mut row)?;
    let details = json!({ "owner": owner, "permissions": row.permissions, "expires_at": row.expires_at });
    m.audit("User API Key Creation", row.target(), details);
    Ok((row.id(), secret))
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
        rate_limits: None,
        third_party_disable_allowed: None,
        is_disabled: false,
        disable_reason: None,
        created_at: m.now.0,
        expires_at: None,
        revoked_at: None,
        rotated_from: None,
        rotated_to: None,
        unrotated_expires_at: None,
        enabled_at: None,
        exposed_at: None,
        version: 0,
        seal: Vec::new(),
    };
    store_secret(m.app, &mut row, &secret);
    (secret, row)
}

/// Whether the keys of an owner are a person's.
fn is_persons(m: &mut Mutation<'_, '_>, owner: &PrincipalId) -> Result<bool, Failure> {
    let workspace = m.workspace_id();
    Ok(matches!(members::principal(m.tx, &workspace, owner)?, Some(Principal::Member(_))))
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
    let operation = move |m: &mut Mutation<'_, '_>| {
        let old = addressed_key(m, &principal, &id)?;
        let mut row = changed(&old, &change, m.now)?;
        let details = differences(&old, &row);
        if !details.is_empty() {
            if old.is_disabled && !row.is_disabled {
                exposure::check_enabling(m, &old)?;
            }
            let is_persons = is_persons(m, &principal)?;
            policy::check_change(&m.workspace.policies, &old, &row, is_persons, m.now)?;
            power::check_change(&m.authority, &old, &row)?;
            if power::is_widened(&old, &row) {
                power::check_owner(m, &principal)?;
                power::check_credits(m, &principal, &row)?;
            }
            save(m, &mut row)?;
            let mut data = told(&row);
            if row.is_disabled && !old.is_disabled {
                m.event("api_key.disabled", data.clone());
            }
            data["changed"] = details.keys().map(String::as_str).collect();
            m.event("api_key.updated", data);
            m.audit("API Key Update", row.target(), Value::Object(details));
        }
        let used = queries::last_used(m.tx, &m.workspace.id(), &id)?;
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
    // To disable what is disabled changes nothing: the reason stays.
    if let Some(enabled) = change.is_enabled.filter(|enabled| *enabled == old.is_disabled) {
        row.is_disabled = !enabled;
        row.disable_reason = None;
        row.enabled_at = enabled.then_some(now.0);
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
    set(&mut row.rate_limits, change.rate_limits.as_ref());
    row.rate_limits = row.rate_limits.filter(|limits| !limits.is_empty());
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
    note!(music_concurrency_limit, rate_limits, third_party_disable_allowed, is_disabled, disable_reason, expires_at);
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
    let operation = move |m: &mut Mutation<'_, '_>| {
        let row = addressed_key(m, &principal, &id)?;
        disable_row(m, row, None)?;
        Ok(Status::ok().into())
    };
    mutation::mutate(app, caller, retry, operation).await
}

/// Disables a key that is not; one that is keeps its reason.
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
    m.event("api_key.disabled", told(&row));
    Ok(())
}

/// Revokes a key, for good.
pub async fn revoke(
    app: &Arc<App>,
    caller: &Caller,
    principal: PrincipalId,
    id: KeyId,
) -> Result<Committed<Status>, Failure> {
    let operation = move |m: &mut Mutation<'_, '_>| {
        addressed_owner(m, &principal)?;
        // Whoever wrote the row: to revoke it is the one thing that can still be done.
        let row = live(m.tx, &m.workspace.id(), &principal, &id)?;
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
    m.event("api_key.revoked", told(&row));
    Ok(())
}

/// What webhooks are told of a key.
pub fn told(row: &KeyRow) -> Value {
    json!({
        "api_key_id": row.id,
        "name": row.name,
        "hint": row.hint,
        "service_account_user_id": row.principal_id,
        "lineage_id": row.lineage_id,
        "expires_at": row.expiry().map(Timestamp::seconds),
        "is_disabled": row.is_disabled,
        "disable_reason": row.disable_reason,
        "rotated_from": row.rotated_from,
        "rotated_to": row.rotated_to,
    })
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
    row.seal = m.app.ring.seal(Label::Key, &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    notices::plan(m.tx, &workspace, row, m.now)?;
    let fact = row.fact(&m.app.catalogue, &workspace)?;
    m.changed(ChangeKind::Key, &row.id, row.version, fact);
    Ok(())
}
