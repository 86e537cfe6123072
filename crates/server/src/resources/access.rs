//! Who can touch what, and by which way. The rules are those of the mirror ([`stead_verify::index::KeyIndex::held`]),
//! which decides; here they are applied to the store's rows, for reading and for managing.

use super::{ResourceRow, has_all, queries};
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::Mutation;
use crate::groups::{self, DEFAULT};
use crate::members::{self, Authority, Principal};
use crate::store::{Error, Tx};
use std::collections::{BTreeMap, HashMap, HashSet};
use stead_api::id::{GroupId, PrincipalId, WorkspaceId};
use stead_api::permission::ALL_RESOURCES_ACCESS;
use stead_api::resource::{GrantStep, PrincipalAccess, Resource, ResourceAccess, ResourceEntry, Role, ShareOption};
use stead_api::time::Timestamp;
use stead_verify::index::{EVERYONE, Via};
use stead_verify::pepper::Ring;

/// The role that a caller has on a resource.
pub(super) fn role_of(authority: &Authority, row: &ResourceRow) -> Option<Role> {
    let own = authority.key.as_ref().map(|key| key.principal_id.as_str());
    let whose = Whose {
        id: own.unwrap_or_default(),
        is_admin: authority.is_admin,
        has_all: has_all(authority),
        groups: &authority.groups,
    };
    held(&whose, row).map(|(role, _)| role)
}

/// What of a member the rules read.
struct Whose<'a> {
    id: &'a str,
    is_admin: bool,
    /// Through a group, or everybody.
    has_all: bool,
    groups: &'a [String],
}

/// The strongest role, and where it comes from: the grantee's id, or how else.
enum Way<'a> {
    Admin,
    Creator,
    All,
    Share(&'a str),
}

fn held<'a>(whose: &Whose<'_>, row: &'a ResourceRow) -> Option<(Role, Way<'a>)> {
    if whose.is_admin {
        return Some((Role::Admin, Way::Admin));
    }
    if row.creator_id.as_deref() == Some(whose.id) {
        return Some((Role::Admin, Way::Creator));
    }
    if whose.has_all {
        return Some((Role::Admin, Way::All));
    }
    let is_theirs =
        |grantee: &str| grantee == whose.id || grantee == DEFAULT || whose.groups.iter().any(|g| g == grantee);
    // The nearest of those that are as strong: directly, through a group, through everybody.
    let distance = |grantee: &str| match grantee {
        DEFAULT => 2,
        id if id == whose.id => 0,
        _ => 1,
    };
    let theirs = row.shares.iter().filter(|(grantee, _)| is_theirs(grantee));
    let best = theirs.max_by_key(|(grantee, role)| (*role, std::cmp::Reverse(distance(grantee))));
    best.map(|(grantee, role)| (*role, Way::Share(grantee)))
}

/// The groups that give access to everything, of those that this server wrote.
fn all_resources_groups(ring: &Ring, workspace: &WorkspaceId, groups: &[groups::GroupRow]) -> HashSet<String> {
    let gives = |group: &&groups::GroupRow| {
        group.permissions.iter().any(|permission| permission == ALL_RESOURCES_ACCESS)
            && group.is_sealed(ring, workspace)
    };
    groups.iter().filter(gives).map(|group| group.id.clone()).collect()
}

fn step(kind: &str, id: Option<&str>, name: Option<&str>) -> GrantStep {
    GrantStep { kind: kind.into(), id: id.map(str::to_owned), name: name.map(str::to_owned) }
}

fn kind_of(principal: &Principal) -> &'static str {
    if matches!(principal, Principal::Member(_)) { "user" } else { "service_account" }
}

/// A workspace's groups, by id, and which of them give access to everything.
struct Groups {
    names: HashMap<String, String>,
    all: HashSet<String>,
}

