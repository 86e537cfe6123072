//! The life of a verification: inspect the string, hash it, find the record, decide, take what a yes grants, note the
//! use. Never reads the database, and waits for it in one case only: a charge that goes beyond the credits leased here.
//!
//! - [`answer`]: a verdict as it is told
//! - [`quick`]: the shortest way from bytes to bytes, for the questions that nearly all are
//! - [`credits`]: leases of credits, from the store
//! - [`requests`]: the same request is charged once
//! - [`places`]: what concurrency limits have given out
//! - [`decisions`]: recent denials, to be asked about
//! - [`usage`]: last uses, merged in memory and told to the store every few seconds
//! - [`question`], [`routes`]: reading questions; HTTP
//! - [`forward_auth`], [`ext_authz`]: the same for proxies, by one decision, [`admission`]; `envoy` is what Envoy says
//! - [`refusal`]: a denial as a failure, for whoever presented the key
//! - [`proxies`], [`path`], [`rules`]: whose word a proxy's is; what a request's path means, and what it needs

pub mod admission;
pub mod answer;
pub mod credits;
pub mod decisions;
mod envoy;
pub mod ext_authz;
pub mod forward_auth;
pub mod path;
pub mod places;
pub mod proxies;
mod queries;
mod question;
pub mod quick;
pub mod refusal;
pub mod requests;
pub mod routes;
pub mod rules;
pub mod usage;

use crate::app::App;
use crate::error::Failure;
use crate::http::fields::MAX_NUMBER;
use crate::metrics::Via;
use std::sync::Arc;
use stead_api::error::ErrorCode;
use stead_api::id::{DecisionId, LeaseId, WorkspaceId};
use stead_api::secret::Form;
use stead_api::time::Timestamp;
use stead_api::verify::{CheckReport, DecisionCode};
use stead_verify::decide::{Ask, decide, explain};
use stead_verify::index::{KeyRecord, Pool};
use stead_verify::limits::{Account, PoolState, Standing};

/// How old this node's knowledge of other nodes' charges may be for it to refuse one without asking, in microseconds.
const OLD: u64 = 1_000_000;
/// A mirror that was not confirmed for this long says so in its answers.
const FLAGGED_SECONDS: u64 = 5;
/// How often a charge asks for credits before it gives up: others may take what was granted, each time.
const ATTEMPTS: usize = 16;

/// What a verification found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// To ask about it later: the bits of a [`DecisionId`].
    pub decision: u128,
    /// When it was decided.
    pub at: Timestamp,
    /// May it?
    pub code: DecisionCode,
    /// The key, if it is one of this server's (and of the workspace that may ask about it).
    pub key: Option<KeyRecord>,
    /// What was asked.
    pub ask: Ask,
    /// How the key's limits stood when it was decided.
    pub before: Standing,
    /// How they stand with what was taken.
    pub after: Standing,
    /// The place that was taken, if a concurrency limit was met.
    pub lease: Option<LeaseId>,
}

/// How a question is to be answered.
#[derive(Clone, Copy, Default)]
pub struct Manner<'a> {
    /// Only keys of this workspace are known; `None`: of every workspace.
    pub within: Option<&'a WorkspaceId>,
    /// The caller's id for the request: the same charge for the same id is made once within ten minutes.
    pub request_id: Option<&'a str>,
    /// Type and id of the resource asked about, to be kept with the decision: the question itself has only their hash.
    pub resource: Option<(&'a str, &'a str)>,
    /// Only look: take nothing, and note nothing.
    pub is_rehearsal: bool,
    /// What asks, for the counts.
    pub via: Via,
}

/// What came of an attempt.
#[allow(clippy::large_enum_variant, reason = "nearly always the large one, which would be allocated for each question")]
pub enum Attempt {
    /// A decision.
    Decided(Verdict),
    /// More credits have to be leased first, for this key.
    Short(Box<KeyRecord>),
}

/// Verifies a presented string. Fails only where the answer can't be known.
pub async fn verify(app: &Arc<App>, presented: &str, ask: &Ask, manner: Manner<'_>) -> Result<Verdict, Failure> {
    for _ in 0..ATTEMPTS {
        match attempt(app, presented, ask, manner)? {
            Attempt::Decided(verdict) => return Ok(verdict),
            Attempt::Short(key) => credits::lease(app, &key, ask.cost).await?,
        }
    }
    Err(too_many())
}

