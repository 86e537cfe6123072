//! The token of an invite: the workspace's number, so that it is looked up within the workspace, then 128 random bits.
//! Only a digest is stored. Not of a key's form: nobody should take the one for the other.

use crate::app::App;
use crate::error::Failure;
use stead_api::id::{DIGITS, WorkspaceId, digits};
use stead_api::secret::Secret;
use stead_verify::pepper::Ring;

const LABEL: &str = "invite token";

/// A new token.
pub(super) fn mint(app: &App, workspace: &WorkspaceId) -> Result<Secret, Failure> {
    let bits = workspace.bits().ok_or_else(|| Failure::Defect("a workspace's id that was not made here".into()))?;
    let text = digits(bits).into_iter().chain(digits(u128::from_le_bytes(app.entropy.id())));
    Ok(Secret::new(text.map(char::from).collect::<String>()))
}

/// The workspace that a token leads to; `None` if it is no token.
pub(super) fn workspace(token: &Secret) -> Option<WorkspaceId> {
    let token = token.expose();
    let fits = token.len() == 2 * DIGITS && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    fits.then(|| format!("{}{}", WorkspaceId::PREFIX, &token[..DIGITS]).into())
}

/// What is stored of a token.
pub(super) fn digest(ring: &Ring, token: &Secret) -> Vec<u8> {
    ring.derive(LABEL, token.expose().as_bytes()).to_vec()
}

/// What may be stored of a token, the newest pepper's first.
pub(super) fn digests(ring: &Ring, token: &Secret) -> impl Iterator<Item = Vec<u8>> {
    ring.derived(LABEL, token.expose().as_bytes()).map(|digest| digest.to_vec())
}
