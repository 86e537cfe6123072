//! Calls of a known caller that were refused by a rule: merged in memory per key, route, code and minute, and written to
//! the log once the minute is over, so that a script that knocks a thousand times a minute makes one row of it.
//!
//! The memory is bounded. What finds no room of its own is counted in one row of its workspace, which names nobody.
//! What a crash takes with it are refusals of the last minute; changes are never written this way.

use super::activities::REFUSED;
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::{self, Made, Mutation, Target};
use crate::members::{self, Caller, Request};
use crate::store::Tx;
use crate::workspaces;
use serde_json::{Value, json};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use stead_api::error::ErrorCode;
use stead_api::id::{KeyId, PrincipalId, WorkspaceId};
use stead_api::time::Timestamp;

/// Most rows of a workspace that wait: one that is flooded leaves room for the others.
const MOST_OF_ONE: usize = 256;
/// Most that wait altogether, some 600 bytes each.
const MOST: usize = 8192;
/// Most workspaces of which any wait.
const MOST_WORKSPACES: usize = 4096;
/// Most addresses that are named in a row.
const MOST_ADDRESSES: usize = 8;

/// Whether a refusal belongs in the log: something was there that the caller may not do, reach or have more of. Not: what
/// was wrong with its input, and what is wrong with its own key, since such a caller is not let in at all.
fn belongs(code: ErrorCode) -> bool {
    match code.kind() {
        "authorization_error" | "conflict" | "rate_limit_error" => true,
        "not_found" => code != ErrorCode::RouteNotFound,
        _ => matches!(code, ErrorCode::LimitReached | ErrorCode::AlreadyExists | ErrorCode::NotRotatable),
    }
}

/// What was called: a row of the table of routes.
#[derive(Clone, Debug)]
pub struct Called {
    /// The route's id.
    pub route: &'static str,
    /// Its method.
    pub method: String,
    /// Its path, with `{parameters}`.
    pub path: &'static str,
}

/// What is merged into one row.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    minute: i64,
    key: KeyId,
    route: &'static str,
    code: ErrorCode,
}

/// Refusals of one kind.
#[derive(Clone)]
struct Refused {
    principal: PrincipalId,
    called: Called,
    missing: Option<Vec<String>>,
    /// The first one's.
    request: Option<Request>,
    addresses: BTreeSet<IpAddr>,
    times: Times,
}

#[derive(Clone, Copy)]
struct Times {
    count: i64,
    first: Timestamp,
    last: Timestamp,
}

impl Times {
    fn once(at: Timestamp) -> Self {
        Self { count: 1, first: at, last: at }
    }

    fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        (self.first, self.last) = (self.first.min(more.first), self.last.max(more.last));
    }

    fn tell(self, details: &mut Value) {
        details["count"] = self.count.into();
        details["first_time"] = self.first.0.div_euclid(1000).into();
        details["last_time"] = self.last.0.div_euclid(1000).into();
    }
}

/// Of one workspace.
#[derive(Clone, Default)]
struct Waiting {
    kinds: HashMap<Kind, Refused>,
    /// Those that found no room.
    others: Option<Times>,
}

#[derive(Default)]
struct Held {
    workspaces: HashMap<WorkspaceId, Waiting>,
    kinds: usize,
    /// Of workspaces that found no room: the log of the server is told of them.
    lost: i64,
}

/// The refusals that are yet to be written.
#[derive(Default)]
pub struct Refusals(Mutex<Held>);

impl Refusals {
    /// Notes a call that failed, if it is one for the log.
    pub fn note(&self, now: Timestamp, caller: &Caller, called: &Called, failure: &Failure) {
        let (Failure::Refused(refusal), Some(key)) = (failure, caller.key()) else { return };
        if !belongs(refusal.code) {
            return;
        }
        let kind = Kind { minute: minute(now), key: key.id.clone(), route: called.route, code: refusal.code };
        let refused = || {
            let request = caller.request().cloned();
            Refused {
                principal: key.principal_id.clone(),
                called: called.clone(),
                missing: refusal.missing.clone(),
                addresses: request.as_ref().and_then(|request| request.ip).into_iter().collect(),
                request,
                times: Times::once(now),
            }
        };
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.add(&key.workspace_id, kind, refused());
    }

