//! The whole log for the command line: checked, or written out. Reads only, and works beside a running server.

use super::{AuditRow, Filter, broken_end, ocsf, walk};
use crate::config::Config;
use crate::error::Failure;
use crate::store::{Error, Location, Store, Tx};
use crate::{seal, workspaces};
use std::collections::BTreeMap;
use stead_api::audit::{AuditHead, AuditLogEntry};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;
use stead_verify::pepper::Ring;

/// The ends of workspaces' chains, by the workspaces' ids.
pub type Heads = BTreeMap<String, AuditHead>;

/// Which workspaces, and what was known of them.
#[derive(Clone, Default)]
pub struct Scope {
    /// One; `None`: all.
    pub workspace: Option<WorkspaceId>,
    /// Heads that were saved earlier: each of their rows must still be there.
    pub saved: Option<Heads>,
}

/// A log that was walked.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The workspace's id.
    pub workspace: String,
    /// Where its chain ends.
    pub head: AuditHead,
    /// What is wrong; nothing if it is whole.
    pub problems: Vec<String>,
}

/// Walks the logs.
pub async fn verify(config: &Config, ring: Ring, scope: Scope) -> Result<Vec<Checked>, Failure> {
    let looked = move |tx: &mut Tx<'_>| look(tx, &ring, &scope, |_, _| Ok(()));
    open(config)?.read(looked).await
}

/// Walks the logs and hands over each entry that the filter takes, oldest first. The walk ends where `take` fails.
pub async fn export(
    config: &Config,
    ring: Ring,
    scope: Scope,
    filter: Filter,
    mut take: impl FnMut(&AuditLogEntry) -> Result<(), String> + Send + 'static,
) -> Result<Vec<Checked>, Failure> {
    let looked = move |tx: &mut Tx<'_>| {
        look(tx, &ring, &scope, |workspace, row| {
            if filter.takes(row) {
                take(&ocsf::entry(workspace, row)).map_err(|error| Failure::Store(Error::Unusable(error)))?;
            }
            Ok(())
        })
    };
    open(config)?.read(looked).await
}

fn open(config: &Config) -> Result<Store, Failure> {
    if let Location::Sqlite { file, .. } = &config.database
        && !file.exists()
    {
        return Err(Failure::Store(Error::Unusable(format!("{}: there is no database", file.display()))));
    }
    Ok(Store::open_to_examine(&config.database)?)
}

fn look(
    tx: &mut Tx<'_>,
    ring: &Ring,
    scope: &Scope,
    mut take: impl FnMut(&WorkspaceId, &AuditRow) -> Result<(), Failure>,
) -> Result<Vec<Checked>, Failure> {
    let is_wanted = |id: &str| scope.workspace.as_ref().is_none_or(|wanted| wanted.as_str() == id);
    let mut checked = Vec::new();
    for row in workspaces::all(tx)?.into_iter().filter(|row| is_wanted(&row.id)) {
        let saved = scope.saved.as_ref().and_then(|heads| heads.get(&row.id));
        let id = row.id();
        let mut problems = walk(tx, ring, &row, saved, |entry| take(&id, entry))?;
        problems.extend(broken_end(ring, &row));
        let head = AuditHead { seq: row.audit_seq, hash: seal::hex(&row.audit_head) };
        checked.push(Checked { workspace: row.id, head, problems });
    }
    // A workspace that is gone with its whole log shows only beside a saved head.
    for (workspace, head) in scope.saved.iter().flatten().filter(|(id, _)| is_wanted(id)) {
        if checked.iter().all(|known| known.workspace != *workspace) {
            let problem =
                format!("audit log of {workspace}: is gone; it had {} rows when the head was saved", head.seq);
            checked.push(Checked { workspace: workspace.clone(), head: AuditHead::default(), problems: vec![problem] });
        }
    }
    if let Some(wanted) = &scope.workspace
        && checked.is_empty()
    {
        return Err(Failure::Store(Error::Unusable(format!("there is no workspace {wanted}"))));
    }
    Ok(checked)
}

/// An instant as a person gives it: RFC 3339, a day of UTC (its end, if `is_end`), or milliseconds since the epoch.
pub fn instant(text: &str, is_end: bool) -> Result<Timestamp, String> {
    if let Ok(millis) = text.parse::<i64>() {
        return Ok(Timestamp(millis.saturating_mul(1000).saturating_add(if is_end { 999 } else { 0 })));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp(instant.as_microsecond()));
    }
    let day = text.parse::<jiff::civil::Date>().and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC));
    let day = day.map_err(|_| {
        "give an instant as in 2026-11-22T12:00:00Z, 2026-11-22 or milliseconds since the epoch".to_owned()
    })?;
    let begin = Timestamp(day.timestamp().as_microsecond());
    Ok(if is_end { Timestamp(begin.plus_seconds(86_400).0 - 1) } else { begin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_as_people_give_them() {
        let noon = Timestamp::from_seconds(1_795_348_800);
        assert_eq!(instant("2026-11-22T12:00:00Z", false), Ok(noon));
        assert_eq!(instant("2026-11-22T13:00:00+01:00", true), Ok(noon));
        assert_eq!(instant("1795348800000", false), Ok(noon));
        assert_eq!(instant("2026-11-22", false), Ok(noon.plus_seconds(-43_200)));
        assert_eq!(instant("2026-11-22", true), Ok(Timestamp(noon.plus_seconds(43_200).0 - 1)));
        assert!(instant("yesterday", false).is_err());
    }
}
