//! What is counted, to be looked at from outside. No label holds anything that came with a request: each comes from a
//! closed set of ours, so a scrape tells no secret, no id and no name, and its size is known beforehand.
//!
//! - [`sharded`]: counters for the path of a decision
//! - [`scrape`]: everything there is to tell, gathered; [`text`]: its form
//! - [`denials`]: the one line that tells the log of denials

pub mod denials;
mod scrape;
mod sharded;
mod text;

use crate::clock::Clock;
use crate::http::Door;
use crate::members::Access;
use sharded::{Counters, Histogram};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use stead_api::error::ErrorCode;
use stead_api::verify::DecisionCode;

pub use scrape::scrape;
pub use text::CONTENT_TYPE;

/// What asked for a decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// The gate, about the key that a request to Stead itself carries.
    #[default]
    Management,
    /// A verification by itself.
    Verify,
    /// One of a batch.
    Batch,
    /// A proxy, by forward-auth.
    ForwardAuth,
    /// Envoy, by `ext_authz`.
    ExtAuthz,
}

impl Via {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Management, Self::Verify, Self::Batch, Self::ForwardAuth, Self::ExtAuthz];

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Management => "management",
            Self::Verify => "verify",
            Self::Batch => "batch",
            Self::ForwardAuth => "forward_auth",
            Self::ExtAuthz => "ext_authz",
        }
    }
}

/// Why a connection was closed by the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// The TLS handshake took too long.
    Handshake,
    /// Nothing was asked for a while, which is no fault.
    Idle,
    /// A request did not arrive in time.
    Request,
    /// An answer was not taken in.
    Write,
}

impl Late {
    const ALL: [Self; 4] = [Self::Handshake, Self::Idle, Self::Request, Self::Write];

    fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Idle => "idle",
            Self::Request => "request",
            Self::Write => "write",
        }
    }
}

/// The codes of decisions, in the order of their numbers; the array's length fails to compile without the last.
const CODES: [DecisionCode; DecisionCode::UsageExceeded as usize + 1] = [
    DecisionCode::Valid,
    DecisionCode::Malformed,
    DecisionCode::NotFound,
    DecisionCode::Revoked,
    DecisionCode::WorkspaceDisabled,
    DecisionCode::AccountDisabled,
    DecisionCode::Disabled,
    DecisionCode::Expired,
    DecisionCode::IpNotAllowed,
    DecisionCode::InsufficientPermissions,
    DecisionCode::NoResourceAccess,
    DecisionCode::RateLimited,
    DecisionCode::UsageExceeded,
];

/// One decision in so many is timed: reading the clock costs more than counting.
const TIMED: u32 = 64;
/// Microseconds.
const DECISION_BOUNDS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 10_000, 100_000];
const REQUEST_BOUNDS: [u64; 10] = [500, 1000, 2500, 5000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000];

/// Classes of statuses.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The counters of a server.
pub struct Metrics {
    decisions: Counters<{ Via::ALL.len() * CODES.len() }>,
    decision_time: Histogram<12>,
    /// What was answered without the router, by what asked and the status' class: not counted in `requests`.
    quick: Counters<{ Via::ALL.len() * CLASSES.len() }>,
    /// In the order of the routes' table; the last is for what is no route.
    requests: Vec<Requests>,
    connections: [Arc<Connections>; 2],
    malformed: [AtomicU64; ErrorCode::ALL.len()],
    /// Times that credits were exchanged with the store: done, failed.
    pub exchanges: Outcomes,
    /// Microseconds since the epoch.
    started: i64,
}

/// How often something was done, and how often it failed.
#[derive(Default)]
pub struct Outcomes([AtomicU64; 2]);

impl Outcomes {
    /// Counts one.
    pub fn add(&self, is_done: bool) {
        self.0[usize::from(!is_done)].fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> [u64; 2] {
        [0, 1].map(|place: usize| self.0[place].load(Ordering::Relaxed))
    }
}

/// A route as a scrape names it, and what was asked of it.
struct Requests {
    id: &'static str,
    method: &'static str,
    path: &'static str,
    /// Whether it answers whatever the method: a proxy asks about a request with that request's own.
    takes_any: bool,
    is_timed: bool,
    /// By the answer's status.
    classes: [AtomicU64; CLASSES.len()],
    time: Histogram<10>,
}

impl Requests {
    fn new(id: &'static str, method: &'static str, path: &'static str, access: Option<Access>) -> Self {
        let classes = std::array::from_fn(|_| AtomicU64::new(0));
        let is_timed = access.is_some_and(Access::is_management);
        let takes_any = access == Some(Access::Subject);
        Self { id, method, path, takes_any, is_timed, classes, time: Histogram::new(&REQUEST_BOUNDS) }
    }
}

/// A listener's connections.
#[derive(Default)]
pub struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
    late: [AtomicU64; Late::ALL.len()],
}

