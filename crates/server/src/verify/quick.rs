//! The shortest way from bytes to bytes, for the questions that nearly all are: one parse, a hash and a look-up each for
//! the caller's key and for the key in question, the answer written straight behind the head. Whatever is special (a
//! mistake, a wait, an explanation, a refusal of the caller) is left to the router, which answers all of it; nothing is
//! taken before it is sure that it won't be.

use super::answer::{Beside, write};
use super::question::Plain;
use super::{Attempt, Manner, attempt, find, freshness, judge};
use crate::app::App;
use crate::http::Door;
use crate::http::front::{Field, Head, write_head};
use crate::metrics::Via;
use std::cell::Cell;
use std::net::IpAddr;
use stead_api::id::{DIGITS, RequestId, WorkspaceId, digits};
use stead_api::verify::DecisionCode;
use stead_verify::decide::{Ask, Hop};

/// What every answer of a verification says beside its body.
const HEADERS: [(&str, &str); 2] = [("cache-control", "no-store"), ("x-content-type-options", "nosniff")];

/// Answers a request if it is one of the plain ones: then a complete HTTP/1.1 response was appended to `out`. Otherwise
/// nothing was, and the router answers.
///
/// Runs in the connection's own task: it neither waits nor blocks.
pub fn answer(app: &App, door: Door, peer: Option<IpAddr>, head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) -> bool {
    thread_local! {
        /// Where the body is written before its length is known.
        static BODY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    if head.method != "POST" || head.path != "/v1/api-keys/verify" || head.query.is_some() {
        return false;
    }
    let Field::One(b"application/json") = head.field("content-type") else { return false };
    let mut json = BODY.take();
    json.clear();
    let presented = match head.field("xi-api-key") {
        Field::One(value) => std::str::from_utf8(value).ok(),
        Field::Absent | Field::Several => None,
    };
    let is_answered = verify(app, door, presented, peer, body, &mut json);
    if is_answered {
        app.metrics.answered_quickly(Via::Verify, 200);
        let mut id = [0; RequestId::PREFIX.len() + DIGITS];
        id[..RequestId::PREFIX.len()].copy_from_slice(RequestId::PREFIX.as_bytes());
        id[RequestId::PREFIX.len()..].copy_from_slice(&digits(u128::from_le_bytes(app.entropy.id())));
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let [store, sniff] = HEADERS;
        let extra = [store, sniff, ("x-request-id", id), ("x-trace-id", id)];
        write_head(out, 200, app.clock.now(), head.persistence, "application/json", json.len(), &extra);
        out.extend_from_slice(&json);
    }
    BODY.set(json);
    is_answered
}

/// Answers `POST /v1/api-keys/verify` behind what is in `out`; false if the question is none of the plain ones, and
/// `out` is as it was.
fn verify(
    app: &App,
    door: Door,
    presented: Option<&str>,
    peer: Option<IpAddr>,
    body: &[u8],
    out: &mut Vec<u8>,
) -> bool {
    let Ok(plain) = serde_json::from_slice::<Plain<'_>>(body) else { return false };
    let Some(ask) = plain.ask(app) else { return false };
    let within = match door {
        Door::Verification => None,
        Door::Public => match presented.and_then(|presented| caller(app, presented, peer)) {
            Some(workspace) => Some(workspace),
            None => return false,
        },
    };
    let Ok(stale_seconds) = freshness(app) else { return false };
    let mut revision = within.map(|workspace| app.progress.of(workspace));
    let manner = Manner { within, via: Via::Verify, ..Manner::default() };
    let Ok(Attempt::Decided(verdict)) = attempt(app, &plain.api_key, &ask, manner) else { return false };
    if let (None, Some(key)) = (within, &verdict.key) {
        revision = Some(app.progress.of(&app.index.workspace(key).id));
    }
    write(app, &verdict, &Beside { revision, stale_seconds, ..Beside::default() }, out);
    true
}

/// The workspace of a key that may ask; `None` if it may not, or if asking takes something of its limits.
fn caller<'a>(app: &'a App, presented: &str, peer: Option<IpAddr>) -> Option<&'a WorkspaceId> {
    let key = find(app, presented, None).filter(|key| key.limits.is_none())?;
    let workspace = &app.index.workspace(&key).id;
    let ask = Ask { permissions: app.may_ask, ip: peer, hop: Hop::Peer, ..Ask::default() };
    match judge(app, key, &ask, Manner::default(), app.clock.now()) {
        Attempt::Decided(verdict) if verdict.code == DecisionCode::Valid => Some(workspace),
        _ => None,
    }
}
