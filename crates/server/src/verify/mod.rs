//! The life of a verification: inspect the string, hash it, find the record, decide, charge, note the use. Never
//! writes to the database, and never reads it.
//!
//! - [`usage`]: what is merged in memory and told to the store each second
//! - [`routes`]: `POST /v1/api-keys/verify`
//! - [`forward_auth`], [`ext_authz`]: the same for proxies, by one decision, [`admission`]; `envoy` is what Envoy says
//! - [`proxies`], [`path`], [`rules`]: whose word a proxy's is; what a request's path means, and what it needs

pub mod admission;
mod envoy;
pub mod ext_authz;
pub mod forward_auth;
pub mod path;
pub mod proxies;
mod queries;
pub mod routes;
pub mod rules;
pub mod usage;

use crate::app::App;
use crate::error::Failure;
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::WorkspaceId;
use stead_api::secret::Form;
use stead_api::verify::{CheckReport, DecisionCode};
use stead_verify::decide::{Ask, decide, explain};
use stead_verify::index::KeyRecord;
use stead_verify::period::Month;

/// What a verification found.
pub struct Verdict {
    /// May it?
    pub code: DecisionCode,
    /// The key, if it is one of this server's (and of the workspace that may ask about it).
    pub key: Option<Arc<KeyRecord>>,
    /// Credits used this month, this charge included.
    pub used: u64,
    /// The trail, if it was asked for.
    pub checks: Option<Vec<CheckReport>>,
}

/// How a question is to be answered.
#[derive(Clone, Copy, Default)]
pub struct Manner<'a> {
    /// Only keys of this workspace are known; `None`: of every workspace.
    pub within: Option<&'a WorkspaceId>,
    /// The caller's id for the request: the same charge for the same id is made once within ten minutes.
    pub request_id: Option<&'a str>,
    /// Tell each check and its reason.
    pub explain: bool,
}

/// Fails where this node has not heard from the store for too long to decide; else says for how many seconds it hasn't.
pub fn check_freshness(app: &App) -> Result<u64, Failure> {
    let stale = if app.store.is_shared() { app.progress.staleness(app.clock.elapsed()) } else { 0 };
    if stale > app.limits.max_staleness {
        let why = "This node has not heard from the store for too long to decide.";
        return Err(Failure::refused(ErrorCode::NotYetAvailable, why));
    }
    Ok(stale)
}

/// Verifies a presented string. Fails only where the answer can't be known.
pub fn verify(app: &App, presented: &str, ask: &Ask, manner: Manner<'_>) -> Result<Verdict, Failure> {
    let now = app.clock.now();
    let mark = app.index.mark();
    let Some(key) = find(app, presented, manner.within) else {
        if mark % 2 == 1 || mark != app.index.mark() {
            return Err(Failure::refused(ErrorCode::NotYetAvailable, "The mirror of all keys is being filled anew."));
        }
        let code =
            if app.format.inspect(presented).is_err() { DecisionCode::Malformed } else { DecisionCode::NotFound };
        let checks = manner.explain.then(|| vec![unknown(code)]);
        return Ok(Verdict { code, key: None, used: 0, checks });
    };
    let month = Month::containing(now);
    // Held from reading the count to adding to it, so that two requests can't spend the same credit.
    let mut spent = key.credits.lock();
    let request = manner.request_id.filter(|_| ask.cost > 0);
    let charged = request.is_some_and(|id| app.unsaved.was_charged(&key, ask.cost, id, now));
    let ask = if charged { Ask { cost: 0, ..*ask } } else { *ask };
    let before = spent.used(month);
    let code = decide(&key, before, &ask, now);
    if code == DecisionCode::Valid && ask.cost > 0 {
        spent.spend(month, ask.cost);
        app.unsaved.spent(&key, &mut spent);
        if let Some(id) = request {
            app.unsaved.charged(&key, ask.cost, id, now);
        }
    }
    let used = spent.used(month);
    drop(spent);
    // By what the decision was made by, and not while others wait for the counter.
    let checks = manner.explain.then(|| explain(&key, before, &ask, now, &app.catalogue));
    if code == DecisionCode::Valid {
        app.unsaved.used(&key, now);
    }
    Ok(Verdict { code, key: Some(key), used, checks })
}

/// The record of a presented string: nothing is hashed that can't be a key.
fn find(app: &App, presented: &str, within: Option<&WorkspaceId>) -> Option<Arc<KeyRecord>> {
    match app.format.inspect(presented) {
        Err(_) => return None,
        Ok(Form::Foreign) if !app.index.has_foreign() => return None,
        Ok(_) => {}
    }
    let key = app.ring.digests(presented).find_map(|digest| app.index.find(&digest))?;
    // Somebody else's key is nobody's.
    within.is_none_or(|workspace| *workspace == key.facts.workspace_id).then_some(key)
}

/// The trail of a string that is no known key.
fn unknown(code: DecisionCode) -> CheckReport {
    let (check, reason) = match code {
        DecisionCode::Malformed => ("form", "the string can't be a key: it is mistyped, cut, over-long or made up"),
        _ => ("known", "there is no such key in this workspace"),
    };
    CheckReport { check: check.into(), passed: false, reason: reason.into() }
}
