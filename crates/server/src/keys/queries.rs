//! The SQL of keys.

use super::KeyRow;
use crate::error::Failure;
use crate::store::{Arg, Error, Row, Tx};
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, LineageId, PrincipalId, WorkspaceId};
use stead_api::key::RateLimit;
use stead_api::time::Timestamp;

macro_rules! columns {
    () => {
        "k.id, k.principal_id, k.lineage_id, k.name, k.description, k.hint, k.digest, k.pepper_version, k.is_foreign, \
         k.permissions, k.allowed_ips, k.character_limit, k.tts_concurrency_limit, k.dubbing_concurrency_limit, \
         k.music_concurrency_limit, k.third_party_disable_allowed, k.is_disabled, k.disable_reason, k.created_at, \
         k.expires_at, k.revoked_at, k.rotated_from, k.rotated_to, k.unrotated_expires_at, k.version, k.seal, \
         k.rate_limits, k.workspace_id, k.enabled_at, k.exposed_at"
    };
}

/// Keys with the time of their last use.
macro_rules! with_use {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", u.last_used_at FROM api_keys k LEFT JOIN key_uses u ON u.workspace_id = k.workspace_id AND u.key_id = k.id ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<KeyRow, Error> {
    Ok(KeyRow {
        id: row.get(0)?,
        principal_id: row.get(1)?,
        lineage_id: row.get(2)?,
        name: row.get(3)?,
        description: row.get(4)?,
        hint: row.get(5)?,
        digest: row.get(6)?,
        pepper_version: row.get(7)?,
        is_foreign: row.get(8)?,
        permissions: list(row, 9)?,
        allowed_ips: list(row, 10)?,
        character_limit: row.get(11)?,
        tts_concurrency_limit: row.get(12)?,
        dubbing_concurrency_limit: row.get(13)?,
        music_concurrency_limit: row.get(14)?,
        third_party_disable_allowed: row.get(15)?,
        is_disabled: row.get(16)?,
        disable_reason: row.get(17)?,
        created_at: row.get(18)?,
        expires_at: row.get(19)?,
        revoked_at: row.get(20)?,
        rotated_from: row.get(21)?,
        rotated_to: row.get(22)?,
        unrotated_expires_at: row.get(23)?,
        version: row.get(24)?,
        seal: row.get(25)?,
        rate_limits: rate_limits(row, 26)?,
        enabled_at: row.get(28)?,
        exposed_at: row.get(29)?,
    })
}

fn read_with_use(row: &Row) -> Result<(KeyRow, Option<i64>), Error> {
    Ok((read(row)?, row.get(30)?))
}

/// A JSON list. One that can't be read is empty, which means nothing and nowhere, never everything.
fn list(row: &Row, column: usize) -> Result<Option<Vec<String>>, Error> {
    let text: Option<String> = row.get(column)?;
    Ok(text.map(|text| serde_json::from_str(&text).unwrap_or_default()))
}

/// The same for rate limits. They are under the row's seal, so what can't be read was not written here.
fn rate_limits(row: &Row, column: usize) -> Result<Option<Vec<RateLimit>>, Error> {
    let text: Option<String> = row.get(column)?;
    let read = |text: &String| {
        serde_json::from_str(text).map_err(|_| Error::Defect("stored rate limits can't be read".into()))
    };
    text.as_ref().map(read).transpose()
}

fn json(list: Option<&Vec<impl serde::Serialize>>) -> Arg {
    list.and_then(|list| serde_json::to_string(list).ok()).into()
}

pub(super) fn find(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &str) -> Result<Option<KeyRow>, Error> {
    let sql = concat!("SELECT ", columns!(), " FROM api_keys k WHERE k.workspace_id = $1 AND k.id = $2");
    tx.maybe(sql, &[workspace.as_str().into(), id.into()], read)
}

/// The keys of a lineage that have a cap and are not revoked, the newest last.
pub(super) fn capped_of_lineage(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    lineage: &LineageId,
) -> Result<Vec<KeyRow>, Error> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM api_keys k WHERE k.workspace_id = $1 AND k.lineage_id = $2 AND k.character_limit IS NOT NULL \
         AND k.revoked_at IS NULL ORDER BY k.created_at, k.id"
    );
    tx.all(sql, &[workspace.as_str().into(), lineage.as_str().into()], read)
}

