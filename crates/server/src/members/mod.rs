//! Members: people, and who may do what in a workspace.
//!
//! - [`operator`]: whoever runs the server
//! - [`Caller`]: who asks, and for what kind of thing
//! - [`authorize`]: judges a caller by the state of the very transaction that does the work, so that a right taken away
//!   is gone for whatever begins afterwards
//! - `people`: listing, changing and removing them; [`seats`]: how many there may be

mod access;
pub mod operator;
mod people;
mod queries;
pub mod routes;
pub mod seats;

pub use access::Access;
pub use people::{Change, list, people, remove, set_usage_limit, update};

use crate::accounts::AccountRow;
use crate::error::Failure;
use crate::feed::mutation::{ChangeKind, Mutation, Target};
use crate::keys::{self, KeyRow};
use crate::store::{Error, Tx};
use crate::workspaces::WorkspaceRow;
use crate::{accounts, groups, seal};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, PrincipalId, RequestId, WorkspaceId};
use stead_api::time::Timestamp;
use stead_verify::facts::{Fact, PrincipalFacts};
use stead_verify::pepper::{Label, Ring};

/// The kinds of seat a person may have (wire §9.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeatType {
    /// May do everything.
    WorkspaceAdmin,
    /// A full seat.
    WorkspaceMember,
    /// A basic seat.
    WorkspaceLiteMember,
}

impl SeatType {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkspaceAdmin => "workspace_admin",
            Self::WorkspaceMember => "workspace_member",
            Self::WorkspaceLiteMember => "workspace_lite_member",
        }
    }

    /// Every kind.
    pub const ALL: [Self; 3] = [Self::WorkspaceAdmin, Self::WorkspaceMember, Self::WorkspaceLiteMember];

    /// The kind that the wire calls so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|seat| seat.as_str() == text)
    }
}

/// A person as stored.
#[derive(Clone, Debug)]
pub struct MemberRow {
    /// Which.
    pub id: String,
    /// Unique within the workspace; lower case.
    pub email: String,
    /// What others call them.
    pub name: String,
    /// A [`SeatType`].
    pub seat_type: String,
    /// One member of each workspace is.
    pub is_owner: bool,
    /// While true, nothing of theirs works.
    pub is_locked: bool,
    /// The groups they are in.
    pub groups: Vec<String>,
    /// Credits a month, all their keys together.
    pub usage_limit: Option<i64>,
    /// When they joined.
    pub created_at: i64,
    /// When they were removed, for good.
    pub removed_at: Option<i64>,
    /// Grows with each change.
    pub version: i64,
    /// Over all of these.
    pub seal: Vec<u8>,
}

impl MemberRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let who = (workspace, &self.id, &self.email, &self.seat_type, self.is_owner);
        let state = (self.is_locked, self.removed_at, &self.groups, self.usage_limit);
        seal::bytes(&(who, state, self.version))
    }

    fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed(Label::Member, &self.sealed_bytes(workspace.as_str()), &self.seal)
    }

    fn fact(&self, ring: &Ring, workspace: &WorkspaceId) -> Fact {
        let trusted = self.is_sealed(ring, workspace);
        if !trusted {
            tracing::error!(
                member = self.id,
                "the member's row was changed behind the server's back; their keys are refused"
            );
        }
        let disabled = self.is_locked || self.removed_at.is_some() || !trusted;
        Fact::Principal(PrincipalFacts {
            id: self.id.as_str().into(),
            version: self.version,
            disabled,
            is_admin: self.is_admin(),
            groups: groups::mirrored(&self.groups),
            cap: self.usage_limit.map(|limit| u64::try_from(limit).unwrap_or(0)),
        })
    }

    /// The kind of seat; `None` for a word that only another program could have written.
    pub fn seat(&self) -> Option<SeatType> {
        SeatType::parse(&self.seat_type)
    }

    /// Whether they may do everything.
    pub fn is_admin(&self) -> bool {
        self.is_owner || self.seat() == Some(SeatType::WorkspaceAdmin)
    }

    /// What an audit row calls them.
    pub fn target(&self) -> Target {
        Target::new("user", &self.id, if self.name.is_empty() { &self.email } else { &self.name })
    }

    /// Whether their keys may work: neither locked nor removed, and as this server wrote the row.
    pub fn works(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        !self.is_locked && self.removed_at.is_none() && self.is_sealed(ring, workspace)
    }
}

