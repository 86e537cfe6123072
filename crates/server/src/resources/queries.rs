//! The SQL of resources and of what is shared of them.

use super::ResourceRow;
use crate::store::{Arg, Error, Row, Tx};
use stead_api::id::WorkspaceId;
use stead_api::resource::Role;

macro_rules! columns {
    () => {
        "r.resource_type, r.id, r.name, r.creator_id, r.created_at, r.deleted_at, r.version, r.seal, r.workspace_id"
    };
}

fn read(row: &Row) -> Result<ResourceRow, Error> {
    Ok(ResourceRow {
        kind: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        creator_id: row.get(3)?,
        created_at: row.get(4)?,
        deleted_at: row.get(5)?,
        version: row.get(6)?,
        seal: row.get(7)?,
        shares: Vec::new(),
    })
}

fn share(grantee: String, role: &str) -> (String, Role) {
    // A word that is no role is the weakest one; then the seal doesn't fit, either.
    (grantee, Role::parse(role).unwrap_or(Role::Viewer))
}

/// A resource, deleted ones included, with what is shared of it.
pub(super) fn find(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    kind: &str,
    id: &str,
) -> Result<Option<ResourceRow>, Error> {
    let args: [Arg; 3] = [workspace.as_str().into(), kind.into(), id.into()];
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM resources r WHERE r.workspace_id = $1 AND r.resource_type = $2 AND r.id = $3"
    );
    let Some(mut row) = tx.maybe(sql, &args, read)? else { return Ok(None) };
    row.shares = shares(tx, &args)?;
    Ok(Some(row))
}

fn shares(tx: &mut Tx<'_>, resource: &[Arg; 3]) -> Result<Vec<(String, Role)>, Error> {
    let mut shares = tx.all(
        "SELECT grantee_id, role FROM resource_shares \
         WHERE workspace_id = $1 AND resource_type = $2 AND resource_id = $3",
        resource,
        |row| Ok(share(row.get(0)?, &row.get::<String>(1)?)),
    )?;
    // By bytes, which is not every database's order.
    shares.sort();
    Ok(shares)
}

/// Hands over every resource of every workspace that was not deleted.
pub(super) fn each(
    tx: &mut Tx<'_>,
    mut take: impl FnMut(WorkspaceId, ResourceRow) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut current: Option<(WorkspaceId, ResourceRow)> = None;
    let mut failed = Ok(());
    let mut done = |current: Option<(WorkspaceId, ResourceRow)>| match current {
        Some((workspace, mut row)) => {
            row.shares.sort();
            take(workspace, row)
        }
        None => Ok(()),
    };
    tx.each(
        concat!(
            "SELECT ",
            columns!(),
            ", s.grantee_id, s.role FROM resources r LEFT JOIN resource_shares s ON s.workspace_id = r.workspace_id \
             AND s.resource_type = r.resource_type AND s.resource_id = r.id \
             WHERE r.deleted_at IS NULL ORDER BY r.workspace_id, r.resource_type, r.id"
        ),
        &[],
        |row| {
            let (workspace, read): (WorkspaceId, _) = (row.get::<String>(8)?.into(), read(&row)?);
            let is_same = |(of, known): &(WorkspaceId, ResourceRow)| {
                *of == workspace && known.kind == read.kind && known.id == read.id
            };
            if !current.as_ref().is_some_and(is_same) {
                let whole = current.replace((workspace, read));
                if failed.is_ok() {
                    failed = done(whole);
                }
            }
            if let (Some((_, known)), Some(grantee)) = (&mut current, row.get::<Option<String>>(9)?) {
                let role: Option<String> = row.get(10)?;
                known.shares.push(share(grantee, role.as_deref().unwrap_or_default()));
            }
            Ok(())
        },
    )?;
    failed?;
    done(current)
}

/// The resources of a workspace that are shared with somebody.
pub(super) fn shared_with(tx: &mut Tx<'_>, workspace: &WorkspaceId, grantee: &str) -> Result<Vec<ResourceRow>, Error> {
    let which = tx.all(
        "SELECT resource_type, resource_id FROM resource_shares WHERE workspace_id = $1 AND grantee_id = $2",
        &[workspace.as_str().into(), grantee.into()],
        |row| Ok((row.get::<String>(0)?, row.get::<String>(1)?)),
    )?;
    let mut rows = Vec::with_capacity(which.len());
    for (kind, id) in which {
        rows.extend(find(tx, workspace, &kind, &id)?);
    }
    Ok(rows)
}

