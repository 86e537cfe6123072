//! What a key handed on without its being there may do. Whoever is invited gets a first key when they accept, long after
//! the key that invited them has asked; power only shrinks all the same, so the invite remembers what that key was.

use super::KeyRow;
use serde::{Deserialize, Serialize};
use stead_api::key::RateLimit;

/// A key's power in every dimension. The default is unrestricted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounds {
    permissions: Option<Vec<String>>,
    allowed_ips: Option<Vec<String>>,
    /// Credits a month.
    pub character_limit: Option<i64>,
    tts_concurrency_limit: Option<i64>,
    dubbing_concurrency_limit: Option<i64>,
    music_concurrency_limit: Option<i64>,
    rate_limits: Option<Vec<RateLimit>>,
    /// Microseconds.
    pub expires_at: Option<i64>,
}

impl Bounds {
    /// What a key may do.
    pub fn of(key: &KeyRow) -> Self {
        Self {
            permissions: key.permissions.clone(),
            allowed_ips: key.allowed_ips.clone(),
            character_limit: key.character_limit,
            tts_concurrency_limit: key.tts_concurrency_limit,
            dubbing_concurrency_limit: key.dubbing_concurrency_limit,
            music_concurrency_limit: key.music_concurrency_limit,
            rate_limits: key.rate_limits.clone(),
            expires_at: key.expires_at,
        }
    }

    /// Makes a key as strong as that, and no stronger.
    pub(super) fn put(&self, key: &mut KeyRow) {
        key.permissions.clone_from(&self.permissions);
        key.allowed_ips.clone_from(&self.allowed_ips);
        key.character_limit = self.character_limit;
        key.tts_concurrency_limit = self.tts_concurrency_limit;
        key.dubbing_concurrency_limit = self.dubbing_concurrency_limit;
        key.music_concurrency_limit = self.music_concurrency_limit;
        key.rate_limits.clone_from(&self.rate_limits);
        key.expires_at = self.expires_at;
    }
}