    /// Takes out what is of a minute before this one; with `None` everything.
    fn take(&self, before: Option<i64>) -> Vec<(WorkspaceId, Waiting)> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for (workspace, waiting) in &mut held.workspaces {
            let due = |kind: &Kind| before.is_none_or(|minute| kind.minute < minute);
            let others = waiting.others.filter(|times| before.is_none_or(|now| minute(times.last) < now));
            let kinds: HashMap<_, _> = waiting.kinds.extract_if(|kind, _| due(kind)).collect();
            if others.is_some() {
                waiting.others = None;
            }
            if !kinds.is_empty() || others.is_some() {
                taken.push((workspace.clone(), Waiting { kinds, others }));
            }
        }
        held.workspaces.retain(|_, waiting| !waiting.kinds.is_empty() || waiting.others.is_some());
        held.kinds = held.workspaces.values().map(|waiting| waiting.kinds.len()).sum();
        let lost = std::mem::take(&mut held.lost);
        drop(held);
        if lost > 0 {
            tracing::warn!(lost, "refused calls found no room on their way to the audit log");
        }
        taken
    }

    fn put_back(&self, workspace: &WorkspaceId, waiting: Waiting) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, refused) in waiting.kinds {
            held.add(workspace, kind, refused);
        }
        if let Some(times) = waiting.others {
            held.add_to_others(workspace, times);
        }
    }
}

impl Held {
    fn add(&mut self, workspace: &WorkspaceId, kind: Kind, refused: Refused) {
        let is_full = self.kinds >= MOST;
        let has_room = self.workspaces.len() < MOST_WORKSPACES || self.workspaces.contains_key(workspace);
        if !has_room {
            self.lost = self.lost.saturating_add(refused.times.count);
            return;
        }
        let waiting = self.workspaces.entry(workspace.clone()).or_default();
        let is_full = is_full || waiting.kinds.len() >= MOST_OF_ONE;
        match waiting.kinds.entry(kind) {
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                known.times.add(refused.times);
                known.addresses.extend(refused.addresses);
                while known.addresses.len() > MOST_ADDRESSES {
                    known.addresses.pop_last();
                }
            }
            Entry::Vacant(_) if is_full => self.add_to_others(workspace, refused.times),
            Entry::Vacant(place) => {
                place.insert(refused);
                self.kinds += 1;
            }
        }
    }

    fn add_to_others(&mut self, workspace: &WorkspaceId, times: Times) {
        let waiting = self.workspaces.entry(workspace.clone()).or_default();
        match &mut waiting.others {
            Some(others) => others.add(times),
            none => *none = Some(times),
        }
    }
}

fn minute(at: Timestamp) -> i64 {
    at.seconds().div_euclid(60)
}