/// Adds a person to a workspace.
pub fn add(
    m: &mut Mutation<'_, '_>,
    email: &str,
    name: &str,
    seat: SeatType,
    is_owner: bool,
) -> Result<PrincipalId, Failure> {
    let id = PrincipalId::from_random(m.app.entropy.id());
    let newcomer = Newcomer { id: id.clone(), email, name, seat, is_owner, usage_limit: None };
    join(m, newcomer)?;
    Ok(id)
}

/// Somebody who becomes a member.
pub struct Newcomer<'a> {
    /// Nobody else's, ever.
    pub id: PrincipalId,
    /// In lower case, and no other member's.
    pub email: &'a str,
    /// May be empty.
    pub name: &'a str,
    /// Whoever calls has seen that there is one.
    pub seat: SeatType,
    /// One member of each workspace is.
    pub is_owner: bool,
    /// Credits a month, all their keys together.
    pub usage_limit: Option<i64>,
}

/// Makes somebody a member.
pub fn join(m: &mut Mutation<'_, '_>, newcomer: Newcomer<'_>) -> Result<(), Failure> {
    let Newcomer { id, email, name, seat, is_owner, usage_limit } = newcomer;
    let mut row = MemberRow {
        id: id.to_string(),
        email: email.to_owned(),
        name: name.to_owned(),
        seat_type: seat.as_str().to_owned(),
        is_owner,
        is_locked: false,
        groups: Vec::new(),
        usage_limit,
        created_at: m.now.0,
        removed_at: None,
        version: 0,
        seal: Vec::new(),
    };
    save(m, &mut row)?;
    m.audit(
        "User Creation",
        Target::new("user", &row.id, email),
        json!({ "seat_type": row.seat_type, "is_owner": is_owner }),
    );
    Ok(())
}

/// Writes a new or changed person: a new version, sealed anew, on its way to every mirror.
pub fn save(m: &mut Mutation<'_, '_>, row: &mut MemberRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    row.version += 1;
    row.seal = m.app.ring.seal(Label::Member, &row.sealed_bytes(workspace.as_str())).to_vec();
    queries::save(m.tx, &workspace, row)?;
    m.changed(ChangeKind::Member, &row.id, row.version, row.fact(&m.app.ring, &workspace));
    Ok(())
}

/// A member of a workspace, of either kind.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A person.
    Member(MemberRow),
    /// A service account.
    Account(AccountRow),
}

impl Principal {
    /// Which.
    pub fn id(&self) -> PrincipalId {
        match self {
            Self::Member(row) => row.id.as_str().into(),
            Self::Account(row) => row.id.as_str().into(),
        }
    }

    /// The e-mail.
    pub fn email(&self) -> &str {
        match self {
            Self::Member(row) => &row.email,
            Self::Account(row) => &row.email,
        }
    }

    /// What it is called: a person without a name by their e-mail.
    pub fn name(&self) -> &str {
        match self {
            Self::Member(row) if row.name.is_empty() => &row.email,
            Self::Member(row) => &row.name,
            Self::Account(row) => &row.name,
        }
    }

    /// The groups it is in, without `default`, in which everybody is.
    pub fn groups(&self) -> &[String] {
        match self {
            Self::Member(row) => &row.groups,
            Self::Account(row) => &row.groups,
        }
    }

    /// The same, to be changed; then [`Principal::save`].
    pub fn groups_mut(&mut self) -> &mut Vec<String> {
        match self {
            Self::Member(row) => &mut row.groups,
            Self::Account(row) => &mut row.groups,
        }
    }

    /// Credits a month, all its keys together; then [`Principal::save`].
    pub fn usage_limit_mut(&mut self) -> &mut Option<i64> {
        match self {
            Self::Member(row) => &mut row.usage_limit,
            Self::Account(row) => &mut row.usage_limit,
        }
    }