impl Connections {
    /// One was let in.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// One that was let in has ended.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// One was turned away, since its address had its share.
    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// One was closed by the clock.
    pub fn late(&self, why: Late) {
        self.late[why as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// A route of the table, as [`Metrics::route`] finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    place: usize,
    /// Its id; `none` for what is no route.
    pub id: &'static str,
    /// The method that was asked for; `other` if it is none of ours: it may be any word.
    pub method: &'static str,
    /// Whether it manages: neither asks about keys nor probes.
    pub is_management: bool,
}

impl Metrics {
    /// Everything at zero.
    pub fn new(clock: &dyn Clock) -> Self {
        let routes = crate::http::routes::routes();
        let rows = routes
            .into_iter()
            .map(|route| Requests::new(route.id, verb(&route.method), route.path, Some(route.access)));
        Self {
            decisions: Counters::default(),
            decision_time: Histogram::new(&DECISION_BOUNDS),
            quick: Counters::default(),
            requests: rows.chain([Requests::new("none", "other", "", None)]).collect(),
            connections: Default::default(),
            malformed: std::array::from_fn(|_| AtomicU64::new(0)),
            exchanges: Outcomes::default(),
            started: clock.now().0,
        }
    }

    /// Counts a decision.
    pub fn decided(&self, via: Via, code: DecisionCode) {
        self.decisions.add(place(via, code), 1);
    }

    /// When a decision begins, if it is one of those that are timed.
    pub fn begin(&self, clock: &dyn Clock) -> Option<Duration> {
        thread_local! {
            static COUNT: Cell<u32> = const { Cell::new(0) };
        }
        let count = COUNT.get().wrapping_add(1);
        COUNT.set(count);
        count.is_multiple_of(TIMED).then(|| clock.elapsed())
    }

    /// Takes in how long a decision took.
    pub fn took(&self, begun: Duration, clock: &dyn Clock) {
        self.decision_time.observe(clock.elapsed().saturating_sub(begun));
    }

    /// Counts an answer that was given without the router.
    pub fn answered_quickly(&self, via: Via, status: u16) {
        self.quick.add(via as usize * CLASSES.len() + class(status), 1);
    }

    /// The row of a path's template and a method.
    pub fn route(&self, path: &str, method: &http::Method) -> Route {
        let asked = verb(method);
        // HEAD is answered by what answers GET.
        let method = if asked == "HEAD" { "GET" } else { asked };
        let is_it = |row: &Requests| row.path == path && (row.method == method || row.takes_any);
        let place = self.requests.iter().position(is_it).unwrap_or(self.requests.len() - 1);
        let row = &self.requests[place];
        Route { place, id: row.id, method: asked, is_management: row.is_timed }
    }

    /// Counts an answer of the router.
    pub fn answered(&self, route: Route, status: u16, took: Duration) {
        let row = &self.requests[route.place];
        row.classes[class(status)].fetch_add(1, Ordering::Relaxed);
        if row.is_timed {
            row.time.observe(took);
        }
    }

    /// Counts a request that was refused before it came to a route.
    pub fn malformed(&self, code: ErrorCode) {
        self.malformed[code as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The connections of a listener.
    pub fn connections(&self, door: Door) -> &Arc<Connections> {
        &self.connections[door as usize]
    }

    fn decisions(&self, via: Via, code: DecisionCode) -> u64 {
        self.decisions.sum(place(via, code))
    }
}

/// A method as a label.
fn verb(method: &http::Method) -> &'static str {
    ["GET", "HEAD", "POST", "PATCH", "DELETE", "PUT"].into_iter().find(|verb| method == verb).unwrap_or("other")
}

fn class(status: u16) -> usize {
    usize::from(status / 100).saturating_sub(2).min(CLASSES.len() - 1)
}

/// The route that stands for what is answered without the router.
fn quick_route(via: Via) -> Option<&'static str> {
    match via {
        Via::Verify => Some("verify_api_key"),
        Via::ForwardAuth => Some("forward_auth"),
        Via::Management | Via::Batch | Via::ExtAuthz => None,
    }
}

fn place(via: Via, code: DecisionCode) -> usize {
    via as usize * CODES.len() + code as usize
}

/// A code as a label, the same as on the wire.
pub(crate) fn name(code: DecisionCode) -> &'static str {
    match code {
        DecisionCode::Valid => "VALID",
        DecisionCode::Malformed => "MALFORMED",
        DecisionCode::NotFound => "NOT_FOUND",
        DecisionCode::Revoked => "REVOKED",
        DecisionCode::WorkspaceDisabled => "WORKSPACE_DISABLED",
        DecisionCode::AccountDisabled => "ACCOUNT_DISABLED",
        DecisionCode::Disabled => "DISABLED",
        DecisionCode::Expired => "EXPIRED",
        DecisionCode::IpNotAllowed => "IP_NOT_ALLOWED",
        DecisionCode::InsufficientPermissions => "INSUFFICIENT_PERMISSIONS",
        DecisionCode::NoResourceAccess => "NO_RESOURCE_ACCESS",
        DecisionCode::RateLimited => "RATE_LIMITED",
        DecisionCode::UsageExceeded => "USAGE_EXCEEDED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_lists() {
        for (number, code) in CODES.into_iter().enumerate() {
            assert_eq!(code as usize, number);
            assert_eq!(serde_json::to_value(code).unwrap(), name(code));
        }
        assert!(Via::ALL.iter().enumerate().all(|(number, via)| *via as usize == number));
        assert!(Late::ALL.iter().enumerate().all(|(number, late)| *late as usize == number));
        assert!(ErrorCode::ALL.iter().enumerate().all(|(number, code)| *code as usize == number));
    }
}
