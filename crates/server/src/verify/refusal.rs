//! A denial as a failure: what a request is told whose own key was judged, at the gate, by forward-auth and by ext_authz.

use super::{Verdict, answer};
use crate::app::App;
use crate::error::{Failure, Refusal};
use stead_api::error::{DenialDetail, ErrorCode};
use stead_api::resource::Role;
use stead_api::verify::DecisionCode;
use stead_verify::decide::{Ask, missing};

/// Why a key may not pass: all of it for its holder, next to nothing for a stranger. A limited key is never called
/// invalid: it is good, and will work again.
pub fn refusal(app: &App, verdict: &Verdict) -> Failure {
    let Some(key) = &verdict.key else { return unknown_key() };
    let mut detail = DenialDetail::new(verdict.code, verdict.decision_id());
    let refuse = |code, message: String| Refusal::new(code, message);
    let refusal = match verdict.code {
        DecisionCode::Revoked => refuse(ErrorCode::ApiKeyRevoked, "The API key was revoked.".into()),
        DecisionCode::WorkspaceDisabled => refuse(ErrorCode::WorkspaceDisabled, "The workspace is disabled.".into()),
        DecisionCode::AccountDisabled => {
            refuse(ErrorCode::AccountDisabled, "The account of the API key is disabled.".into())
        }
        DecisionCode::Disabled => refuse(ErrorCode::ApiKeyDisabled, "The API key is disabled.".into()),
        DecisionCode::Expired => refuse(ErrorCode::ApiKeyExpired, "The API key has expired.".into()),
        DecisionCode::IpNotAllowed => {
            let Ask { ip, hop, .. } = verdict.ask;
            detail.ip = ip.map(|ip| ip.to_string());
            detail.ip_from = Some(hop.to_string());
            let seen = ip.map_or("unknown".into(), |ip| ip.to_string());
            let message = format!("The API key may not be used from this address. Seen: {seen}, from {hop}.");
            refuse(ErrorCode::IpNotAllowed, message)
        }
        DecisionCode::InsufficientPermissions => {
            let missing = missing(key, &verdict.ask).names(&app.catalogue);
            let message = format!("The API key lacks {}.", missing.join(", "));
            Refusal { missing: Some(missing), ..refuse(ErrorCode::InsufficientPermissions, message) }
        }
        DecisionCode::NoResourceAccess => {
            let wanted = verdict.ask.resource.map_or("a role", |(_, role)| role.as_str());
            let held = verdict.before.held.role.map_or("no role", Role::as_str);
            let message = format!("The API key's account needs {wanted} on the resource and has {held}.");
            refuse(ErrorCode::NoResourceAccess, message)
        }
        DecisionCode::RateLimited | DecisionCode::UsageExceeded => {
            let code = if verdict.code == DecisionCode::RateLimited {
                ErrorCode::RateLimitExceeded
            } else {
                ErrorCode::UsageExceeded
            };
            let limit = answer::limit(key, verdict);
            // A limit that is reached is always named; should it not be, the key is limited all the same.
            let retry_after = limit.as_ref().map_or(1, |limit| limit.retry_after);
            let name = limit.as_ref().map_or("", |limit| limit.name);
            let message = format!("The API key's limit `{name}` is reached; try again in {retry_after} s.");
            detail.limit = limit.map(answer::Hit::told);
            Refusal { retry_after: Some(retry_after), ..refuse(code, message) }
        }
        DecisionCode::Valid | DecisionCode::Malformed | DecisionCode::NotFound => return unknown_key(),
    };
    Failure::Refused(Box::new(Refusal { decision: Some(Box::new(detail)), ..refusal }))
}

/// All that a stranger is told.
pub fn unknown_key() -> Failure {
    Failure::refused(ErrorCode::InvalidApiKey, "The API key is not valid.")
}
