//! [`App`]: everything a request needs, built by one function, in production and in tests alike.

use crate::audit::Walks;
use crate::audit::refusals::Refusals;
use crate::clock::{Clock, Entropy};
use crate::config::{Config, Limits, Shown};
use crate::error::Failure;
use crate::feed::mutation::{self, Made, Mutation};
use crate::feed::{Progress, follow};
use crate::keys;
use crate::keys::exposure::Reported;
use crate::mail::smtp::Mailer;
use crate::members::operator::Operator;
use crate::members::{self, Caller};
use crate::metrics::Metrics;
use crate::store::{Error, Store, Tx};
use crate::traces::Traces;
use crate::usage::Usage;
use crate::verify::admission::Proxies;
use crate::verify::credits::{self, Leases};
use crate::verify::decisions::Decisions;
use crate::verify::places::Places;
use crate::verify::requests::Requests;
use crate::verify::usage::Unsaved;
use crate::webhooks::sender::Sender;
use crate::webhooks::transport::Outward;
use crate::workspaces::{self, FirstStart, NewWorkspace};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use stead_api::id::{NodeId, WorkspaceId};
use stead_api::permission::{API_KEYS_VERIFY, Catalogue};
use stead_api::resource::ResourceTypes;
use stead_api::secret::{Format, Secret};
use stead_verify::index::KeyIndex;
use stead_verify::pepper::Ring;
use stead_verify::permissions::PermissionSet;

/// The server without its listeners.
pub struct App {
    /// The wall clock.
    pub clock: Box<dyn Clock>,
    /// Random bytes.
    pub entropy: Box<dyn Entropy>,
    /// The truth.
    pub store: Store,
    /// The mirror of every key.
    pub index: KeyIndex,
    /// How far the mirror has come.
    pub progress: Progress,
    /// Last uses that the store has not been told.
    pub unsaved: Unsaved,
    /// Credits that this node may spend.
    pub leases: Leases,
    /// Requests that were granted lately.
    pub requests: Requests,
    /// Places that concurrency limits have given out.
    pub places: Places,
    /// Sends what webhooks are told.
    pub sender: Sender,
    /// Recent denials.
    pub decisions: Decisions,
    /// Calls that were refused, on their way to the audit log.
    pub refusals: Refusals,
    /// Who walks whole audit logs.
    pub audit_walks: Walks,
    /// What was counted for whom, and not yet told to the store.
    pub usage: Usage,
    /// What a key must hold to ask about others.
    pub may_ask: PermissionSet,
    /// Digests and seals.
    pub ring: Ring,
    /// The operator's credential; without one nobody is the operator.
    pub operator: Option<Operator>,
    /// Keys that were reported as public lately.
    pub reported: Reported,
    /// The form of secrets.
    pub format: Format,
    /// What keys may do.
    pub catalogue: Catalogue,
    /// What can be shared.
    pub resource_types: ResourceTypes,
    /// What workspaces may have.
    pub limits: Limits,
    /// Whether verification has a listener of its own; forward-auth is then served there and nowhere else.
    pub has_verification_listener: bool,
    /// What is known of the proxies that ask.
    pub proxies: Proxies,
    /// What is counted.
    pub metrics: Metrics,
    /// Who may see that.
    pub metrics_shown: Shown,
    /// Whether a proxy is known to stand in front: then the peer's address says nothing.
    pub has_proxy: bool,
    /// What sends mails, if anything does.
    pub mailer: Option<Mailer>,
    /// The address that links in mails begin with.
    pub url: String,
    /// Spans for a collector, if there is one.
    pub traces: Option<Traces>,
    /// Set once the mirror is filled.
    pub ready: AtomicBool,
}

