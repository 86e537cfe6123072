//! Whoever runs the server: known by a credential of their own, which opens the API of workspaces and nothing else.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use sha2::{Digest, Sha256};
use stead_api::secret::Secret;

/// The credential, of which only a digest stays in memory.
pub struct Operator {
    digest: [u8; 32],
}

impl Operator {
    /// Takes the credential in.
    pub fn new(credential: &Secret) -> Self {
        Self { digest: digest(credential.expose()) }
    }

    /// Whether it is what was presented. How long that takes says nothing of how much of it was right.
    pub fn is(&self, presented: &str) -> bool {
        verify_slices_are_equal(&self.digest, &digest(presented)).is_ok()
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