pub(super) fn count_all(tx: &mut Tx<'_>) -> Result<usize, Error> {
    let count: i64 = tx.one("SELECT COUNT(*) FROM api_keys", &[], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

pub(super) fn last_used(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &KeyId) -> Result<Option<i64>, Error> {
    let sql = "SELECT last_used_at FROM key_uses WHERE workspace_id = $1 AND key_id = $2";
    tx.maybe(sql, &[workspace.as_str().into(), id.as_str().into()], |row| row.get(0))
}

pub(super) fn of_principal(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Vec<(KeyRow, Option<i64>)>, Error> {
    tx.all(
        with_use!(
            "WHERE k.workspace_id = $1 AND k.principal_id = $2 AND k.revoked_at IS NULL ORDER BY k.created_at, k.id"
        ),
        &[workspace.as_str().into(), principal.as_str().into()],
        read_with_use,
    )
}

pub(super) fn unrevoked(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<(KeyRow, Option<i64>)>, Error> {
    tx.all(
        with_use!("WHERE k.workspace_id = $1 AND k.revoked_at IS NULL ORDER BY k.created_at, k.id"),
        &[workspace.as_str().into()],
        read_with_use,
    )
}

/// Every key of the workspace with its owner and its last use.
pub(super) fn uses(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<(String, String, Option<i64>)>, Error> {
    tx.all(
        "SELECT k.principal_id, k.id, u.last_used_at FROM api_keys k LEFT JOIN key_uses u \
         ON u.workspace_id = k.workspace_id AND u.key_id = k.id WHERE k.workspace_id = $1",
        &[workspace.as_str().into()],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
}

/// Every key of an owner with its last use.
pub(super) fn uses_of(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
) -> Result<Vec<(String, Option<i64>)>, Error> {
    tx.all(
        "SELECT k.id, u.last_used_at FROM api_keys k LEFT JOIN key_uses u \
         ON u.workspace_id = k.workspace_id AND u.key_id = k.id WHERE k.workspace_id = $1 AND k.principal_id = $2",
        &[workspace.as_str().into(), principal.as_str().into()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
}

/// Every key of the workspace or of one owner, revoked ones included: id, owner, name, digest.
pub(super) fn names<T>(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    owner: Option<&PrincipalId>,
    read: impl Fn(String, String, String, Vec<u8>) -> T,
) -> Result<Vec<T>, Error> {
    let read = |row: &Row| Ok(read(row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let all = "SELECT id, principal_id, name, digest FROM api_keys WHERE workspace_id = $1";
    let of_owner = "SELECT id, principal_id, name, digest FROM api_keys WHERE workspace_id = $1 AND principal_id = $2";
    match owner {
        None => tx.all(all, &[workspace.as_str().into()], read),
        Some(owner) => tx.all(of_owner, &[workspace.as_str().into(), owner.as_str().into()], read),
    }
}

/// What to search for; every part that is `None` lets all keys through.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// `active`, `disabled`, `expired` or `revoked`; without it, all that are not revoked.
    pub status: Option<&'static str>,
    /// The owner.
    pub principal: Option<PrincipalId>,
    /// The one person whose keys are shown; `None`: everybody's. Service accounts' are shown to all.
    pub person: Option<String>,
    /// Ends before, and has not ended yet.
    pub expiring_before: Option<Timestamp>,
    /// Not accepted since.
    pub unused_since: Option<Timestamp>,
    /// The last key of the page before.
    pub after: Option<(i64, String)>,
    /// Most keys of a page.
    pub limit: usize,
    /// The instant of the question.
    pub now: Option<Timestamp>,
}

/// The keys of a page and one more, which tells whether there is a next page.
pub(super) fn search(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    filter: &Filter,
) -> Result<Vec<(KeyRow, Option<i64>)>, Error> {
    let (after_age, after_id) = filter.after.clone().unwrap_or((i64::MIN, String::new()));
    tx.all(
        with_use!(
            "WHERE k.workspace_id = $1 AND (k.created_at > $2 OR (k.created_at = $2 AND k.id > $3)) \
             AND (CAST($4 AS TEXT) IS NULL OR k.principal_id = $4) \
             AND CASE CAST($5 AS TEXT) \
                 WHEN 'revoked' THEN k.revoked_at IS NOT NULL \
                 WHEN 'expired' THEN k.revoked_at IS NULL AND k.expires_at <= $6 \
                 WHEN 'disabled' THEN k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $6) AND k.is_disabled \
                 WHEN 'active' THEN k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $6) AND NOT k.is_disabled \
                 ELSE k.revoked_at IS NULL END \
             AND (CAST($7 AS BIGINT) IS NULL OR (k.expires_at > $6 AND k.expires_at <= $7)) \
             AND (CAST($8 AS BIGINT) IS NULL OR u.last_used_at IS NULL OR u.last_used_at < $8) \
             AND (CAST($10 AS TEXT) IS NULL OR k.principal_id = $10 OR EXISTS (SELECT 1 FROM service_accounts s \
                 WHERE s.workspace_id = k.workspace_id AND s.id = k.principal_id)) \
             ORDER BY k.created_at, k.id LIMIT $9"
        ),
        &[
            workspace.as_str().into(),
            after_age.into(),
            after_id.into(),
            filter.principal.as_ref().map(stead_api::id::PrincipalId::as_str).into(),
            filter.status.into(),
            filter.now.map(|now| now.0).into(),
            filter.expiring_before.map(|at| at.0).into(),
            filter.unused_since.map(|at| at.0).into(),
            i64::try_from(filter.limit + 1).unwrap_or(i64::MAX).into(),
            filter.person.as_deref().into(),
        ],
        read_with_use,
    )
}

/// Keys that work and that, as far as the store knows, were neither made, nor enabled, nor used since; the oldest first,
/// after a place.
pub(super) fn idle(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    now: Timestamp,
    since: Timestamp,
    after: (i64, &str),
    limit: i64,
) -> Result<Vec<KeyRow>, Error> {
    tx.all(
        with_use!(
            "WHERE k.workspace_id = $1 AND (k.created_at > $2 OR (k.created_at = $2 AND k.id > $3)) \
             AND k.created_at < $4 AND k.revoked_at IS NULL AND NOT k.is_disabled \
             AND (k.expires_at IS NULL OR k.expires_at > $5) AND (k.enabled_at IS NULL OR k.enabled_at < $4) \
             AND (u.last_used_at IS NULL OR u.last_used_at < $4) ORDER BY k.created_at, k.id LIMIT $6"
        ),
        &[workspace.as_str().into(), after.0.into(), after.1.into(), since.0.into(), now.0.into(), limit.into()],
        read,
    )
}

pub(super) fn count(tx: &mut Tx<'_>, workspace: &WorkspaceId, principal: &PrincipalId) -> Result<usize, Error> {
    let sql = "SELECT COUNT(*) FROM api_keys WHERE workspace_id = $1 AND principal_id = $2 AND revoked_at IS NULL";
    let count: i64 = tx.one(sql, &[workspace.as_str().into(), principal.as_str().into()], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Every key that is not revoked, or was after `since`.
pub(super) fn each(
    tx: &mut Tx<'_>,
    since: Timestamp,
    mut take: impl FnMut(WorkspaceId, KeyRow) -> Result<(), Error>,
) -> Result<(), Error> {
    let sql = concat!("SELECT ", columns!(), " FROM api_keys k WHERE k.revoked_at IS NULL OR k.revoked_at > $1");
    tx.each(sql, &[since.0.into()], |row| take(row.get::<String>(27)?.into(), read(&row)?))
}

/// Takes the digest for this key; refused if another key, of whatever workspace, has the same secret.
pub(super) fn insert_digest(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &KeyRow) -> Result<(), Failure> {
    let sql = "INSERT INTO key_digests (digest, workspace_id, key_id) VALUES ($1, $2, $3)";
    match tx.run(sql, &[row.digest.clone().into(), workspace.as_str().into(), row.id.as_str().into()]) {
        Err(Error::NotUnique(_)) => {
            Err(Failure::refused(ErrorCode::BadRequest, "This secret can't be used for a key."))
        }
        other => Ok(other.map(drop)?),
    }
}

/// Writes a whole row, new or changed. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &KeyRow) -> Result<(), Error> {
    tx.run(
        "INSERT INTO api_keys (id, principal_id, lineage_id, name, description, hint, digest, pepper_version, is_foreign, \
         permissions, allowed_ips, character_limit, tts_concurrency_limit, dubbing_concurrency_limit, \
         music_concurrency_limit, third_party_disable_allowed, is_disabled, disable_reason, created_at, expires_at, \
         revoked_at, rotated_from, rotated_to, unrotated_expires_at, version, seal, rate_limits, workspace_id, enabled_at, exposed_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
         $23, $24, $25, $26, $27, $28, $29, $30) ON CONFLICT (workspace_id, id) DO UPDATE SET name = excluded.name, \
         description = excluded.description, permissions = excluded.permissions, allowed_ips = excluded.allowed_ips, \
         character_limit = excluded.character_limit, tts_concurrency_limit = excluded.tts_concurrency_limit, \
         dubbing_concurrency_limit = excluded.dubbing_concurrency_limit, \
         music_concurrency_limit = excluded.music_concurrency_limit, \
         third_party_disable_allowed = excluded.third_party_disable_allowed, is_disabled = excluded.is_disabled, \
         disable_reason = excluded.disable_reason, expires_at = excluded.expires_at, revoked_at = excluded.revoked_at, \
         rotated_to = excluded.rotated_to, unrotated_expires_at = excluded.unrotated_expires_at, \
         version = excluded.version, seal = excluded.seal, rate_limits = excluded.rate_limits, \
         enabled_at = excluded.enabled_at, exposed_at = excluded.exposed_at",
        &[
            row.id.as_str().into(),
            row.principal_id.as_str().into(),
            row.lineage_id.as_str().into(),
            row.name.as_str().into(),
            row.description.as_deref().into(),
            row.hint.as_str().into(),
            row.digest.clone().into(),
            row.pepper_version.into(),
            row.is_foreign.into(),
            json(row.permissions.as_ref()),
            json(row.allowed_ips.as_ref()),
            row.character_limit.into(),
            row.tts_concurrency_limit.into(),
            row.dubbing_concurrency_limit.into(),
            row.music_concurrency_limit.into(),
            row.third_party_disable_allowed.into(),
            row.is_disabled.into(),
            row.disable_reason.as_deref().into(),
            row.created_at.into(),
            row.expires_at.into(),
            row.revoked_at.into(),
            row.rotated_from.as_deref().into(),
            row.rotated_to.as_deref().into(),
            row.unrotated_expires_at.into(),
            row.version.into(),
            row.seal.clone().into(),
            json(row.rate_limits.as_ref()),
            workspace.as_str().into(),
            row.enabled_at.into(),
            row.exposed_at.into(),
        ],
    )
    .map(drop)
}