impl App {
    /// The time since the start, in microseconds, which no setting of the wall clock moves.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.clock.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Opens the store, fills the mirror and, on an empty store, makes the first workspace.
pub async fn build(
    config: &Config,
    ring: Ring,
    clock: Box<dyn Clock>,
    entropy: Box<dyn Entropy>,
) -> Result<(Arc<App>, Option<FirstStart>), Failure> {
    let node = NodeId::from_random(entropy.id()).to_string();
    let app = Arc::new(App {
        metrics: Metrics::new(&*clock),
        metrics_shown: config.metrics,
        has_proxy: config.public_url.is_some(),
        mailer: config
            .mail
            .as_ref()
            .map(|(server, from)| Mailer::new(server, from.clone()))
            .transpose()
            .map_err(Failure::Defect)?,
        url: config.url(),
        traces: config.collector.as_ref().map(Traces::start).transpose()?,
        store: Store::open(&config.database).await?,
        clock,
        entropy,
        index: KeyIndex::default(),
        progress: Progress::default(),
        unsaved: Unsaved::default(),
        sender: Sender::new(Outward::new(config.webhook_allow.clone()), node.clone()),
        usage: Usage::new(node.clone()),
        leases: Leases::new(node),
        requests: Requests::default(),
        places: Places::default(),
        decisions: Decisions::default(),
        refusals: Refusals::default(),
        audit_walks: Walks::default(),
        may_ask: config.catalogue.place(API_KEYS_VERIFY).into_iter().collect(),
        ring,
        operator: config.operator_api_key.as_ref().map(Operator::new),
        reported: Reported::default(),
        format: config.format.clone(),
        catalogue: config.catalogue.clone(),
        resource_types: config.resource_types.clone(),
        limits: config.limits.clone(),
        has_verification_listener: config.verify_listen.is_some(),
        proxies: config.proxies.clone(),
        ready: AtomicBool::new(false),
    });
    let new = NewWorkspace {
        name: "My workspace".into(),
        seats: config.limits.seats,
        billing: config.limits.billing.clone(),
        owner_email: config.admin_email.clone(),
        admin_api_key: config.admin_api_key.clone(),
    };
    let first = workspaces::create(&app, new, true).await?;
    if first.is_none() {
        check_pepper(&app).await?;
    }
    credits::sweep(&app, true).await?;
    follow::load(&app).await?;
    app.ready.store(true, std::sync::atomic::Ordering::Release);
    Ok((app, first))
}

/// Refuses a store that none of the peppers fits: every key would be unknown, and every write would be sealed anew.
async fn check_pepper(app: &Arc<App>) -> Result<(), Failure> {
    let worker = app.clone();
    let look = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let workspaces = workspaces::all(tx)?;
        let people = members::facts(tx, &worker.ring)?.len();
        let strange = members::broken_seals(tx, &worker.ring)?.len();
        Ok(workspaces.iter().any(|workspace| workspace.is_sealed(&worker.ring)) || strange < people)
    };
    if app.store.read(look).await? {
        return Ok(());
    }
    let why =
        "the pepper is not the one this database was made with: put the right one back, or share it with this node";
    Err(Failure::Store(Error::Unusable(why.into())))
}

/// Makes a new key for the owner of a workspace, the first one if none is named, for whoever has the data directory and
/// has lost the owner's key.
pub async fn create_owner_key(app: &Arc<App>, workspace: Option<WorkspaceId>) -> Result<Secret, Failure> {
    let find = move |tx: &mut Tx<'_>| -> Result<_, Failure> {
        let first = match &workspace {
            Some(id) => workspaces::find(tx, id)?,
            None => workspaces::all(tx)?.into_iter().min_by_key(|workspace| workspace.created_at),
        };
        let first = first.ok_or_else(workspaces::not_found)?;
        let owner =
            members::owner(tx, &first.id())?.ok_or_else(|| Failure::Defect("the workspace has no owner".into()))?;
        Ok((first.id(), owner))
    };
    let (workspace, owner) = app.store.read(find).await?;
    let id = workspace.clone();
    let open = move |_: &App, tx: &mut Tx<'_>| workspaces::lock(tx, &id).map(Some);
    let operation = move |m: &mut Mutation<'_, '_>| Ok(Made::with_secret((), keys::create_for_owner(m, &owner, None)?));
    let made = mutation::write(app, workspace, Caller::system(), None, open, operation).await?;
    made.and_then(|made| made.secret).ok_or_else(|| Failure::Defect("no key was made".into()))
}
