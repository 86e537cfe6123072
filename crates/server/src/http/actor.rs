//! From a request to its caller: the gate in front of every route.

use super::Door;
use crate::app::App;
use crate::audit::refusals::Called;
use crate::error::Failure;
use crate::members::{self, Access, Caller, CallerKey, Request as Origin};
use crate::store::Tx;
use crate::verify::refusal::{refusal, unknown_key};
use crate::verify::{Attempt, Manner, Verdict, attempt};
use crate::workspaces;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{DIGITS, RequestId, WorkspaceId};
use stead_api::permission::Catalogue;
use stead_api::secret::MAX_LENGTH;
use stead_api::verify::DecisionCode;
use stead_verify::decide::{Ask, Hop};
use stead_verify::index::KeyRecord;
use stead_verify::permissions::PermissionSet;

/// The address of the connection's other end, put into each request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<IpAddr>);

/// Whose keys a request may ask about: those of one workspace, or of all (`None`).
#[derive(Clone, Debug)]
pub struct Scope(pub Option<WorkspaceId>);

/// What the gate needs to know: the server, the listener, and who may pass.
#[derive(Clone)]
pub struct Gate {
    /// The server.
    pub app: Arc<App>,
    /// Which listener.
    pub door: Door,
    /// Who may pass.
    pub access: Access,
    /// To where.
    pub called: Called,
}

/// Lets a request through if its key may call the route; the handler finds the [`Caller`]. Who comes first, what
/// afterwards: no body is read before.
pub async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    if gate.access.is_open() || gate.access == Access::Subject {
        request.extensions_mut().insert(gate.door);
        return next.run(request).await;
    }
    if gate.access == Access::Asker && gate.door == Door::Verification {
        request.extensions_mut().insert(Scope(None));
        return next.run(request).await;
    }
    let (caller, refused) = identify(&gate, &request);
    let refused = match (&caller, refused) {
        // Writes are judged once more in their own transaction; this answers who may not even read.
        (Some(caller), None) if gate.access.is_judged() => judge(&gate.app, caller).await.err(),
        (_, refused) => refused,
    };
    let response = match (&caller, refused) {
        (Some(caller), None) => {
            // The operator is in none: no scope is none at all, and not all of them.
            if let Some(workspace) = caller.workspace_id() {
                request.extensions_mut().insert(Scope(Some(workspace.clone())));
            }
            request.extensions_mut().insert(caller.clone());
            next.run(request).await
        }
        (_, Some(failure)) => failure.into_response(),
        (None, None) => Failure::Defect("nobody, and not refused".into()).into_response(),
    };
    if gate.access.is_management()
        && let (Some(caller), Some(failure)) = (&caller, response.extensions().get::<Arc<Failure>>())
    {
        gate.app.refusals.note(gate.app.clock.now(), caller, &gate.called, failure);
    }
    response
}

/// Who asks, as far as that is known, and why they are refused, if they are.
fn identify(gate: &Gate, request: &Request) -> (Option<Caller>, Option<Failure>) {
    let presented = match credential(request.headers()) {
        Ok(presented) => presented,
        Err(failure) => return (None, Some(failure)),
    };
    let origin =
        origin(&gate.called.method, gate.called.path, request.uri().path(), request.headers(), request.extensions());
    let is_for_operator = gate.access == Access::Operator;
    if is_for_operator && gate.app.operator.as_ref().is_some_and(|operator| operator.is(presented)) {
        return (Some(Caller::operator(origin)), None);
    }
    let verdict = match authenticate(&gate.app, presented, origin.ip, gate.access) {
        Ok(verdict) => verdict,
        Err(failure) => return (None, Some(failure)),
    };
    let refused = match verdict.code {
        // A key that works is known, but may not.
        DecisionCode::Valid if is_for_operator => {
            Some(Failure::refused(ErrorCode::Forbidden, "Only the operator of this server may do this."))
        }
        DecisionCode::Valid => None,
        _ => Some(refusal(&gate.app, &verdict)),
    };
    match verdict.key {
        Some(key) => (Some(caller_of(gate, origin, &key)), refused),
        None => (None, refused.or_else(|| Some(unknown_key()))),
    }
}

fn caller_of(gate: &Gate, origin: Origin, record: &KeyRecord) -> Caller {
    let index = &gate.app.index;
    let key = CallerKey {
        id: record.id(),
        principal_id: index.principal(record).id.clone(),
        workspace_id: index.workspace(record).id.clone(),
    };
    Caller::new(key, gate.access, origin)
}