fn filling() -> Failure {
    Failure::refused(ErrorCode::NotYetAvailable, "The mirror of all keys is being filled anew.")
}

fn too_many() -> Failure {
    let message = "Too many charge this key at once. Nothing was charged; try again.";
    Failure::refused(ErrorCode::ServiceUnavailable, message)
}

/// The same as far as it goes without waiting.
pub fn attempt(app: &App, presented: &str, ask: &Ask, manner: Manner<'_>) -> Result<Attempt, Failure> {
    let begun = app.metrics.begin(&*app.clock);
    let attempted = find_and_judge(app, presented, ask, manner)?;
    if let Some(begun) = begun {
        app.metrics.took(begun, &*app.clock);
    }
    Ok(attempted)
}

fn find_and_judge(app: &App, presented: &str, ask: &Ask, manner: Manner<'_>) -> Result<Attempt, Failure> {
    let now = app.clock.now();
    let mark = app.index.mark();
    let found = find(app, presented, manner.within);
    if !mark.is_multiple_of(2) || (found.is_none() && mark != app.index.mark()) {
        return Err(filling());
    }
    let Some(key) = found else {
        let code =
            if app.format.inspect(presented).is_err() { DecisionCode::Malformed } else { DecisionCode::NotFound };
        let verdict = Verdict { key: None, ..verdict(app, now, code, ask) };
        if let Some(workspace) = manner.within {
            app.decisions.note(workspace, &verdict, manner.resource);
        }
        count(app, manner, None, &verdict);
        return Ok(Attempt::Decided(verdict));
    };
    Ok(judge(app, key, ask, manner, now))
}

/// Decides about a key, and takes what a yes grants.
pub fn judge(app: &App, key: KeyRecord, ask: &Ask, manner: Manner<'_>, now: Timestamp) -> Attempt {
    let mut verdict = verdict(app, now, DecisionCode::Valid, ask);
    if let Some((resource, _)) = ask.resource {
        verdict.before.held = app.index.held(&key, resource);
    }
    if key.limits.is_none() && ask.cost == 0 {
        verdict.code = decide(&key, &verdict.before, ask, now);
        if let Some(ledger) = app.index.find_ledger(key.lineage_bits()) {
            // Charged before, without a cap: nothing is decided by it, but told.
            let mut account = ledger.lock();
            account.credits.turn(app.index.workspace(&key).period(now));
            verdict.after = account.standing(key.bits(), None, ask, 0);
        }
    } else if !take_locked(app, &key, &mut verdict, manner) {
        return Attempt::Short(Box::new(key));
    }
    verdict.after.held = verdict.before.held;
    if !manner.is_rehearsal {
        count(app, manner, Some(&key), &verdict);
        if verdict.code == DecisionCode::Valid {
            note_use(app, &key, now);
        }
    }
    let workspace = &app.index.workspace(&key).id;
    verdict.key = Some(key);
    if !manner.is_rehearsal && decisions::is_kept(&verdict) {
        app.decisions.note(workspace, &verdict, manner.resource);
    }
    Attempt::Decided(verdict)
}

/// Notes that a key was accepted.
fn note_use(app: &App, key: &KeyRecord, now: Timestamp) {
    if app.index.touch(key, now) {
        app.unsaved.push(key.place());
    }
}

/// Counts a decision. Where denials are traced, its id, which is random, draws the sample.
fn count(app: &App, manner: Manner<'_>, key: Option<&KeyRecord>, verdict: &Verdict) {
    app.metrics.decided(manner.via, verdict.code);
    app.usage.count(&app.index, key, manner, verdict);
    if verdict.code != DecisionCode::Valid
        && let Some(traces) = &app.traces
    {
        traces.denied(manner.via, verdict);
    }
}

fn verdict(app: &App, at: Timestamp, code: DecisionCode, ask: &Ask) -> Verdict {
    let (before, after) = (Standing::default(), Standing::default());
    Verdict {
        decision: u128::from_le_bytes(app.entropy.id()),
        at,
        code,
        key: None,
        ask: *ask,
        before,
        after,
        lease: None,
    }
}

