//! From a request to its caller: the gate in front of every route.

use super::Door;
use crate::app::App;
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
use stead_api::id::{RequestId, WorkspaceId};
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
    if gate.access == Access::Operator {
        return match operator(&gate, &request) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                next.run(request).await
            }
            Err(failure) => failure.into_response(),
        };
    }
    let mut identified = identify(&gate, &request);
    if let Ok(caller) = &identified
        && gate.access.is_judged()
        // Writes are judged once more in their own transaction; this answers who may not even read.
        && let Err(failure) = judge(&gate.app, caller).await
    {
        identified = Err(failure);
    }
    match identified {
        Ok(caller) => {
            request.extensions_mut().insert(Scope(caller.workspace_id().cloned()));
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

fn identify(gate: &Gate, request: &Request) -> Result<Caller, Failure> {
    let presented = credential(request.headers())?;
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    let record = authenticate(&gate.app, presented, peer, gate.access)?;
    let index = &gate.app.index;
    let key = CallerKey {
        id: record.id(),
        principal_id: index.principal(&record).id.clone(),
        workspace_id: index.workspace(&record).id.clone(),
    };
    Ok(Caller::new(key, gate.access, origin(request.headers(), request.extensions())))
}

/// Where a request comes from, for the audit log.
pub fn origin(headers: &HeaderMap, extensions: &Extensions) -> Origin {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    Origin {
        id: extensions.get::<RequestId>().cloned().unwrap_or_else(|| "".into()),
        ip: extensions.get::<Peer>().and_then(|peer| peer.0),
        user_agent: agent.map(|text| text.chars().take(200).collect()),
    }
}

/// Lets the operator through. A key that works is known, but may not; everything else is judged as it is anywhere.
fn operator(gate: &Gate, request: &Request) -> Result<Caller, Failure> {
    let presented = credential(request.headers())?;
    if gate.app.operator.as_ref().is_some_and(|operator| operator.is(presented)) {
        return Ok(Caller::operator(origin(request.headers(), request.extensions())));
    }
    let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
    authenticate(&gate.app, presented, peer, Access::AnyKey)?;
    Err(Failure::refused(ErrorCode::Forbidden, "Only the operator of this server may do this."))
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

fn authenticate(app: &App, presented: &str, peer: Option<IpAddr>, access: Access) -> Result<KeyRecord, Failure> {
    let ask = Ask { permissions: needed(&app.catalogue, access)?, ip: peer, hop: Hop::Peer, ..Ask::default() };
    // Nothing is charged, so it never has to wait for credits.
    let Attempt::Decided(verdict) = attempt(app, presented, &ask, Manner::default())? else {
        return Err(Failure::Defect("a caller is charged".into()));
    };
    match verdict {
        Verdict { code: DecisionCode::Valid, key: Some(key), .. } => Ok(key),
        denied => Err(refusal(app, &denied)),
    }
}

/// What a route's permission is in the catalogue. Stead's own entries are in every catalogue.
fn needed(catalogue: &Catalogue, access: Access) -> Result<PermissionSet, Failure> {
    let Some(name) = access.permission() else { return Ok(PermissionSet::EMPTY) };
    let place = catalogue.place(name).ok_or_else(|| Failure::Defect(format!("{name} is in no catalogue")))?;
    Ok(std::iter::once(place).collect())
}
