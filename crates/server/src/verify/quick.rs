//! The shortest way from bytes to bytes, for the questions that nearly all are: one parse, a hash and a look-up each for
//! the caller's key and for the key in question, the answer written straight behind the head. Whatever is special (a
//! mistake, a wait, an explanation, a refusal of the caller) is left to the router, which answers all of it; nothing is
//! taken before it is sure that it won't be.

use super::admission::{self, Attempted};
use super::answer::{Beside, write};
use super::forward_auth;
use super::proxies::Sender;
use super::question::Plain;
use super::{Attempt, Manner, attempt, find, freshness, note_use};
use crate::app::App;
use crate::error::Failure;
use crate::http::Door;
use crate::http::front::{Field, Head, write_head};
use crate::http::reply::{Written, written};
use crate::metrics::Via;
use std::cell::Cell;
use std::net::IpAddr;
use stead_api::id::{DIGITS, RequestId, digits};
use stead_api::verify::DecisionCode;
use stead_verify::decide::{Ask, Hop, decide};
use stead_verify::index::KeyRecord;
use stead_verify::limits::Standing;

/// Answers a request if it is one of the plain ones: then a complete HTTP/1.1 response was appended to `out`. Otherwise
/// nothing was, and the router answers.
///
/// Runs in the connection's own task: it neither waits nor blocks.
pub fn answer(app: &App, door: Door, peer: Option<IpAddr>, head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) -> bool {
    match head.path {
        "/v1/api-keys/verify" if head.method == "POST" && head.query.is_none() => {
            answer_verify(app, door, peer, head, body, out)
        }
        "/v1/forward-auth" if door == Door::Verification || !app.has_verification_listener => {
            answer_forward_auth(app, peer, head, out)
        }
        _ => false,
    }
}

fn answer_verify(app: &App, door: Door, peer: Option<IpAddr>, head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) -> bool {
    thread_local! {
        /// Where the body is written before its length is known.
        static BODY: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let Field::One(b"application/json") = head.field("content-type") else { return false };
    let presented = match head.field("xi-api-key") {
        Field::One(value) => std::str::from_utf8(value).ok(),
        Field::Absent | Field::Several => None,
    };
    let mut json = BODY.take();
    json.clear();
    let is_answered = verify(app, door, presented, peer, body, &mut json);
    if is_answered {
        app.metrics.answered_quickly(Via::Verify, 200);
        let id = request_id(app);
        let id = std::str::from_utf8(&id).unwrap_or_default();
        let (mut extra, kind) = (Extra::new(id), Some("application/json"));
        extra.push("cache-control", "no-store");
        write_head(out, 200, app.clock.now(), head.persistence, kind, json.len(), extra.all());
        out.extend_from_slice(&json);
    }
    BODY.set(json);
    is_answered
}

fn answer_forward_auth(app: &App, peer: Option<IpAddr>, head: &Head<'_>, out: &mut Vec<u8>) -> bool {
    let sender = peer.map_or(Sender::UnixSocket, Sender::Address);
    let headers = head.headers.iter().map(|header| (header.name, header.value));
    let visit = forward_auth::visit(app, sender, head.query.unwrap_or_default(), headers);
    let attempted = visit.and_then(|visit| admission::attempt(app, &visit));
    let id = request_id(app);
    let id = std::str::from_utf8(&id).unwrap_or_default();
    let mut extra = Extra::new(id);
    match attempted {
        Ok(Attempted::Admitted(admitted)) => {
            app.metrics.answered_quickly(Via::ForwardAuth, 200);
            extra.push("cache-control", "no-store");
            let identity = admitted.identity(app);
            for (name, value) in &identity {
                extra.push(name, value);
            }
            write_head(out, 200, app.clock.now(), head.persistence, None, 0, extra.all());
        }
        Err(failure @ Failure::Refused(_)) => {
            let Written { status, challenge, retry_after, body } = written(&failure, id);
            app.metrics.answered_quickly(Via::ForwardAuth, status.as_u16());
            let retry_after = retry_after.map(|seconds| seconds.to_string());
            extra.push_some("www-authenticate", challenge);
            extra.push_some("retry-after", retry_after.as_deref());
            let json = Some("application/json");
            write_head(out, status.as_u16(), app.clock.now(), head.persistence, json, body.len(), extra.all());
            if head.method != "HEAD" {
                out.extend_from_slice(&body);
            }
        }
        // Credits have to be waited for, or something is wrong that belongs into the log.
        Ok(Attempted::Short(..)) | Err(_) => return false,
    }
    true
}

/// The headers of an answer, without a list to be allocated.
struct Extra<'a>([(&'a str, &'a str); 9], usize);

impl<'a> Extra<'a> {
    /// What every answer says.
    fn new(id: &'a str) -> Self {
        let mut extra = Self([("", ""); 9], 0);
        extra.push("x-content-type-options", "nosniff");
        extra.push("x-request-id", id);
        extra.push("x-trace-id", id);
        extra
    }

    fn push(&mut self, name: &'a str, value: &'a str) {
        if let Some(place) = self.0.get_mut(self.1) {
            *place = (name, value);
            self.1 += 1;
        }
    }

    fn push_some(&mut self, name: &'a str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.push(name, value);
        }
    }

    fn all(&self) -> &[(&'a str, &'a str)] {
        &self.0[..self.1]
    }
}

fn request_id(app: &App) -> [u8; RequestId::PREFIX.len() + DIGITS] {
    let mut id = [0; RequestId::PREFIX.len() + DIGITS];
    let (prefix, number) = id.split_at_mut(RequestId::PREFIX.len());
    prefix.copy_from_slice(RequestId::PREFIX.as_bytes());
    number.copy_from_slice(&digits(u128::from_le_bytes(app.entropy.id())));
    id
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
    let caller = match door {
        Door::Verification => None,
        Door::Public => match presented.and_then(|presented| caller(app, presented, peer)) {
            Some(caller) => Some(caller),
            None => return false,
        },
    };
    let within = caller.as_ref().map(|caller| &app.index.workspace(caller).id);
    let Ok(stale_seconds) = freshness(app) else { return false };
    // Before the decision, which may then be by a newer state, never by an older one.
    let reached = app.progress.reached();
    let manner = Manner { within, resource: plain.resource(), via: Via::Verify, ..Manner::default() };
    let Ok(Attempt::Decided(verdict)) = attempt(app, &plain.api_key, &ask, manner) else { return false };
    let workspace = within.or(verdict.key.as_ref().map(|key| &app.index.workspace(key).id));
    let revision = workspace.map(|workspace| reached.of(workspace));
    write(app, &verdict, &Beside { revision, stale_seconds, ..Beside::default() }, out);
    if let Some(caller) = &caller {
        // Noted only now: a question that is left to the router is judged there, with its caller.
        app.metrics.decided(Via::Management, DecisionCode::Valid);
        note_use(app, caller, verdict.at);
    }
    true
}

/// The key that asks; `None` if it may not, or if asking takes something of its limits.
fn caller(app: &App, presented: &str, peer: Option<IpAddr>) -> Option<KeyRecord> {
    let key = find(app, presented, None).filter(|key| key.limits.is_none())?;
    let ask = Ask { permissions: app.may_ask, ip: peer, hop: Hop::Peer, ..Ask::default() };
    (decide(&key, &Standing::default(), &ask, app.clock.now()) == DecisionCode::Valid).then_some(key)
}
