//! The one way to write: state, audit rows, change-log rows and the first outcome in one transaction; the mirror of
//! this node follows before anybody hears of the commit.
//!
//! In a transaction, in this order: lock the workspace's row (which makes "count, then insert" right), judge the
//! caller anew, answer a retry, do the work, append the audit rows, and bump the change clock last, since all writes of a
//! bucket wait for each other there.

use super::idempotency::Retry;
use super::queries::Change;
use super::{Revision, bucket, queries};
use crate::app::App;
use crate::audit::{self, AuditRow};
use crate::error::Failure;
use crate::members::{self, Authority, Caller};
use crate::store::{Proof, Provable, Tx, Written};
use crate::webhooks;
use crate::workspaces::{self, WorkspaceRow};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{AuditId, KeyId, WorkspaceId};
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_verify::facts::Fact;

/// What can change, as the change log calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// A workspace.
    Workspace,
    /// A person.
    Member,
    /// A service account.
    Account,
    /// A group.
    Group,
    /// A resource, with what is shared of it; its id is `<type>/<id>`.
    Resource,
    /// A key.
    Key,
}

impl ChangeKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Workspace, Self::Member, Self::Account, Self::Group, Self::Resource, Self::Key];

    /// The word in the change log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Member => "member",
            Self::Account => "account",
            Self::Group => "group",
            Self::Resource => "resource",
            Self::Key => "key",
        }
    }
}

/// What an audit row is about.
pub struct Target {
    kind: &'static str,
    id: String,
    name: String,
}

impl Target {
    /// A thing of a kind, with its id and its name at the time.
    pub fn new(kind: &'static str, id: &str, name: &str) -> Self {
        Self { kind, id: id.to_owned(), name: name.to_owned() }
    }
}

/// An audit row in the making.
struct Noted {
    activity: &'static str,
    /// Who, if it is not the caller.
    actor: Option<Value>,
    status: i64,
    target: Target,
    details: Value,
}

/// What an operation has made.
pub struct Made<T> {
    /// The answer. Kept for retries, so it never holds a secret.
    pub value: T,
    /// The secret that goes with it, if one was made.
    pub secret: Option<Secret>,
    /// The key whose secret it is.
    pub key_id: Option<KeyId>,
}

impl<T> From<T> for Made<T> {
    fn from(value: T) -> Self {
        Self { value, secret: None, key_id: None }
    }
}

impl<T> Made<T> {
    /// An answer that goes with a secret, or with none.
    pub fn with_secret(value: T, secret: Option<Secret>) -> Self {
        Self { value, secret, key_id: None }
    }
}

/// A committed operation.
pub struct Committed<T> {
    /// The answer.
    pub value: T,
    /// The secret that goes with it.
    pub secret: Option<Secret>,
    /// The place of the change; `None` if nothing had to be changed.
    pub revision: Option<Revision>,
}

/// A write under way in one workspace.
pub struct Mutation<'a, 't> {
    /// The server.
    pub app: &'a App,
    /// The transaction.
    pub tx: &'a mut Tx<'t>,
    /// The instant of the write.
    pub now: Timestamp,
    /// The workspace, locked.
    pub workspace: WorkspaceRow,
    /// What the caller may do, judged in this transaction.
    pub authority: Authority,
    changes: Vec<Change>,
    facts: Vec<Fact>,
    audit: Vec<Noted>,
    events: Vec<(&'static str, Value)>,
}

impl Mutation<'_, '_> {
    /// The workspace's id.
    pub fn workspace_id(&self) -> WorkspaceId {
        self.workspace.id()
    }

    /// Notes a changed row: for the change log, and for this node's mirror once it is committed.
    pub fn changed(&mut self, kind: ChangeKind, id: &str, version: i64, fact: Fact) {
        let change =
            Change { seq: 0, kind: kind.as_str().into(), workspace_id: self.workspace_id(), id: id.into(), version };
        self.changes.push(change);
        self.facts.push(fact);
    }

