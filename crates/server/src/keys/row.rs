//! A key as it is stored.

use super::Target;
use crate::seal;
use crate::store::Error;
use ipnet::IpNet;
use std::net::IpAddr;
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, WorkspaceId};
use stead_api::key::{KeyStatus, RateLimit, RateLimitScope};
use stead_api::permission::Catalogue;
use stead_api::time::Timestamp;
use stead_verify::facts::{Fact, KeyFacts};
use stead_verify::limits;
use stead_verify::pepper::{Label, Ring};
use stead_verify::permissions::PermissionSet;

/// Why a key is disabled whose holder did it (wire §15.3).
pub(super) const SELF_DISABLED: &str = "self_disabled";
/// The same of one whose secret was found in public.
pub(super) const EXPOSED: &str = "exposed_publicly";
/// The same of one that nobody used for longer than the workspace allows.
pub(super) const IDLE: &str = "idle";

/// A key as stored.
#[derive(Clone, Debug)]
pub struct KeyRow {
    /// Which.
    pub id: String,
    /// Its owner: a service account or a person.
    pub principal_id: String,
    /// The key and its successors by rotation.
    pub lineage_id: String,
    /// 1–128 printable characters.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// The last four characters of the secret.
    pub hint: String,
    /// What is stored of the secret.
    pub digest: Vec<u8>,
    /// The pepper that made the digest.
    pub pepper_version: i64,
    /// Whether the secret is of a form that is not ours.
    pub is_foreign: bool,
    /// `None` means unrestricted.
    pub permissions: Option<Vec<String>>,
    /// `None` means anywhere.
    pub allowed_ips: Option<Vec<String>>,
    /// Credits a month.
    pub character_limit: Option<i64>,
    /// Speech at once.
    pub tts_concurrency_limit: Option<i64>,
    /// Dubbings at once.
    pub dubbing_concurrency_limit: Option<i64>,
    /// Music at once.
    pub music_concurrency_limit: Option<i64>,
    /// How often it may be used; `None` means as often as one likes.
    pub rate_limits: Option<Vec<RateLimit>>,
    /// Whether its holder may disable it; `None`: the workspace decides.
    pub third_party_disable_allowed: Option<bool>,
    /// Refused until enabled.
    pub is_disabled: bool,
    /// Why, if not by an admin.
    pub disable_reason: Option<String>,
    /// When it was made.
    pub created_at: i64,
    /// Refused from then on.
    pub expires_at: Option<i64>,
    /// Refused for good.
    pub revoked_at: Option<i64>,
    /// The key it succeeded.
    pub rotated_from: Option<String>,
    /// Its successor.
    pub rotated_to: Option<String>,
    /// What `expires_at` was before the rotation.
    pub unrotated_expires_at: Option<i64>,
    /// When it was last enabled again: what was idle before is forgiven.
    pub enabled_at: Option<i64>,
    /// When its secret was last reported as found in public.
    pub exposed_at: Option<i64>,
    /// Grows with each change.
    pub version: i64,
    /// Over what decisions read.
    pub seal: Vec<u8>,
}

impl KeyRow {
    /// The id.
    pub fn id(&self) -> KeyId {
        self.id.as_str().into()
    }

