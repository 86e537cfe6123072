//! A webhook as it is stored.

use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::Target;
use crate::seal;
use std::collections::BTreeMap;
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;
use stead_verify::pepper::{Label, Ring};
use zeroize::Zeroizing;

/// A webhook as stored.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    /// Which.
    pub id: String,
    /// 1–128 printable characters.
    pub name: String,
    /// Where deliveries go.
    pub url: String,
    /// Nothing is sent.
    pub is_disabled: bool,
    /// The same, by itself.
    pub is_auto_disabled: bool,
    /// Whether a delivery that fails is tried again.
    pub retry_enabled: bool,
    /// `None` means all.
    pub events: Option<Vec<String>>,
    /// Encrypted: headers that are sent along, as JSON.
    pub headers: Option<Vec<u8>>,
    /// Encrypted: what deliveries are signed with.
    pub secret: Vec<u8>,
    /// Encrypted: what they will be signed with.
    pub next_secret: Option<Vec<u8>>,
    /// From when on.
    pub next_secret_from: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// Grows with each change.
    pub version: i64,
    /// Over all of these.
    pub seal: Vec<u8>,
}

impl WebhookRow {
    fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let hex = |bytes: &Option<Vec<u8>>| bytes.as_deref().map(seal::hex);
        let where_to = (workspace, &self.id, &self.name, &self.url, hex(&self.headers));
        let state = (self.is_disabled, self.is_auto_disabled, self.retry_enabled, &self.events, self.created_at);
        let secrets = (seal::hex(&self.secret), hex(&self.next_secret), self.next_secret_from);
        seal::bytes(&("webhook", where_to, state, secrets, self.version))
    }

    /// A new version, sealed anew.
    pub(super) fn reseal(&mut self, ring: &Ring, workspace: &WorkspaceId) {
        self.version += 1;
        self.seal = ring.seal(Label::Webhook, &self.sealed_bytes(workspace.as_str())).to_vec();
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed(Label::Webhook, &self.sealed_bytes(workspace.as_str()), &self.seal)
    }

    /// Whether it is told anything.
    pub fn works(&self) -> bool {
        !self.is_disabled && !self.is_auto_disabled
    }

    /// Whether it is told of events of this kind.
    pub fn wants(&self, kind: &str) -> bool {
        self.events.as_ref().is_none_or(|events| events.iter().any(|event| event == kind))
    }

    /// What deliveries are signed with at an instant, encrypted.
    pub(super) fn secret_at(&self, now: Timestamp) -> &[u8] {
        let is_next = self.next_secret_from.is_some_and(|from| from <= now.0);
        self.next_secret.as_deref().filter(|_| is_next).unwrap_or(&self.secret)
    }

    /// The headers that are sent along.
    pub(super) fn headers(&self, ring: &Ring, workspace: &WorkspaceId) -> Result<BTreeMap<String, String>, Failure> {
        let Some(headers) = &self.headers else { return Ok(BTreeMap::new()) };
        let text = open(ring, workspace, &self.id, headers)?;
        serde_json::from_str(&text).map_err(|_| Failure::Defect("stored headers can't be read".into()))
    }

    pub(super) fn target(&self) -> Target {
        Target::new("webhook", &self.id, &self.name)
    }
}

/// What the key of a webhook's secrets is made from, beside the pepper.
fn whose(workspace: &WorkspaceId, id: &str) -> String {
    format!("{workspace} {id}")
}

const BOX: &str = "webhook secrets";

/// Encrypts something of a webhook's.
pub(super) fn close(app: &App, workspace: &WorkspaceId, id: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let whose = whose(workspace, id);
    seal::lock(&app.ring.derive(BOX, whose.as_bytes()), app.entropy.bytes(), whose.as_bytes(), text)
}

/// Decrypts it, whichever pepper it was encrypted under.
pub(super) fn open(
    ring: &Ring,
    workspace: &WorkspaceId,
    id: &str,
    sealed: &[u8],
) -> Result<Zeroizing<String>, Failure> {
    let whose = whose(workspace, id);
    let text = ring.derived(BOX, whose.as_bytes()).find_map(|key| seal::unlock(&key, whose.as_bytes(), sealed));
    text.ok_or_else(|| Failure::Defect("a webhook's secret can't be decrypted with any of the peppers".into()))
}