    /// Notes that the workspace's own facts changed.
    pub fn workspace_changed(&mut self) {
        let id = self.workspace_id();
        let change = Change {
            seq: 0,
            kind: ChangeKind::Workspace.as_str().into(),
            workspace_id: id,
            id: self.workspace.id.clone(),
            version: self.workspace.version + 1,
        };
        self.changes.push(change);
    }

    /// Adds a row to the audit log. `activity` is one of the wire's names (§15.7); `details` never holds a secret.
    pub fn audit(&mut self, activity: &'static str, target: Target, details: Value) {
        self.audit.push(Noted { activity, actor: None, status: audit::DONE, target, details });
    }

    /// Adds a row about what was refused to somebody earlier.
    pub fn audit_refused(&mut self, activity: &'static str, actor: Value, target: Target, details: Value) {
        self.audit.push(Noted { activity, actor: Some(actor), status: audit::FAILED, target, details });
    }

    /// Tells the workspace's webhooks, once this is committed. `kind` is as in `api_key.created`; `data` never holds a secret.
    pub fn event(&mut self, kind: &'static str, data: Value) {
        self.events.push((kind, data));
    }

    /// What follows the work, in the same transaction: audit rows, the chain's end, the first outcome, the change log.
    fn close<T: Serialize>(self, caller: &Caller, retry: Option<&Retry>, made: Made<T>) -> Result<Done<T>, Failure> {
        let Mutation { app, tx, now, workspace: mut row, authority, mut changes, mut facts, audit: entries, events } =
            self;
        let (workspace, bucket) = (row.id(), bucket(&row.id()));
        let described = caller.describe(&authority);
        let has_news = webhooks::enqueue(app, tx, &workspace, now, &described, events)?;
        if entries.is_empty() {
            // Nothing was changed: the caller wanted what is there already, or time alone has brought events.
            let changed = !changes.is_empty();
            return if changed {
                Err(Failure::Defect("a change without an audit row".into()))
            } else {
                Ok(Done { made: Some(made), facts: Vec::new(), revision: None, proof: None, has_news })
            };
        }
        let mut proof = None;
        for Noted { activity, actor, status, target, details } in entries {
            let id = AuditId::from_random(app.entropy.id());
            let target = json!({ "type": target.kind, "id": target.id, "name": target.name });
            let actor = actor.as_ref().unwrap_or(&described);
            let entry = AuditRow::new(&id, now, activity, status, actor, &target, &details);
            audit::append(tx, &app.ring, &mut row, entry)?;
            proof =
                Some(Proof { lock: workspaces::touch(&workspace), find: audit::proof(&workspace, row.audit_seq, &id) });
        }
        workspaces::save_end(tx, &app.ring, &mut row)?;
        if changes.iter().any(|change| change.kind == ChangeKind::Workspace.as_str()) {
            facts.insert(0, Fact::Workspace(row.facts(&app.ring)));
        }
        if let (Some(retry), Some((place, name))) = (retry, caller.retries_as(&workspace)) {
            retry.keep(tx, &app.ring, now, app.entropy.bytes(), (&place, name), &made)?;
        }
        let last = queries::bump(tx, bucket, changes.len())?;
        let first = last - i64::try_from(changes.len()).unwrap_or(0) + 1;
        for (seq, change) in (first..).zip(&mut changes) {
            change.seq = seq;
            queries::append(tx, bucket, now, change)?;
        }
        Ok(Done { made: Some(made), facts, revision: Some(Revision { bucket, seq: last }), proof, has_news })
    }
}

/// What a transaction brings back, to be acted on once it is committed.
struct Done<T> {
    made: Option<Made<T>>,
    facts: Vec<Fact>,
    revision: Option<Revision>,
    proof: Option<Proof>,
    /// Whether webhooks have something to be told.
    has_news: bool,
}

impl<T> Provable for Done<T> {
    fn proof(&self) -> Option<Proof> {
        self.proof.clone()
    }
}

/// Runs an operation in the caller's workspace.
pub async fn mutate<T>(
    app: &Arc<App>,
    caller: &Caller,
    retry: Option<Retry>,
    operation: impl Fn(&mut Mutation<'_, '_>) -> Result<Made<T>, Failure> + Send + 'static,
) -> Result<Committed<T>, Failure>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let workspace =
        caller.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?.clone();
    let id = workspace.clone();
    let open = move |_: &App, tx: &mut Tx<'_>| workspaces::lock(tx, &id).map(Some);
    let committed = write(app, workspace, caller.clone(), retry, open, operation).await?;
    committed.ok_or_else(|| Failure::Defect("the workspace was opened, but nothing was done".into()))
}