/// How many grantees [`page`] can ask for; for more, ask for everything and judge each.
pub(super) const MAX_GRANTEES: usize = 16;

/// Live resources in the order of type and id, after a place; with `grantees`, those that are shared with one of them or
/// that the first of them made. At most [`MAX_GRANTEES`].
pub(super) fn page(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    kind: Option<&str>,
    after: Option<&(String, String)>,
    grantees: Option<&[&str]>,
    limit: usize,
) -> Result<Vec<ResourceRow>, Error> {
    macro_rules! live {
        ($more:literal) => {
            concat!(
                "SELECT ",
                columns!(),
                " FROM resources r WHERE r.workspace_id = $1 AND r.deleted_at IS NULL \
                 AND (r.resource_type > $2 OR (r.resource_type = $2 AND r.id > $3)) \
                 AND (CAST($5 AS TEXT) IS NULL OR r.resource_type = $5)",
                $more,
                " ORDER BY r.resource_type, r.id LIMIT $4"
            )
        };
    }
    let (last_kind, last_id) = after.map_or(("", ""), |(kind, id)| (kind, id));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut args: Vec<Arg> =
        vec![workspace.as_str().into(), last_kind.into(), last_id.into(), limit.into(), kind.into()];
    let mut rows = if let Some(grantees) = grantees {
        // Places that are left over ask for nobody.
        let all = grantees.iter().copied().chain(std::iter::repeat(""));
        args.extend(all.take(MAX_GRANTEES).map(Arg::from));
        let sql = live!(
            " AND (r.resource_type, r.id) IN (SELECT s.resource_type, s.resource_id FROM resource_shares s \
             WHERE s.workspace_id = $1 AND s.grantee_id IN \
             ($6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21) \
             UNION SELECT c.resource_type, c.id FROM resources c WHERE c.workspace_id = $1 AND c.creator_id = $6)"
        );
        tx.all(sql, &args, read)?
    } else {
        tx.all(live!(""), &args, read)?
    };
    for row in &mut rows {
        row.shares = shares(tx, &[workspace.as_str().into(), row.kind.as_str().into(), row.id.as_str().into()])?;
    }
    Ok(rows)
}

/// Writes a whole row, new or changed, and what is shared of it. The caller holds the workspace's lock.
pub(super) fn save(tx: &mut Tx<'_>, workspace: &WorkspaceId, row: &ResourceRow) -> Result<(), Error> {
    tx.run(
        "INSERT INTO resources (workspace_id, resource_type, id, name, creator_id, created_at, deleted_at, version, seal) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (workspace_id, resource_type, id) DO UPDATE SET \
         name = excluded.name, creator_id = excluded.creator_id, created_at = excluded.created_at, \
         deleted_at = excluded.deleted_at, version = excluded.version, seal = excluded.seal",
        &[
            workspace.as_str().into(),
            row.kind.as_str().into(),
            row.id.as_str().into(),
            row.name.as_deref().into(),
            row.creator_id.as_deref().into(),
            row.created_at.into(),
            row.deleted_at.into(),
            row.version.into(),
            row.seal.clone().into(),
        ],
    )?;
    let resource: [Arg; 3] = [workspace.as_str().into(), row.kind.as_str().into(), row.id.as_str().into()];
    let before = shares(tx, &resource)?;
    for (grantee, _) in &before {
        if !row.shares.iter().any(|(kept, _)| kept == grantee) {
            let [workspace, kind, id] = resource.clone();
            tx.run(
                "DELETE FROM resource_shares \
                 WHERE workspace_id = $1 AND resource_type = $2 AND resource_id = $3 AND grantee_id = $4",
                &[workspace, kind, id, grantee.as_str().into()],
            )?;
        }
    }
    for (grantee, role) in row.shares.iter().filter(|share| !before.contains(share)) {
        let [workspace, kind, id] = resource.clone();
        tx.run(
            "INSERT INTO resource_shares (workspace_id, resource_type, resource_id, grantee_id, role) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (workspace_id, resource_type, resource_id, grantee_id) DO UPDATE \
             SET role = excluded.role",
            &[workspace, kind, id, grantee.as_str().into(), role.as_str().into()],
        )?;
    }
    Ok(())
}
