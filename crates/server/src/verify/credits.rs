//! Leases of credits. A charge is spent from what the store has granted this node, and waits for the store only where
//! that doesn't suffice; the store is told each second what was spent. What is open when a node ends in the middle is
//! forfeited: at the next start on SQLite, by whichever node sweeps first on PostgreSQL.

use super::queries;
use crate::app::App;
use crate::error::Failure;
use crate::http::fields::MAX_NUMBER;
use crate::store::{Error, Tx, Written};
use crate::webhooks::notices;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use stead_api::id::{LineageId, WorkspaceId};
use stead_api::time::Timestamp;
use stead_verify::credits::{Report, Word};
use stead_verify::index::{KeyIndex, KeyRecord};
use stead_verify::limits::Ledger;

/// Ledgers written in one transaction.
const BATCH: usize = 200;
/// What a lease holds at most, or a hundredth of the cap if that is more.
const MOST: u64 = 100;
/// What a lease of a node that has the store to itself holds at least, if the cap allows it.
const LEAST: u64 = 10;
/// A lease may be spent from for so long after it was renewed, in microseconds. The store is told each second.
const TERM: u64 = 60_000_000;
/// A lease that nobody spends from is given back after so long, in microseconds.
const IDLE: u64 = 20_000_000;
/// A lease that was not renewed for so long is forfeited: three times its term, for clocks that differ.
const LOST_SECONDS: i64 = 180;

/// This node's leases.
pub struct Leases {
    /// What tells this node's leases from others': new at each start.
    node: String,
    /// Who waits for credits, by lineage.
    wanted: Mutex<BTreeMap<u128, Wanted>>,
    /// Ledgers that have something to tell or to give back.
    open: Mutex<HashMap<u128, Holder>>,
    /// One exchange at a time: two would report the same lease twice.
    turn: tokio::sync::Mutex<()>,
}

/// Whose ledger it is.
#[derive(Clone)]
struct Holder {
    workspace: WorkspaceId,
    ledger: Arc<Ledger>,
    /// The cap of the key that charged it last, for those who want to be told how much of it is gone.
    cap: Option<u64>,
}

struct Wanted {
    holder: Holder,
    /// What each of those who wait wants to charge.
    costs: Vec<u64>,
    cap: Option<u64>,
    /// Whether the store could be asked for them, once it was.
    outcome: Arc<OnceLock<bool>>,
}

/// One ledger's part of an exchange.
#[derive(Clone)]
struct Part {
    lineage: LineageId,
    holder: Holder,
    reports: Vec<Report>,
    /// What those who wait want to charge in the present month, the least first.
    costs: Vec<u64>,
    /// What the lease is to hold at least, if anybody waits.
    size: u64,
    /// What it holds already.
    held: u64,
    /// No month's leases and uses together go beyond it.
    cap: u64,
    /// Give the lease back.
    close: bool,
}

impl Part {
    /// How much more the lease is to hold if `left` is left: enough for as many of those who wait as possible. With
    /// what doesn't help anybody, or is wanted by a charge that can't be granted, other nodes can do more.
    fn grant(&self, left: u64) -> u64 {
        let most = self.held.saturating_add(left);
        let helped = self.costs.iter().try_fold(0_u64, |sum, cost| {
            let sum = sum.saturating_add(*cost);
            if sum <= most { Ok(sum) } else { Err(sum - cost) }
        });
        let (Ok(helped) | Err(helped)) = helped;
        if helped == 0 { 0 } else { helped.max(self.size).saturating_sub(self.held).min(left) }
    }
}

