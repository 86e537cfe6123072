//! Mails about keys.

use super::KeyRow;
use crate::error::Failure;
use crate::feed::mutation::Mutation;
use crate::mail;
use crate::members::{self, Principal};
use stead_api::id::PrincipalId;
use stead_api::secret::Secret;

/// Tells the key's owner, if that is a person, and the workspace's owner that a holder has disabled a key (wire §8.1).
pub(super) fn of_self_disabling(m: &mut Mutation<'_, '_>, key: &KeyRow) -> Result<(), Failure> {
    let workspace = m.workspace_id();
    let mut owners: Vec<PrincipalId> = vec![key.principal_id.as_str().into()];
    owners.extend(members::owner(m.tx, &workspace)?.filter(|owner| owner.as_str() != key.principal_id));
    let subject = format!("The API key {} was disabled", key.name);
    let body = Secret::new(format!(
        "Whoever holds the API key \"{}\" (it ends in {}) of the workspace \"{}\" has disabled it by calling the server with \
         it.\n\nIf it was disabled because it leaked, make a new one in its place and revoke it.\n",
        key.name, key.hint, m.workspace.name,
    ));
    for owner in owners {
        if let Some(Principal::Member(person)) = members::principal(m.tx, &workspace, &owner)? {
            mail::queue(m, &person.email, &subject, &body)?;
        }
    }
    Ok(())
}