    /// When it ends.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.expires_at.map(Timestamp)
    }

    /// Whether it may do something, whatever the catalogue says.
    pub fn holds(&self, permission: &str) -> bool {
        self.permissions.as_ref().is_none_or(|list| list.iter().any(|held| held == permission))
    }

    /// Whether it may be used from an address. A network that can't be read lets nobody in.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        let within = |network: &String| {
            let network = network.parse::<IpNet>();
            network.is_ok_and(|network| address.is_some_and(|address| network.contains(&address.to_canonical())))
        };
        self.allowed_ips.as_ref().is_none_or(|networks| networks.iter().any(within))
    }

    pub(super) fn sealed_bytes(&self, workspace: &str) -> Vec<u8> {
        let what = (&self.id, &self.principal_id, &self.lineage_id, seal::hex(&self.digest), self.is_foreign);
        let may = (&self.permissions, &self.allowed_ips, self.character_limit);
        let ends = (self.is_disabled, self.expires_at, self.revoked_at, self.unrotated_expires_at, &self.rotated_to);
        let ends = (ends, self.third_party_disable_allowed, &self.disable_reason, self.enabled_at, self.exposed_at);
        let limits = (self.tts_concurrency_limit, self.dubbing_concurrency_limit, self.music_concurrency_limit);
        let limits = (limits, &self.rate_limits);
        seal::bytes(&(workspace, what, may, ends, limits, self.version))
    }

    /// Whether the row is as this server wrote it.
    pub fn is_sealed(&self, ring: &Ring, workspace: &WorkspaceId) -> bool {
        ring.is_sealed(Label::Key, &self.sealed_bytes(workspace.as_str()), &self.seal)
    }

    pub(super) fn fact(&self, catalogue: &Catalogue, workspace: &WorkspaceId) -> Result<Fact, Error> {
        let digest = self.digest.as_slice().try_into();
        let networks = self.allowed_ips.iter().flatten().map(|text| text.parse::<IpNet>());
        Ok(Fact::Key(Box::new(KeyFacts {
            id: self.id(),
            version: self.version,
            workspace_id: workspace.clone(),
            principal_id: self.principal_id.as_str().into(),
            lineage_id: self.lineage_id.as_str().into(),
            digest: digest.map_err(|_| Error::Defect("a digest has 32 bytes".into()))?,
            foreign: self.is_foreign,
            revoked: self.revoked_at.is_some(),
            disabled: self.is_disabled,
            expires_at: self.expiry(),
            permissions: self.permissions.as_ref().map(|names| PermissionSet::known(catalogue, names)),
            allowed_ips: networks
                .collect::<Result<_, _>>()
                .map_err(|_| Error::Defect("a stored network can't be read".into()))?,
            character_limit: self.character_limit.map(whole),
            rate_limits: self.rate_limits.iter().flatten().map(mirrored).collect(),
            concurrency: [self.tts_concurrency_limit, self.dubbing_concurrency_limit, self.music_concurrency_limit]
                .map(|limit| limit.map(whole)),
        })))
    }

    /// Whether its secret is public, so that it must never work again.
    pub(super) fn is_exposed(&self) -> bool {
        self.is_disabled && self.disable_reason.as_deref() == Some(EXPOSED)
    }

    pub(super) fn target(&self) -> Target {
        Target::new("api_key", &self.id, &self.name)
    }

    pub(super) fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked_at.is_some() {
            KeyStatus::Revoked
        } else if self.expiry().is_some_and(|end| end <= now) {
            KeyStatus::Expired
        } else if self.is_disabled {
            KeyStatus::Disabled
        } else {
            KeyStatus::Active
        }
    }
}

/// A limit as the mirror has it. None is ever below nothing; should one be, it lets nothing through.
fn whole(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(0)
}

fn mirrored(limit: &RateLimit) -> limits::RateLimit {
    limits::RateLimit {
        name: limit.name.as_str().into(),
        limit: whole(limit.limit),
        window_seconds: whole(limit.window_seconds),
        per_lineage: limit.per == RateLimitScope::Lineage,
    }
}

/// Why a key doesn't work by itself, as an error for its holder; `None` if it does.
pub fn standing(key: &KeyRow, now: Timestamp) -> Option<ErrorCode> {
    match key.status(now) {
        KeyStatus::Active => None,
        KeyStatus::Disabled => Some(ErrorCode::ApiKeyDisabled),
        KeyStatus::Expired => Some(ErrorCode::ApiKeyExpired),
        KeyStatus::Revoked => Some(ErrorCode::ApiKeyRevoked),
    }
}