/// Decides with everything that a yes takes of locked, from reading how it stands to taking, so that two requests can't
/// take the same. False if credits have to be leased first; nothing is taken then.
fn take_locked(app: &App, key: &KeyRecord, verdict: &mut Verdict, manner: Manner<'_>) -> bool {
    let ledger = key.limits.as_ref().map(|limits| limits.ledger.clone());
    let ledger = ledger.unwrap_or_else(|| app.index.ledger(key.lineage_bits()));
    let pools = if verdict.ask.cost > 0 { app.index.pools(key) } else { Vec::new() };
    if pools.is_empty() {
        return take(app, key, &mut ledger.lock(), &mut [], verdict, manner);
    }
    // Everybody locks in the same order, or two requests could wait for each other for ever.
    let own = key.lineage_bits();
    let mut order: Vec<_> = pools.iter().map(|pool| (pool.bits, &*pool.ledger)).chain([(own, &*ledger)]).collect();
    order.sort_unstable_by_key(|(bits, _)| *bits);
    order.dedup_by_key(|(bits, _)| *bits);
    let mut locked: Vec<_> = order.into_iter().map(|(bits, ledger)| (bits, ledger.lock())).collect();
    let Some(place) = locked.iter().position(|(bits, _)| *bits == own) else { return false };
    let (_, mut account) = locked.swap_remove(place);
    let mut shared: Vec<_> = locked
        .iter_mut()
        .filter_map(|(bits, account)| Some((pools.iter().find(|pool| pool.bits == *bits)?, &mut **account)))
        .collect();
    take(app, key, &mut account, &mut shared, verdict, manner)
}

/// A pool with its ledger in hand.
type Shared<'a> = (&'a Pool, &'a mut Account);