/// Where a request comes from and what it asks for, for the audit log.
pub fn origin(method: &str, route: &str, path: &str, headers: &HeaderMap, extensions: &Extensions) -> Origin {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        id: extensions.get::<RequestId>().cloned().unwrap_or_else(|| "".into()),
        ip: extensions.get::<Peer>().and_then(|peer| peer.0),
        user_agent: agent.map(|text| text.chars().take(200).collect()),
        method: method.to_owned(),
        path: filled(route, path),
    }
}

/// A route's path with the ids that a request's path gives it. Only what has the form of an id of ours: anything else
/// that somebody puts there may be a secret.
fn filled(template: &str, path: &str) -> String {
    let is_id = |text: &str| {
        let parts = text.split_once('_').filter(|(prefix, digits)| prefix.len() <= 4 && digits.len() == DIGITS);
        parts.is_some_and(|(prefix, digits)| {
            prefix.bytes().all(|b| b.is_ascii_lowercase()) && digits.bytes().all(|b| b.is_ascii_alphanumeric())
        })
    };
    let parts = template.split('/').zip(path.split('/').chain(std::iter::repeat("")));
    let parts = parts.map(|(known, given)| if known.starts_with('{') && is_id(given) { given } else { known });
    parts.collect::<Vec<_>>().join("/")
}

/// Judges a caller by the store's present state.
async fn judge(app: &Arc<App>, caller: &Caller) -> Result<(), Failure> {
    let (worker, caller) = (app.clone(), caller.clone());
    let read = move |tx: &mut Tx<'_>| {
        let id = caller.workspace_id().ok_or_else(|| Failure::Defect("a caller without a workspace".into()))?;
        let workspace = workspaces::find(tx, id)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
        members::authorize(tx, &worker.ring, &caller, &workspace, worker.clock.now()).map(drop)
    };
    app.store.read(read).await
}

/// The one key that a request presents (wire §2: `xi-api-key` and nothing else).
fn credential(headers: &HeaderMap) -> Result<&str, Failure> {
    let mut keys = headers.get_all("xi-api-key").iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if key.len() <= MAX_LENGTH => key.to_str().map_err(|_| unknown_key()),
        (Some(_), None) => Err(unknown_key()),
        (Some(_), Some(_)) => {
            Err(Failure::refused(ErrorCode::InvalidAuthorizationHeader, "More than one xi-api-key header came."))
        }
        (None, _) if headers.contains_key(header::AUTHORIZATION) => Err(Failure::refused(
            ErrorCode::InvalidAuthorizationHeader,
            "Send the key in the header xi-api-key, not in Authorization.",
        )),
        (None, _) => {
            Err(Failure::refused(ErrorCode::MissingApiKey, "No API key came; send one in the header xi-api-key."))
        }
    }
}

fn authenticate(app: &App, presented: &str, peer: Option<IpAddr>, access: Access) -> Result<Verdict, Failure> {
    let ask = Ask { permissions: needed(&app.catalogue, access)?, ip: peer, hop: Hop::Peer, ..Ask::default() };
    // Nothing is charged, so it never has to wait for credits.
    match attempt(app, presented, &ask, Manner::default())? {
        Attempt::Decided(verdict) => Ok(verdict),
        Attempt::Short(_) => Err(Failure::Defect("a caller is charged".into())),
    }
}

/// What a route's permission is in the catalogue. Stead's own entries are in every catalogue.
fn needed(catalogue: &Catalogue, access: Access) -> Result<PermissionSet, Failure> {
    let Some(name) = access.permission() else { return Ok(PermissionSet::EMPTY) };
    let place = catalogue.place(name).ok_or_else(|| Failure::Defect(format!("{name} is in no catalogue")))?;
    Ok(std::iter::once(place).collect())
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn a_path_shows_ids_and_nothing_else() {
        let template = "/v1/a/{account}/keys/{key}/rotate";
        let id = "key_0000000000000000000000";
        assert_eq!(
            filled(template, &format!("/v1/a/usr_7n42DGM5Tflk9n8mt7Fhc7/keys/{id}/rotate")),
            format!("/v1/a/usr_7n42DGM5Tflk9n8mt7Fhc7/keys/{id}/rotate")
        );
        for hostile in
            ["stead_0000000000000000000000000000000000000000000000", "hunter2", "", "key_000000000000000000000%", "%00"]
        {
            assert_eq!(
                filled(template, &format!("/v1/a/{hostile}/keys/{id}/rotate")),
                format!("/v1/a/{{account}}/keys/{id}/rotate")
            );
        }
        assert_eq!(filled(template, "/"), template);
    }
}