/// Runs an operation in a workspace that `open` locks or makes; nothing is done if it gives none.
pub async fn write<T>(
    app: &Arc<App>,
    workspace: WorkspaceId,
    caller: Caller,
    retry: Option<Retry>,
    open: impl Fn(&App, &mut Tx<'_>) -> Result<Option<WorkspaceRow>, Failure> + Send + 'static,
    operation: impl Fn(&mut Mutation<'_, '_>) -> Result<Made<T>, Failure> + Send + 'static,
) -> Result<Option<Committed<T>>, Failure>
where
    T: Serialize + DeserializeOwned + Send + 'static,
{
    let worker = app.clone();
    let work = move |tx: &mut Tx<'_>| {
        let app = &*worker;
        let nothing = Done { made: None, facts: Vec::new(), revision: None, proof: None, has_news: false };
        let now = app.clock.now();
        let first_outcome = |tx: &mut Tx<'_>| match (&retry, caller.retries_as(&workspace)) {
            (Some(retry), Some((place, name))) => retry.first_outcome(tx, &app.ring, now, &place, name),
            _ => Ok(None),
        };
        if caller.is_operator() && retry.is_some() {
            // Before there is a workspace whose lock would let retries take turns.
            queries::take_turns(tx)?;
            if let Some(made) = first_outcome(tx)? {
                return Ok(Done { made: Some(made), ..nothing });
            }
        }
        let Some(row) = open(app, tx)? else { return Ok(nothing) };
        let authority = members::authorize(tx, &app.ring, &caller, &row, now)?;
        if !row.is_sealed(&app.ring) {
            // Each write seals the row anew, and one that somebody else wrote must not get a seal.
            let message = "The workspace was changed behind the server's back and is refused.";
            return Err(Failure::refused(ErrorCode::NotTrusted, message));
        }
        if let Some(made) = first_outcome(tx)? {
            return Ok(Done { made: Some(made), ..nothing });
        }
        let mut mutation = Mutation {
            app,
            tx,
            now,
            workspace: row,
            authority,
            changes: Vec::new(),
            facts: Vec::new(),
            audit: Vec::new(),
            events: Vec::new(),
        };
        let made = operation(&mut mutation)?;
        mutation.close(&caller, retry.as_ref(), made)
    };
    let mirror = app.clone();
    let committed = move |done: &Done<T>| {
        for fact in &done.facts {
            mirror.index.apply(fact.clone());
        }
        match done.revision {
            // Numbers of other nodes' changes may lie before this one: the follower moves past them in order.
            _ if mirror.store.is_shared() => mirror.progress.wake.notify_one(),
            Some(revision) => mirror.progress.advance(revision.bucket, revision.seq),
            None => {}
        }
        if done.has_news {
            mirror.sender.wake.notify_one();
        }
    };
    match app.store.write(work, committed).await {
        Written::Committed(Done { made, revision, .. }) => {
            Ok(made.map(|made| Committed { value: made.value, secret: made.secret, revision }))
        }
        Written::Aborted(failure) => Err(failure),
        Written::Unknown => Err(Failure::OutcomeUnknown),
    }
}