impl Groups {
    fn read(app: &App, tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Self, Error> {
        let rows = groups::rows(tx, workspace)?;
        let all = all_resources_groups(&app.ring, workspace, &rows);
        Ok(Self { names: rows.into_iter().map(|row| (row.id, row.name)).collect(), all })
    }

    fn whose<'a>(&self, principal: &'a Principal, id: &'a str) -> Whose<'a> {
        let groups = principal.groups();
        let has_all = self.all.contains(DEFAULT) || groups.iter().any(|group| self.all.contains(group));
        Whose { id, is_admin: principal.is_admin(), has_all, groups }
    }

    fn group_step(&self, id: &str) -> GrantStep {
        step("group", Some(id), self.names.get(id).map(String::as_str))
    }

    fn way(&self, principal: &Principal, row: &ResourceRow, way: &Way<'_>) -> Vec<GrantStep> {
        let id = principal.id();
        let mut path = vec![step(kind_of(principal), Some(id.as_str()), Some(principal.name()))];
        match way {
            Way::Admin => path.push(step("workspace_admin", None, None)),
            Way::Creator => path.push(step("creator", None, None)),
            Way::All => {
                let theirs = principal.groups().iter().map(String::as_str).chain([DEFAULT]);
                path.extend(
                    theirs.filter(|group| self.all.contains(*group)).take(1).map(|group| self.group_step(group)),
                );
            }
            Way::Share(grantee) if *grantee == id.as_str() => {}
            Way::Share(group) => path.push(self.group_step(group)),
        }
        path.push(step("resource", Some(&format!("{}/{}", row.kind, row.id)), row.name.as_deref()));
        path
    }
}

/// The way that the mirror found, with names.
pub fn path(
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &PrincipalId,
    via: Via,
    resource: Option<&(String, String)>,
) -> Result<Vec<GrantStep>, Failure> {
    let name = members::name(tx, workspace, principal)?;
    let is_person = members::is_person(tx, workspace, principal)?;
    let kind = if is_person { "user" } else { "service_account" };
    let mut path = vec![step(kind, Some(principal.as_str()), name.as_deref())];
    match via {
        Via::Nothing | Via::Unknown => return Ok(Vec::new()),
        Via::Admin => path.push(step("workspace_admin", None, None)),
        Via::Creator => path.push(step("creator", None, None)),
        Via::Direct => {}
        Via::Group(bits, _) => {
            let id = if bits == EVERYONE { DEFAULT.to_owned() } else { GroupId::from_bits(bits).to_string() };
            let name = groups::find(tx, workspace, &id)?.map(|group| group.name);
            path.push(step("group", Some(&id), name.as_deref()));
        }
    }
    if let Some((kind, id)) = resource {
        let name = queries::find(tx, workspace, kind, id)?.and_then(|row| row.name);
        path.push(step("resource", Some(&format!("{kind}/{id}")), name.as_deref()));
    }
    Ok(path)
}

/// A resource as it is told, without those it could be shared with.
pub(super) fn view(row: &ResourceRow, access_level: Role) -> Resource {
    let mut role_to_group_ids: BTreeMap<Role, Vec<String>> = BTreeMap::new();
    if let Some(creator) = &row.creator_id {
        role_to_group_ids.entry(Role::Admin).or_default().push(creator.clone());
    }
    for (grantee, role) in &row.shares {
        role_to_group_ids.entry(*role).or_default().push(grantee.clone());
    }
    Resource {
        resource_id: row.id.clone(),
        resource_type: row.kind.clone(),
        resource_name: row.name.clone(),
        creator_user_id: row.creator_id.as_deref().map(PrincipalId::from),
        anonymous_access_level_override: None,
        role_to_group_ids,
        share_options: Vec::new(),
        access_level,
        created_at_unix: Timestamp(row.created_at).seconds(),
    }
}

/// Most of those that a resource could be shared with; more than that nobody picks from.
const MAX_OPTIONS: usize = 1000;

/// Groups, people and service accounts that a resource could be shared with.
pub(super) fn share_options(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    resource: &Resource,
) -> Result<Vec<ShareOption>, Failure> {
    let has = |id: &str| resource.role_to_group_ids.values().flatten().any(|grantee| grantee == id);
    let groups = groups::rows(tx, workspace)?;
    let groups = groups.iter().filter(|group| !has(&group.id)).map(|group| option(&group.name, &group.id, "group"));
    let mut options: Vec<_> = groups.take(MAX_OPTIONS).collect();
    for principal in members::principals(tx, workspace)? {
        if options.len() == MAX_OPTIONS {
            break;
        }
        let id = principal.id();
        if !has(id.as_str()) && principal.is_sealed(&app.ring, workspace) {
            let kind = if matches!(principal, Principal::Member(_)) { "user" } else { "key" };
            options.push(option(principal.name(), id.as_str(), kind));
        }
    }
    Ok(options)
}

fn option(name: &str, id: &str, kind: &str) -> ShareOption {
    ShareOption { name: name.to_owned(), id: id.to_owned(), kind: kind.to_owned() }
}

/// Everybody who can touch a resource, each with the way.
pub(super) fn who_can_touch(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    row: &ResourceRow,
) -> Result<ResourceAccess, Failure> {
    let groups = Groups::read(app, tx, workspace)?;
    let mut principals = Vec::new();
    for principal in members::principals(tx, workspace)? {
        let id = principal.id();
        if !principal.is_sealed(&app.ring, workspace) {
            continue;
        }
        if let Some((role, way)) = held(&groups.whose(&principal, id.as_str()), row) {
            principals.push(PrincipalAccess {
                name: principal.name().to_owned(),
                kind: kind_of(&principal).to_owned(),
                role,
                path: groups.way(&principal, row, &way),
                user_id: id,
            });
        }
    }
    Ok(ResourceAccess { principals })
}

/// A page of what a member can touch, in the order of type and id, each with the way; whether there is more.
pub(super) fn touchable(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    principal: &Principal,
    (kind, after, limit): (Option<&str>, Option<(String, String)>, usize),
) -> Result<(Vec<ResourceEntry>, bool), Failure> {
    let groups = Groups::read(app, tx, workspace)?;
    let id = principal.id();
    let whose = groups.whose(principal, id.as_str());
    let everything = whose.is_admin || whose.has_all;
    let theirs: Vec<_> = [id.as_str(), DEFAULT].into_iter().chain(whose.groups.iter().map(String::as_str)).collect();
    let (mut entries, mut after) = (Vec::new(), after);
    // Rows that are not as this server wrote them are passed over, so it may take more than one look.
    loop {
        let grantees = (!everything && theirs.len() <= queries::MAX_GRANTEES).then_some(&theirs[..]);
        let page = queries::page(tx, workspace, kind, after.as_ref(), grantees, limit + 1)?;
        let is_last = page.len() <= limit;
        for row in page {
            after = Some((row.kind.clone(), row.id.clone()));
            let Some((role, way)) = held(&whose, &row) else { continue };
            if !row.is_sealed(&app.ring, workspace) {
                continue;
            }
            if entries.len() == limit {
                return Ok((entries, true));
            }
            entries.push(ResourceEntry {
                path: groups.way(principal, &row, &way),
                resource_id: row.id,
                resource_type: row.kind,
                resource_name: row.name,
                creator_user_id: row.creator_id.as_deref().map(PrincipalId::from),
                role,
            });
        }
        if is_last {
            return Ok((entries, false));
        }
    }
}

/// Whether an owner has a role on something that the caller, who is no admin, does not have, or a stronger one.
pub fn beyond(m: &mut Mutation<'_, '_>, owner: &Principal) -> Result<bool, Failure> {
    let workspace = m.workspace_id();
    if m.authority.is_admin || has_all(&m.authority) {
        return Ok(false);
    }
    let groups = Groups::read(m.app, m.tx, &workspace)?;
    let id = owner.id();
    let whose = groups.whose(owner, id.as_str());
    if whose.is_admin || whose.has_all {
        return Ok(true);
    }
    // What everybody has the caller has, too.
    let theirs: Vec<_> = [id.as_str()].into_iter().chain(whose.groups.iter().map(String::as_str)).collect();
    let mut after = None;
    loop {
        let grantees = (theirs.len() <= queries::MAX_GRANTEES).then_some(&theirs[..]);
        let page = queries::page(m.tx, &workspace, None, after.as_ref(), grantees, 500)?;
        for row in &page {
            let role = held(&whose, row).map(|(role, _)| role);
            if role > role_of(&m.authority, row) {
                return Ok(true);
            }
        }
        let Some(last) = page.last() else { return Ok(false) };
        after = Some((last.kind.clone(), last.id.clone()));
    }
}