    /// Credits a month, all its keys together.
    pub fn usage_limit(&self) -> Option<i64> {
        match self {
            Self::Member(row) => row.usage_limit,
            Self::Account(row) => row.usage_limit,
        }
    }

    /// Whether it is a workspace admin.
    pub fn is_admin(&self) -> bool {
        matches!(self, Self::Member(row) if row.is_admin())
    }

    /// Whether the row is as this server wrote it. One that isn't must not get a seal.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        match self {
            Self::Member(row) => row.is_sealed(ring, workspace),
            Self::Account(row) => row.is_sealed(ring, workspace),
        }
    }

    /// What an audit row calls it.
    pub fn target(&self) -> Target {
        let kind = if matches!(self, Self::Member(_)) { "user" } else { "service_account" };
        Target::new(kind, self.id().as_str(), self.name())
    }

    /// Writes the changed row.
    pub fn save(&mut self, m: &mut Mutation<'_, '_>) -> Result<(), Failure> {
        match self {
            Self::Member(row) => save(m, row),
            Self::Account(row) => accounts::save(m, row),
        }
    }
}

/// A member of either kind that was neither removed nor deleted.
pub fn principal(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<Option<Principal>, Error> {
    if let Some(member) = queries::find(tx, workspace, id.as_str())? {
        return Ok(Some(member).filter(|row| row.removed_at.is_none()).map(Principal::Member));
    }
    Ok(accounts::find(tx, workspace, id)?.filter(|row| row.deleted_at.is_none()).map(Principal::Account))
}

/// Whether there is or was a person of this id.
pub fn was_ever(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<bool, Error> {
    Ok(queries::find(tx, workspace, id.as_str())?.is_some())
}

/// The same by e-mail, in any case.
pub fn principal_by_email(tx: &mut Tx<'_>, workspace: &WorkspaceId, email: &str) -> Result<Option<Principal>, Error> {
    let email = email.to_lowercase();
    if let Some(member) = queries::find_by_email(tx, workspace, &email)? {
        return Ok(Some(Principal::Member(member)));
    }
    Ok(accounts::find_by_email(tx, workspace, &email)?.map(Principal::Account))
}

/// Every member of either kind that was neither removed nor deleted: people first, each the oldest first.
pub fn principals(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Vec<Principal>, Error> {
    let mut all: Vec<_> = queries::list(tx, workspace)?.into_iter().map(Principal::Member).collect();
    all.extend(accounts::rows(tx, workspace)?.into_iter().map(Principal::Account));
    Ok(all)
}

/// Every person's facts, for the mirror.
pub fn facts(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<Fact>, Error> {
    Ok(queries::all(tx)?.iter().map(|(workspace, row)| row.fact(ring, workspace)).collect())
}

/// One person's facts.
pub fn fact(tx: &mut Tx<'_>, ring: &Ring, workspace: &WorkspaceId, id: &str) -> Result<Option<Fact>, Error> {
    Ok(queries::find(tx, workspace, id)?.map(|row| row.fact(ring, workspace)))
}

/// The owner of a workspace.
pub fn owner(tx: &mut Tx<'_>, workspace: &WorkspaceId) -> Result<Option<PrincipalId>, Error> {
    Ok(queries::owner(tx, workspace)?.map(|row| row.id.as_str().into()))
}

/// Every person whose row somebody else wrote, by id.
pub fn broken_seals(tx: &mut Tx<'_>, ring: &Ring) -> Result<Vec<String>, Error> {
    let broken = |(workspace, row): &(WorkspaceId, MemberRow)| !row.is_sealed(ring, workspace);
    Ok(queries::all(tx)?.into_iter().filter(broken).map(|(_, row)| row.id).collect())
}

/// Who asks.
#[derive(Clone)]
pub struct Caller {
    /// The key that asks; `None` for the server itself.
    key: Option<CallerKey>,
    access: Access,
    request: Option<Request>,
}

/// Whose key asks.
#[derive(Clone, Debug)]
pub struct CallerKey {
    /// The key.
    pub id: KeyId,
    /// Its owner.
    pub principal_id: PrincipalId,
    /// Its tenant.
    pub workspace_id: WorkspaceId,
}

/// The request a caller came with, for the audit log.
#[derive(Clone, Debug)]
pub struct Request {
    /// Equal to the answer's `x-request-id`.
    pub id: RequestId,
    /// Where it came from.
    pub ip: Option<IpAddr>,
    /// What it says it is; cut to 200 characters.
    pub user_agent: Option<String>,
    /// As in `POST`.
    pub method: String,
    /// The route's path, with ids of ours filled in; never the query.
    pub path: String,
}

impl Request {
    /// Adds itself to a caller's description.
    pub fn describe(&self, actor: &mut Value) {
        actor["ip"] = json!(self.ip);
        actor["user_agent"] = json!(self.user_agent);
        actor["request_id"] = json!(self.id);
        actor["method"] = json!(self.method);
        actor["path"] = json!(self.path);
    }
}

impl Caller {
    /// The server itself: at its first start, and in jobs.
    pub fn system() -> Self {
        Self { key: None, access: Access::Anyone, request: None }
    }

    /// Somebody without a key, by a right that the operation itself looks at: the token of an invite, a secret that was found.
    pub fn guest(request: Request) -> Self {
        Self { request: Some(request), ..Self::system() }
    }

    /// A key that was verified, on a route that asks for `access`.
    pub fn new(key: CallerKey, access: Access, request: Request) -> Self {
        Self { key: Some(key), access, request: Some(request) }
    }

    /// Whoever runs the server.
    pub fn operator(request: Request) -> Self {
        Self { key: None, access: Access::Operator, request: Some(request) }
    }

    /// Whose first outcomes answer a retry: the workspace and the key that asks. What the operator makes has no workspace
    /// yet when it is asked for, so the operator stands in one of a name that is no id.
    pub fn retries_as(&self, workspace: &WorkspaceId) -> Option<(WorkspaceId, &str)> {
        match &self.key {
            Some(key) => Some((workspace.clone(), key.id.as_str())),
            None if self.is_operator() => Some(("operator".into(), "operator")),
            None => None,
        }
    }

    /// Whether it is whoever runs the server.
    pub fn is_operator(&self) -> bool {
        self.access == Access::Operator
    }

    /// The key.
    pub fn key(&self) -> Option<&CallerKey> {
        self.key.as_ref()
    }

    /// The key's id.
    pub fn key_id(&self) -> Option<&KeyId> {
        self.key.as_ref().map(|key| &key.id)
    }

    /// The request it came with.
    pub fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// The key's workspace.
    pub fn workspace_id(&self) -> Option<&WorkspaceId> {
        self.key.as_ref().map(|key| &key.workspace_id)
    }

    /// The caller as the audit log describes it.
    pub fn describe(&self, authority: &Authority) -> Value {
        let Some(key) = &self.key else {
            let Some(request) = &self.request else { return json!({ "type": "system" }) };
            let mut actor = json!({ "type": if self.is_operator() { "operator" } else { "guest" } });
            request.describe(&mut actor);
            return actor;
        };
        let mut actor = json!({
            "type": if authority.is_service_account { "service_account" } else { "user" },
            "is_admin": authority.is_admin,
            "id": key.principal_id,
            "name": authority.name,
            "email": authority.email,
            "key_id": key.id,
        });
        if let Some(request) = &self.request {
            request.describe(&mut actor);
        }
        actor
    }
}

/// What a caller may do, as its transaction sees it.
#[derive(Clone, Debug, Default)]
pub struct Authority {
    /// The key it acts with; `None` for the server itself, which is bound by nothing.
    pub key: Option<KeyRow>,
    /// Whether it is a workspace admin.
    pub is_admin: bool,
    /// The groups it is in, without `default`.
    pub groups: Vec<String>,
    /// What it may do through its groups, `default` included.
    pub group_permissions: BTreeSet<String>,
    /// Credits a month, all its keys together.
    pub usage_limit: Option<i64>,
    /// Whether it is no person.
    pub is_service_account: bool,
    /// What it is called.
    pub name: String,
    /// Its e-mail.
    pub email: String,
    /// Its seat, or `service_account`.
    pub seat: String,
    /// When it was made.
    pub created_at: i64,
}

/// Judges a caller by the state of this transaction: its key, its owner, and what its route asks for.
pub fn authorize(
    tx: &mut Tx<'_>,
    ring: &Ring,
    caller: &Caller,
    workspace: &WorkspaceRow,
    now: Timestamp,
) -> Result<Authority, Failure> {
    let Some(asker) = &caller.key else { return Ok(Authority { is_admin: true, ..Authority::default() }) };
    let (workspace_id, principal) = (&asker.workspace_id, &asker.principal_id);
    let key = keys::find(tx, workspace_id, &asker.id)?.filter(|key| key.is_sealed(ring, workspace_id));
    let key = key.ok_or_else(|| Failure::refused(ErrorCode::InvalidApiKey, "The API key is not valid."))?;
    if let Some(code) = keys::standing(&key, now) {
        return Err(Failure::refused(code, "The API key no longer works."));
    }
    let from = caller.request.as_ref().and_then(|request| request.ip);
    if !key.allows(from) {
        return Err(Failure::refused(ErrorCode::IpNotAllowed, "The API key may not be used from this address."));
    }
    if workspace.is_disabled || !workspace.is_sealed(ring) {
        return Err(Failure::refused(ErrorCode::WorkspaceDisabled, "The workspace is disabled."));
    }
    let gone = || Failure::refused(ErrorCode::AccountDisabled, "The account of the API key is disabled.");
    let mut authority = if let Some(member) = queries::find(tx, workspace_id, principal.as_str())? {
        if !member.works(ring, workspace_id) {
            return Err(gone());
        }
        Authority {
            is_admin: member.is_admin(),
            group_permissions: groups::permissions_of(tx, ring, workspace_id, &member.groups)?,
            groups: member.groups,
            usage_limit: member.usage_limit,
            name: member.name,
            email: member.email,
            seat: member.seat_type,
            created_at: member.created_at,
            ..Authority::default()
        }
    } else {
        let account = accounts::find(tx, workspace_id, principal)?.filter(|account| account.works(ring, workspace_id));
        let account = account.ok_or_else(gone)?;
        let seat = "service_account".to_owned();
        Authority {
            is_service_account: true,
            group_permissions: groups::permissions_of(tx, ring, workspace_id, &account.groups)?,
            groups: account.groups,
            usage_limit: account.usage_limit,
            name: account.name,
            email: account.email,
            seat,
            created_at: account.created_at,
            ..Authority::default()
        }
    };
    if let Some(permission) = caller.access.permission()
        && !key.holds(permission)
    {
        return Err(lacks_permission(permission));
    }
    if matches!(caller.access, Access::AccountManager(_)) && !workspace.has_service_accounts() {
        let message = "Service accounts need a workspace with more than one seat.";
        return Err(Failure::refused(ErrorCode::FeatureNotAvailable, message));
    }
    match caller.access.group_permission() {
        _ if authority.is_admin => {}
        None if matches!(caller.access, Access::Admin(_)) => {
            return Err(Failure::refused(ErrorCode::Forbidden, "Only workspace admins may do this."));
        }
        Some(permission) if !authority.group_permissions.contains(permission) => {
            let message =
                format!("Only workspace admins and members of a group with the permission `{permission}` may do this.");
            return Err(Failure::lacks(message, vec![permission.into()]));
        }
        _ => {}
    }
    authority.key = Some(key);
    Ok(authority)
}

/// The refusal for a key without a permission.
pub fn lacks_permission(permission: &str) -> Failure {
    Failure::lacks(format!("The API key lacks the permission `{permission}`."), vec![permission.to_owned()])
}

/// What a person or a service account is called.
pub fn name(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<Option<String>, Error> {
    match queries::find(tx, workspace, id.as_str())? {
        Some(member) => Ok(Some(if member.name.is_empty() { member.email } else { member.name })),
        None => Ok(accounts::find(tx, workspace, id)?.map(|account| account.name)),
    }
}

/// Whether an id is a person's.
pub fn is_person(tx: &mut Tx<'_>, workspace: &WorkspaceId, id: &PrincipalId) -> Result<bool, Error> {
    Ok(queries::find(tx, workspace, id.as_str())?.is_some())
}
