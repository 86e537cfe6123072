//! [`App`]: everything a request needs, built by one function, in production and in tests alike.

use crate::clock::{Clock, Entropy};
use crate::config::{Config, Limits};
use crate::error::Failure;
use crate::feed::{Progress, follow};
use crate::store::Store;
use crate::verify::usage::Unsaved;
use crate::workspaces::{self, FirstStart, NewWorkspace};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use stead_api::permission::Catalogue;
use stead_api::secret::Format;
use stead_verify::index::KeyIndex;
use stead_verify::pepper::Ring;

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
    /// What verification still has to tell the store.
    pub unsaved: Unsaved,
    /// Digests and seals.
    pub ring: Ring,
    /// The form of secrets.
    pub format: Format,
    /// What keys may do.
    pub catalogue: Catalogue,
    /// What workspaces may have.
    pub limits: Limits,
    /// Set once the mirror is filled.
    pub ready: AtomicBool,
}

/// Opens the store, fills the mirror and, on an empty store, makes the first workspace.
pub async fn build(
    config: &Config,
    ring: Ring,
    clock: Box<dyn Clock>,
    entropy: Box<dyn Entropy>,
) -> Result<(Arc<App>, Option<FirstStart>), Failure> {
    let app = Arc::new(App {
        store: Store::open(&config.database).await?,
        clock,
        entropy,
        index: KeyIndex::default(),
        progress: Progress::default(),
        unsaved: Unsaved::default(),
        ring,
        format: config.format.clone(),
        catalogue: config.catalogue.clone(),
        limits: config.limits.clone(),
        ready: AtomicBool::new(false),
    });
    let new = NewWorkspace {
        name: "My workspace".into(),
        seats: config.limits.seats,
        owner_email: config.admin_email.clone(),
        admin_api_key: config.admin_api_key.clone(),
    };
    let first = workspaces::create(&app, new, true).await?;
    follow::load(&app).await?;
    app.ready.store(true, std::sync::atomic::Ordering::Release);
    Ok((app, first))
}
