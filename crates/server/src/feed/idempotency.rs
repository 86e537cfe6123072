//! First outcomes of POSTs that came with an `Idempotency-Key`, so that a retry learns what became of the first try.
//!
//! An outcome is written in the transaction it belongs to, and is bound to the caller, the route and the body. A
//! secret lies in it for a minute, sealed under a key made from the `Idempotency-Key`, of which only a hash is
//! stored: neither the database nor a backup can open it. Refusals are not kept: nothing was done, so the retry is judged
//! anew.

use super::mutation::Made;
use super::queries;
use crate::error::Failure;
use crate::seal;
use crate::store::{Error, Tx};
use aws_lc_rs::aead::NONCE_LEN;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use stead_api::error::ErrorCode;
use stead_api::id::WorkspaceId;
use stead_api::secret::Secret;
use stead_api::time::Timestamp;
use stead_verify::pepper::Ring;
use zeroize::Zeroizing;

/// How long an outcome is kept.
const KEPT_SECONDS: i64 = 24 * 60 * 60;
/// How long a secret is repeated.
const SECRET_SECONDS: i64 = 60;

/// A request that may come again.
#[derive(Clone)]
pub struct Retry {
    key: String,
    request_hash: Vec<u8>,
}

/// What is kept of the first try.
pub(super) struct Outcome {
    pub(super) request_hash: Vec<u8>,
    pub(super) at: i64,
    pub(super) answer: String,
    pub(super) key_id: Option<String>,
    pub(super) sealed_secret: Option<Vec<u8>>,
}

impl Retry {
    /// A request with the header's text, the method and path it came to, and its body.
    pub fn new(key: &str, route: &str, body: &[u8]) -> Self {
        let request_hash = Sha256::new().chain_update(route).chain_update([0]).chain_update(body).finalize();
        Self { key: key.to_owned(), request_hash: request_hash.to_vec() }
    }

    /// The name of the row and the key of the seal, for each pepper: the first try may have come before the last change
    /// of the pepper.
    fn keys(&self, ring: &Ring) -> impl Iterator<Item = ([u8; 32], Zeroizing<[u8; 32]>)> {
        let names = ring.derived("idempotency hash", self.key.as_bytes());
        names.map(|name| *name).zip(ring.derived("idempotency seal", self.key.as_bytes()))
    }

    /// The first outcome, if there was one within the last day.
    pub(super) fn first_outcome<T: DeserializeOwned>(
        &self,
        tx: &mut Tx<'_>,
        ring: &Ring,
        now: Timestamp,
        workspace: &WorkspaceId,
        caller: &str,
    ) -> Result<Option<Made<T>>, Failure> {
        let mut found = None;
        for (name, key) in self.keys(ring) {
            found = queries::outcome(tx, workspace, caller, &name)?.map(|outcome| (outcome, key));
            if found.is_some() {
                break;
            }
        }
        let Some((outcome, key)) = found else { return Ok(None) };
        let age = now.seconds() - Timestamp(outcome.at).seconds();
        if age >= KEPT_SECONDS {
            return Ok(None);
        }
        if outcome.request_hash != self.request_hash {
            let message = "This Idempotency-Key was used with another route or body in the last 24 hours.";
            return Err(Failure::refused(ErrorCode::IdempotencyKeyReused, message));
        }
        let value = serde_json::from_str(&outcome.answer).map_err(|error| Failure::Defect(error.to_string()))?;
        let secret = match (&outcome.key_id, outcome.sealed_secret) {
            (None, _) => None,
            (Some(_), Some(sealed)) if age < SECRET_SECONDS => {
                let opened = seal::unlock(&key, b"", &sealed);
                let opened = opened.ok_or_else(|| Failure::Defect("a sealed secret can't be opened".into()))?;
                Some(Secret::new(opened.as_str()))
            }
            (Some(key_id), _) => {
                let message = "The first try made it, and showed its secret then. Rotate it to get a new secret.";
                let mut refusal = Failure::refused(ErrorCode::SecretAlreadyShown, message);
                if let Failure::Refused(refusal) = &mut refusal {
                    refusal.key_id = Some(key_id.as_str().into());
                }
                return Err(refusal);
            }
        };
        Ok(Some(Made { value, secret, key_id: outcome.key_id.map(Into::into) }))
    }

    /// Keeps an outcome of the workspace's caller. `nonce` is random.
    pub(super) fn keep<T: Serialize>(
        &self,
        tx: &mut Tx<'_>,
        ring: &Ring,
        now: Timestamp,
        nonce: [u8; NONCE_LEN],
        owner: (&WorkspaceId, &str),
        made: &Made<T>,
    ) -> Result<(), Failure> {
        let answer = serde_json::to_string(&made.value).map_err(|error| Failure::Defect(error.to_string()))?;
        let (name, key) = self.keys(ring).next().ok_or_else(|| Failure::Defect("a ring is never empty".into()))?;
        let sealed_secret =
            made.secret.as_ref().map(|secret| seal::lock(&key, nonce, b"", secret.expose())).transpose()?;
        let key_id = made.key_id.as_ref().map(ToString::to_string);
        let outcome = Outcome { request_hash: self.request_hash.clone(), at: now.0, answer, key_id, sealed_secret };
        Ok(queries::save_outcome(tx, owner.0, owner.1, &name, outcome)?)
    }
}

/// Forgets what is too old: sealed secrets after a minute, outcomes after a day.
pub fn forget_old(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), Error> {
    queries::forget_outcomes(tx, now.plus_seconds(-SECRET_SECONDS), now.plus_seconds(-KEPT_SECONDS))
}
