//! The SQL of the audit log.

use super::{AuditRow, Filter};
use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::WorkspaceId;

pub(super) const FIND: &str = "SELECT seq FROM audit_log WHERE workspace_id = $1 AND seq = $2 AND id = $3";

/// Rows of a log that are read at once when it is walked: one of the engines holds a whole answer in memory.
const LOT: i64 = 1000;

macro_rules! columns {
    () => {
        "seq, id, at, activity, class_uid, activity_id, status, actor_id, actor, target, details, hash"
    };
}

fn read(row: &Row) -> Result<AuditRow, Error> {
    Ok(AuditRow {
        seq: row.get(0)?,
        id: row.get(1)?,
        at: row.get(2)?,
        activity: row.get(3)?,
        class_uid: row.get(4)?,
        activity_id: row.get(5)?,
        status: row.get(6)?,
        actor_id: row.get(7)?,
        actor: row.get(8)?,
        target: row.get(9)?,
        details: row.get(10)?,
        hash: row.get(11)?,
    })
}

pub(super) fn insert(tx: &mut Tx<'_>, workspace: &str, row: &AuditRow) -> Result<(), Error> {
    tx.run(
        concat!(
            "INSERT INTO audit_log (workspace_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        ),
        &[
            workspace.into(),
            row.seq.into(),
            row.id.as_str().into(),
            row.at.into(),
            row.activity.as_str().into(),
            row.class_uid.into(),
            row.activity_id.into(),
            row.status.into(),
            row.actor_id.as_str().into(),
            row.actor.as_str().into(),
            row.target.as_str().into(),
            row.details.as_str().into(),
            row.hash.clone().into(),
        ],
    )
    .map(drop)
}

/// Every row of a workspace in the order of their numbers.
pub(super) fn each<E: From<Error>>(
    tx: &mut Tx<'_>,
    workspace: &str,
    mut take: impl FnMut(AuditRow) -> Result<(), E>,
) -> Result<(), E> {
    let sql =
        concat!("SELECT ", columns!(), " FROM audit_log WHERE workspace_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3");
    // From the very smallest number: a row that somebody put before the first one must show.
    let mut from = i64::MIN;
    loop {
        let (mut count, mut last) = (0, i64::MAX);
        tx.each(sql, &[workspace.into(), from.into(), LOT.into()], |row| {
            let row = read(&row)?;
            (count, last) = (count + 1, row.seq);
            take(row)
        })?;
        match last.checked_add(1) {
            Some(next) if count == LOT => from = next,
            _ => return Ok(()),
        }
    }
}

/// A page: by the index that fits what is asked for, from the place where it begins. The other conditions are looked
/// at row by row.
macro_rules! page {
    ($by:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM audit_log WHERE workspace_id = $1 AND (at, seq) < ($2, $3) AND at >= $4 AND ",
            $by,
            " ORDER BY at DESC, seq DESC LIMIT $8"
        )
    };
}

const BY_TIME: &str = page!(
    "(CAST($5 AS TEXT) IS NULL OR activity = $5) AND (CAST($6 AS TEXT) IS NULL OR actor_id = $6) AND (CAST($7 AS BIGINT) IS NULL OR class_uid = $7)"
);
const BY_ACTIVITY: &str = page!(
    "activity = $5 AND (CAST($6 AS TEXT) IS NULL OR actor_id = $6) AND (CAST($7 AS BIGINT) IS NULL OR class_uid = $7)"
);
const BY_ACTOR: &str = page!(
    "(CAST($5 AS TEXT) IS NULL OR activity = $5) AND actor_id = $6 AND (CAST($7 AS BIGINT) IS NULL OR class_uid = $7)"
);
const BY_CLASS: &str = page!(
    "(CAST($5 AS TEXT) IS NULL OR activity = $5) AND (CAST($6 AS TEXT) IS NULL OR actor_id = $6) AND class_uid = $7"
);

fn sql_of(filter: &Filter) -> &'static str {
    match filter {
        Filter { activity: Some(_), .. } => BY_ACTIVITY,
        Filter { actor: Some(_), .. } => BY_ACTOR,
        Filter { class_uid: Some(_), .. } => BY_CLASS,
        _ => BY_TIME,
    }
}

fn args(workspace: &WorkspaceId, filter: &Filter, limit: i64) -> [Arg; 8] {
    // Older than the place where the page before ended, and not newer than asked for.
    let newest = filter.to.map_or((i64::MAX, i64::MAX), |to| (to.0, i64::MAX));
    let (at, seq) = filter.before.map_or(newest, |before| before.min(newest));
    [
        workspace.as_str().into(),
        at.into(),
        seq.into(),
        filter.from.map_or(i64::MIN, |from| from.0).into(),
        filter.activity.as_deref().into(),
        filter.actor.as_deref().into(),
        filter.class_uid.into(),
        limit.into(),
    ]
}

/// The newest rows that a filter takes, newest first.
pub(super) fn page(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<AuditRow>, Error> {
    tx.all(sql_of(filter), &args(workspace, filter, limit), read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Location, Store};

    #[tokio::test]
    async fn a_page_of_a_rare_filter_is_no_scan_of_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::Sqlite { file: dir.path().join("s.db"), durable: false };
        let store = Store::open(&location).await.unwrap();
        let (none, some) = (Filter::default, || Some("x".to_owned()));
        for (filter, index) in [
            (none(), "time"),
            (Filter { activity: some(), ..none() }, "activity"),
            (Filter { actor: some(), ..none() }, "actor"),
            (Filter { class_uid: Some(3001), ..none() }, "class"),
            (Filter { actor: some(), class_uid: Some(3001), activity: some(), ..none() }, "activity"),
        ] {
            let sql: &'static str = format!("EXPLAIN QUERY PLAN {}", sql_of(&filter)).leak();
            let look = move |tx: &mut Tx<'_>| tx.all(sql, &args(&"ws".into(), &filter, 1), |row| row.get::<String>(3));
            let plan = store.read(look).await.unwrap().join("; ");
            assert!(
                plan.starts_with(&format!("SEARCH audit_log USING INDEX audit_log_by_{index} (")),
                "{index}: {plan}"
            );
            assert!(plan.contains("at>?") && plan.contains("(at,seq)<(?,?)") && !plan.contains("TEMP"), "{plan}");
        }
    }
}