impl Leases {
    /// For a node that has just started.
    pub fn new(node: String) -> Self {
        Self { node, wanted: Mutex::default(), open: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// How many lineages hold credits here.
    pub fn open(&self) -> usize {
        lock(&self.open).len()
    }

    fn take_wanted(&self) -> BTreeMap<u128, Wanted> {
        std::mem::take(&mut *lock(&self.wanted))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gets more credits for a key's lineage and for the pools it takes from, or better knowledge that there are none:
/// whoever comes while others wait shares their turn. Fails if the store can't say.
pub(super) async fn lease(app: &Arc<App>, key: &KeyRecord, cost: u64) -> Result<(), Failure> {
    let workspace = &app.index.workspace(key).id;
    let own = (key.lineage_bits(), key.cap(), app.index.ledger(key.lineage_bits()));
    let pools = app.index.pools(key).into_iter().map(|pool| (pool.bits, Some(pool.cap), pool.ledger));
    let outcome = {
        let mut wanted = lock(&app.leases.wanted);
        let mut outcome = Arc::default();
        // What waits is taken all at once, so the outcome of one is that of all.
        for (bits, cap, ledger) in [own].into_iter().chain(pools) {
            // What is told of a cap is told of the key's own.
            let told = cap.filter(|_| bits == key.lineage_bits());
            let holder = || Holder { workspace: workspace.clone(), ledger, cap: told };
            let entry = wanted.entry(bits).or_insert_with(|| Wanted {
                holder: holder(),
                costs: Vec::new(),
                cap,
                outcome: Arc::default(),
            });
            entry.costs.push(cost);
            outcome = entry.outcome.clone();
        }
        outcome
    };
    let app = app.clone();
    // In a task of its own: a caller that hangs up must not take the others' turn with it.
    let exchanged = tokio::spawn(async move {
        let _turn = app.leases.turn.lock().await;
        match outcome.get() {
            // Whoever had the turn before has asked for us, too.
            Some(true) => return Ok(()),
            // Nor does everybody who waited try a store that can't be reached once more, one after the other.
            Some(false) => return Err(unavailable("the leases that others asked for, too, could not be had")),
            None => {}
        }
        let wanted = app.leases.take_wanted();
        let outcomes: Vec<_> = wanted.values().map(|wanted| wanted.outcome.clone()).collect();
        let parts = wanted.into_iter().map(|(lineage, wanted)| asked_for(&app, lineage, wanted)).collect();
        let result = exchange(&app, parts).await;
        for outcome in outcomes {
            outcome.get_or_init(|| result.is_ok());
        }
        result
    });
    exchanged.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

fn unavailable(why: &str) -> Failure {
    Failure::Store(Error::Unavailable(why.into()))
}

/// Credits used this month of what a ledger counts, as far as this node knows; none if nothing was ever taken.
pub fn used_of(app: &App, workspace: &WorkspaceId, bits: u128) -> Option<i64> {
    let period = app.index.workspace_of(workspace)?.period(app.clock.now());
    let Some(ledger) = app.index.find_ledger(bits) else { return Some(0) };
    let mut account = ledger.lock();
    account.credits.turn(period);
    Some(i64::try_from(account.credits.used()).unwrap_or(i64::MAX))
}

/// What a lease is to hold: a tenth of what was used this month, so that a node that ends in the middle forfeits no more
/// than that, and at most a hundredth of the cap. Where other nodes charge, too, what one holds the others miss.
fn size(cap: Option<u64>, used: u64, is_shared: bool) -> u64 {
    let hundredth = cap.map_or(u64::MAX, |cap| cap / 100);
    let is_missed = is_shared && cap.is_some();
    let (least, most) = if is_missed { (1, hundredth.max(1)) } else { (LEAST, hundredth.max(MOST)) };
    (used / 10).clamp(least, most)
}

fn asked_for(app: &App, lineage: u128, wanted: Wanted) -> Part {
    let mut account = wanted.holder.ledger.lock();
    let period = app.index.workspace_of(&wanted.holder.workspace).map(|workspace| workspace.period(app.clock.now()));
    if let Some(period) = period {
        account.credits.turn(period);
    }
    let size = size(wanted.cap, account.credits.used(), app.store.is_shared());
    let (held, reports) = (account.credits.held(), account.credits.reports());
    drop(account);
    let cap = wanted.cap.unwrap_or(u64::MAX).min(MAX_NUMBER.unsigned_abs());
    let (lineage, mut costs) = (LineageId::from_bits(lineage), wanted.costs);
    costs.sort_unstable();
    Part { lineage, holder: wanted.holder, reports, costs, size, held, cap, close: false }
}

/// Tells the store what was spent, and gives back what lies idle.
pub async fn settle(app: &Arc<App>) -> Result<(), Failure> {
    let idle_since = app.elapsed().saturating_sub(IDLE);
    settle_since(app, idle_since).await
}

/// Tells the store what was spent, and gives everything back: for a clean stop.
pub async fn close(app: &Arc<App>) -> Result<(), Failure> {
    settle_since(app, u64::MAX).await
}

async fn settle_since(app: &Arc<App>, idle_since: u64) -> Result<(), Failure> {
    let app = app.clone();
    let settled = tokio::spawn(async move {
        let _turn = app.leases.turn.lock().await;
        let open: Vec<_> = lock(&app.leases.open).iter().map(|(lineage, holder)| (*lineage, holder.clone())).collect();
        let mut parts = Vec::new();
        for (lineage, holder) in open {
            let mut account = holder.ledger.lock();
            let credits = &mut account.credits;
            let close = credits.is_idle(idle_since);
            if !credits.is_open() {
                // Noted anew by the next charge, which waits for the ledger meanwhile.
                lock(&app.leases.open).remove(&lineage);
            } else if credits.wants_exchange(idle_since) {
                if close {
                    credits.freeze();
                }
                let reports = credits.reports();
                drop(account);
                parts.push(Part {
                    lineage: LineageId::from_bits(lineage),
                    holder,
                    reports,
                    costs: Vec::new(),
                    size: 0,
                    held: 0,
                    cap: 0,
                    close,
                });
            }
        }
        parts.sort_by(|a, b| a.lineage.cmp(&b.lineage));
        exchange(&app, parts).await
    });
    settled.await.unwrap_or_else(|panic| Err(Failure::Defect(panic.to_string())))
}

/// Puts reports to the store and takes in what it says. Whoever calls it has the turn.
async fn exchange(app: &Arc<App>, parts: Vec<Part>) -> Result<(), Failure> {
    for parts in parts.chunks(BATCH) {
        let asked_at = app.elapsed();
        let (told, node, now) = (parts.to_vec(), app.leases.node.clone(), app.clock.now());
        let heard: Arc<Mutex<Vec<Vec<Word>>>> = Arc::default();
        let words = heard.clone();
        let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
            let words_of =
                |part: &Part| part.reports.iter().map(|report| settle_one(tx, part, report, &node, now)).collect();
            let all: Result<Vec<Vec<Word>>, Failure> = told.iter().map(words_of).collect();
            *lock(&words) = all?;
            Ok(())
        };
        let written = app.store.write(work, |()| {}).await;
        app.metrics.exchanges.add(matches!(written, Written::Committed(())));
        let is_known = match written {
            Written::Committed(()) => true,
            Written::Aborted(failure) => return Err(failure),
            Written::Unknown => false,
        };
        let words = std::mem::take(&mut *lock(&heard));
        for (part, words) in parts.iter().zip(words) {
            let mut account = part.holder.ledger.lock();
            for (report, word) in part.reports.iter().zip(words) {
                if is_known {
                    account.credits.heard(report, &word, app.elapsed(), asked_at + TERM);
                } else {
                    account.credits.not_heard(report);
                }
            }
            if account.credits.is_open() {
                let lineage = part.lineage.bits().unwrap_or_default();
                lock(&app.leases.open).insert(lineage, part.holder.clone());
            }
        }
        if !is_known {
            // Nothing was charged by it, and telling running totals once more settles what was told.
            return Err(unavailable("it is not known whether the leases were written"));
        }
    }
    Ok(())
}

/// One report, within the transaction.
fn settle_one(tx: &mut Tx<'_>, part: &Part, report: &Report, node: &str, now: Timestamp) -> Result<Word, Failure> {
    let is_over = report.is_over || part.close;
    let lease = queries::LeaseKey {
        workspace: &part.holder.workspace,
        lineage: &part.lineage,
        period: report.period.into(),
        node,
    };
    let mut totals = queries::lock_credits(tx, &lease)?;
    let stored = queries::lease(tx, &lease)?;
    let was_lost = report.is_open && stored.is_none();
    let (granted, before) = stored.unwrap_or_default();
    let spent = stored.map_or(0, |_| report.spent.max(before));
    totals.used = totals.used.saturating_add(spent - before);
    totals.leased = totals.leased.saturating_sub(spent - before);
    let mut word = Word { spent, was_lost, ..Word::default() };
    if is_over {
        totals.leased = totals.leased.saturating_sub(granted.saturating_sub(spent));
        queries::end_lease(tx, &lease)?;
        word.spent = 0;
    } else {
        let gone = totals.used.saturating_add(totals.leased).saturating_add(totals.forfeited);
        let left = part.cap.saturating_sub(gone);
        // A lease that was lost is told first, and by itself: was the answer lost, too, what was spent of the old one
        // would be told once more, of the new one.
        let grant = if was_lost { 0 } else { part.grant(left) };
        totals.leased += grant;
        word.granted = granted + grant;
        if word.granted > 0 {
            queries::save_lease(tx, &lease, word.granted, spent, now)?;
        }
    }
    queries::save_credits(tx, &lease, &totals)?;
    if let Some(cap) = part.holder.cap {
        let gone = totals.used.saturating_add(totals.forfeited);
        notices::note_credits(tx, &part.holder.workspace, &part.lineage, report.period.into(), gone, cap)?;
    }
    (word.used, word.forfeited) = (totals.used, totals.forfeited);
    word.elsewhere = totals.leased.saturating_sub(word.granted.saturating_sub(word.spent));
    Ok(word)
}

/// Counts as forfeited what nodes that have gone held on lease: those of before this start where no other node can be,
/// those of other nodes that were not renewed for long elsewhere. After a store was away for long, a node that lives
/// still settles its own.
pub async fn sweep(app: &App, is_start: bool) -> Result<(), Failure> {
    let now = app.clock.now();
    let before = if app.store.is_shared() || !is_start { now.plus_seconds(-LOST_SECONDS) } else { Timestamp(i64::MAX) };
    let node = app.leases.node.clone();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> {
        let leases = queries::forfeit(tx, before, &node)?;
        if leases > 0 {
            tracing::warn!(leases, "credits on lease to a node that ended in the middle are forfeited");
        }
        Ok(())
    };
    match app.store.write(work, |()| {}).await {
        Written::Committed(()) => Ok(()),
        Written::Aborted(failure) => Err(failure),
        Written::Unknown => Err(Failure::OutcomeUnknown),
    }
}

/// Fills in what the store knows of the present months, at start.
pub(super) fn restore(tx: &mut Tx<'_>, index: &KeyIndex, now: Timestamp) -> Result<(), crate::store::Error> {
    // No month is longer than this.
    for (workspace, lineage, period, totals) in queries::credits_since(tx, now.plus_seconds(-32 * 86_400))? {
        let present = index.workspace_of(&workspace).map(|workspace| workspace.period(now));
        if let (Some(present), Some(bits)) = (present.filter(|present| i64::from(*present) == period), lineage.bits()) {
            let word =
                Word { used: totals.used, forfeited: totals.forfeited, elsewhere: totals.leased, ..Word::default() };
            index.ledger(bits).lock().credits.restore(present, &word);
        }
    }
    Ok(())
}