/// Writes what waits: of the minutes that are over, or `all`, as when the server stops.
pub async fn write(app: &Arc<App>, all: bool) -> Result<(), Failure> {
    let before = (!all).then(|| minute(app.clock.now()));
    let mut failed = None;
    for (workspace, waiting) in app.refusals.take(before) {
        let waiting = Arc::new(waiting);
        if let Err(failure) = write_of(app, &workspace, waiting.clone()).await {
            // One that is told twice, since its outcome was not known, is better than one that is lost.
            if matches!(failure, Failure::Store(_) | Failure::OutcomeUnknown) {
                app.refusals.put_back(&workspace, (*waiting).clone());
            }
            failed = Some(failure);
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn write_of(app: &Arc<App>, workspace: &WorkspaceId, waiting: Arc<Waiting>) -> Result<(), Failure> {
    let id = workspace.clone();
    let open = move |app: &App, tx: &mut Tx<'_>| {
        let row = workspaces::lock(tx, &id)?;
        if !row.is_sealed(&app.ring) {
            // A write would seal it.
            tracing::error!(
                workspace = row.id,
                "refused calls can't be written: the row was changed behind the server's back"
            );
            return Ok(None);
        }
        Ok(Some(row))
    };
    let operation = move |m: &mut Mutation<'_, '_>| {
        let mut kinds: Vec<_> = waiting.kinds.iter().collect();
        kinds.sort_by_key(|(_, refused)| refused.times.first);
        for (kind, refused) in kinds {
            let actor = describe(m, &kind.key, refused)?;
            let Called { route, method, path } = &refused.called;
            let mut details = json!({ "code": kind.code.as_str() });
            refused.times.tell(&mut details);
            if let Some(missing) = &refused.missing {
                details["missing_permissions"] = json!(missing);
            }
            if refused.addresses.len() > 1 {
                details["addresses"] = json!(refused.addresses);
            }
            m.audit_refused(REFUSED, actor, Target::new("route", route, &format!("{method} {path}")), details);
        }
        if let Some(times) = waiting.others {
            let mut details = json!({ "code": "too_many_kinds" });
            times.tell(&mut details);
            let target = Target::new("workspace", &m.workspace.id, &m.workspace.name);
            m.audit_refused(REFUSED, json!({ "type": "system" }), target, details);
        }
        Ok(Made::from(()))
    };
    mutation::write(app, workspace.clone(), Caller::system(), None, open, operation).await.map(drop)
}

/// The caller that was refused, as rows of changes describe theirs.
fn describe(m: &mut Mutation<'_, '_>, key: &KeyId, refused: &Refused) -> Result<Value, Failure> {
    let workspace = m.workspace_id();
    let principal = members::principal(m.tx, &workspace, &refused.principal)?;
    let text = |part: fn(&members::Principal) -> &str| principal.as_ref().map(part);
    // Who was removed meanwhile is known by the id alone.
    let kind = principal.as_ref().map(|principal| match principal {
        members::Principal::Member(_) => "user",
        members::Principal::Account(_) => "service_account",
    });
    let mut actor = json!({
        "type": kind,
        "is_admin": principal.as_ref().is_some_and(members::Principal::is_admin),
        "id": refused.principal,
        "name": text(members::Principal::name),
        "email": text(members::Principal::email),
        "key_id": key,
    });
    if let Some(request) = &refused.request {
        request.describe(&mut actor);
    }
    // The first call's own path may hold anything: what was not found is no id of ours.
    actor["path"] = refused.called.path.into();
    Ok(actor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{Access, CallerKey};

    fn caller(workspace: &str, key: &str) -> Caller {
        let key = CallerKey { id: key.into(), principal_id: "usr_1".into(), workspace_id: workspace.into() };
        let request =
            Request { id: "req_1".into(), ip: None, user_agent: None, method: "GET".into(), path: "/v1/x".into() };
        Caller::new(key, Access::AnyKey, request)
    }

    const CALLED: Called = Called { route: "x", method: String::new(), path: "/v1/x" };

    fn forbidden() -> Failure {
        Failure::refused(ErrorCode::Forbidden, "no")
    }

    #[test]
    fn the_same_in_a_minute_is_one() {
        let refusals = Refusals::default();
        let at = Timestamp::from_seconds(600);
        for second in [0, 1, 59, 60] {
            refusals.note(at.plus_seconds(second), &caller("ws", "key_1"), &CALLED, &forbidden());
        }
        refusals.note(at, &caller("ws", "key_2"), &CALLED, &forbidden());
        refusals.note(at, &caller("ws", "key_1"), &CALLED, &Failure::refused(ErrorCode::ApiKeyNotFound, "no"));
        refusals.note(at, &caller("other", "key_1"), &CALLED, &forbidden());
        assert!(refusals.take(Some(10)).is_empty());
        let mut taken = refusals.take(Some(11));
        taken.sort_by_key(|(workspace, _)| workspace.clone());
        let counts = |(_, waiting): &(WorkspaceId, Waiting)| {
            let mut counts: Vec<_> = waiting.kinds.values().map(|refused| refused.times.count).collect();
            counts.sort_unstable();
            counts
        };
        assert_eq!(taken.iter().map(counts).collect::<Vec<_>>(), [vec![1], vec![1, 1, 3]]);
        assert_eq!(refusals.take(None).iter().map(counts).collect::<Vec<_>>(), [vec![1]]);
        assert!(refusals.take(None).is_empty());
    }

    #[test]
    fn mistakes_and_strangers_are_not_noted() {
        let refusals = Refusals::default();
        let at = Timestamp::from_seconds(600);
        for code in [
            ErrorCode::MalformedJson,
            ErrorCode::InvalidCursor,
            ErrorCode::ApiKeyRevoked,
            ErrorCode::AccountDisabled,
            ErrorCode::RouteNotFound,
            ErrorCode::IdempotencyKeyReused,
            ErrorCode::InternalError,
        ] {
            refusals.note(at, &caller("ws", "key_1"), &CALLED, &Failure::refused(code, "no"));
        }
        refusals.note(at, &caller("ws", "key_1"), &CALLED, &Failure::invalid(&["body"], "x", "no"));
        refusals.note(at, &Caller::system(), &CALLED, &forbidden());
        assert!(refusals.take(None).is_empty());
    }

    #[test]
    fn a_flood_is_bounded_and_leaves_room_for_others() {
        let refusals = Refusals::default();
        let at = Timestamp::from_seconds(600);
        for number in 0..1000 {
            refusals.note(at, &caller("flooded", &format!("key_{number}")), &CALLED, &forbidden());
        }
        refusals.note(at, &caller("quiet", "key_1"), &CALLED, &forbidden());
        let taken: HashMap<_, _> = refusals.take(None).into_iter().collect();
        let flooded = &taken[&"flooded".into()];
        assert_eq!((flooded.kinds.len(), flooded.others.unwrap().count), (256, 744));
        assert_eq!((taken[&"quiet".into()].kinds.len(), taken[&"quiet".into()].others.is_none()), (1, true));
        // What could not be written comes back whole.
        let waiting = flooded.clone();
        refusals.put_back(&"flooded".into(), waiting);
        let again: HashMap<_, _> = refusals.take(None).into_iter().collect();
        assert_eq!((again[&"flooded".into()].kinds.len(), again[&"flooded".into()].others.unwrap().count), (256, 744));
        for workspace in 0..MOST_WORKSPACES + 10 {
            refusals.note(at, &caller(&format!("ws_{workspace}"), "key_1"), &CALLED, &forbidden());
        }
        assert_eq!(refusals.0.lock().unwrap().lost, 10);
    }
}