/// How the pool with the least left stands.
fn tightest(shared: &[Shared<'_>]) -> Option<PoolState> {
    let states = shared.iter().map(|(pool, account)| PoolState {
        kind: pool.kind,
        cap: pool.cap,
        spent: account.credits.spent(),
    });
    states.min_by_key(PoolState::left)
}

/// Decides with the ledgers in hand. False if credits have to be leased first; nothing is taken then.
fn take(
    app: &App,
    key: &KeyRecord,
    account: &mut Account,
    shared: &mut [Shared<'_>],
    verdict: &mut Verdict,
    manner: Manner<'_>,
) -> bool {
    let elapsed = app.elapsed();
    let period = app.index.workspace(key).period(verdict.at);
    account.credits.turn(period);
    for (_, account) in shared.iter_mut() {
        account.credits.turn(period);
    }
    let request = manner.request_id.map(|id| (key.lineage_bits(), verdict.ask, id));
    let earlier = request.and_then(|request| app.requests.find(request, verdict.at));
    let (limits, asked) = (key.limits.as_deref(), verdict.ask);
    let mut standing = account.standing(key.bits(), limits, &asked, elapsed);
    (standing.pool, standing.held) = (tightest(shared), verdict.before.held);
    if earlier.is_some() {
        // Charged already. It is one more use all the same: whoever could say the same id over and over would have no
        // rate limit.
        verdict.ask.cost = 0;
    }
    // A place that it was given and that is still held is its own.
    let place = earlier.flatten().filter(|lease| lease.bits().is_some_and(|bits| account.holds(bits, elapsed)));
    if place.is_some() {
        standing.under_way = 0;
    }
    verdict.before = standing;
    verdict.code = decide(key, &standing, &verdict.ask, verdict.at);
    let is_valid = verdict.code == DecisionCode::Valid;
    if !manner.is_rehearsal && verdict.code == DecisionCode::UsageExceeded && app.store.is_shared() {
        // Others may have given back what they held.
        let is_old = |account: &Account| account.credits.heard_at().is_none_or(|at| elapsed.saturating_sub(at) > OLD);
        if is_old(account) || shared.iter().any(|(_, account)| is_old(account)) {
            return false;
        }
    }
    if is_valid && !manner.is_rehearsal {
        let cost = verdict.ask.cost;
        // Without a cap there is nothing to exceed but the largest number there is, and there the counting ends.
        let is_countable = key.cap().is_some() || standing.spent.saturating_add(cost) <= MAX_NUMBER.unsigned_abs();
        if cost > 0 {
            let has = |account: &Account| account.credits.free(elapsed) >= cost;
            if (is_countable && !has(account)) || !shared.iter().all(|(_, account)| has(account)) {
                return false;
            }
            // All of them have it, so none refuses now.
            let _: bool = is_countable && account.credits.spend(cost, elapsed);
            for (_, account) in shared.iter_mut() {
                let _: bool = account.credits.spend(cost, elapsed);
            }
        }
        if let Some(limits) = limits {
            let lease = LeaseId::from_random(app.entropy.id());
            let asked = Ask { concurrency: asked.concurrency.filter(|_| place.is_none()), ..asked };
            account.take(key.bits(), limits, &asked, elapsed, lease.bits().unwrap_or_default());
            let is_limited = asked.concurrency.is_some_and(|(kind, _)| limits.concurrency[kind as usize].is_some());
            if let (true, Some((_, seconds)), Some(bits)) = (is_limited, asked.concurrency, lease.bits()) {
                app.places.taken(app, key, bits, elapsed + u64::from(seconds) * 1_000_000);
                verdict.lease = Some(lease);
            }
        }
        verdict.lease = verdict.lease.take().or(place);
        if let Some(request) = request {
            app.requests.keep(request, verdict.lease.as_ref(), verdict.at);
        }
    }
    verdict.after = account.standing(key.bits(), limits, &asked, elapsed);
    verdict.after.pool = tightest(shared);
    true
}

/// For how many seconds this node could not confirm its state, if that is to be told; fails where it is so long that
/// nothing may be decided by it.
pub fn freshness(app: &App) -> Result<Option<u64>, Failure> {
    if app.index.is_filling() {
        return Err(filling());
    }
    let stale = if app.store.is_shared() { app.progress.staleness(app.clock.elapsed()) } else { 0 };
    if stale > app.limits.max_staleness {
        let message = "This node has not heard from the store for too long to decide.";
        return Err(Failure::refused(ErrorCode::NotYetAvailable, message));
    }
    Ok((stale >= FLAGGED_SECONDS).then_some(stale))
}

/// The key that a presented string is, of whatever workspace; nothing is decided about it. Fails where that can't be
/// known.
pub fn known(app: &App, presented: &str) -> Result<Option<KeyRecord>, Failure> {
    freshness(app)?;
    let mark = app.index.mark();
    let found = find(app, presented, None);
    if found.is_none() && mark != app.index.mark() { Err(filling()) } else { Ok(found) }
}

/// The record of a presented string: nothing is hashed that can't be a key.
fn find(app: &App, presented: &str, within: Option<&WorkspaceId>) -> Option<KeyRecord> {
    match app.format.inspect(presented) {
        Err(_) => return None,
        Ok(Form::Foreign) if !app.index.has_foreign() => return None,
        Ok(_) => {}
    }
    let key = app.ring.digests(presented).find_map(|digest| app.index.find(&digest))?;
    // Somebody else's key is nobody's.
    within.is_none_or(|workspace| *workspace == app.index.workspace(&key).id).then_some(key)
}

impl Verdict {
    /// To ask about it later.
    pub fn decision_id(&self) -> DecisionId {
        DecisionId::from_bits(self.decision)
    }

    /// Each check with its outcome and its reason.
    pub fn checks(&self, app: &App) -> Vec<CheckReport> {
        match &self.key {
            Some(key) => explain(key, &self.before, &self.ask, self.at, &app.catalogue),
            None => vec![unknown(self.code)],
        }
    }
}

/// The trail of a string that is no known key.
fn unknown(code: DecisionCode) -> CheckReport {
    let (check, reason) = match code {
        DecisionCode::Malformed => ("form", "the string can't be a key: it is mistyped, cut, over-long or made up"),
        _ => ("known", "there is no such key in this workspace"),
    };
    CheckReport { check: check.into(), passed: false, reason: reason.into() }
}
