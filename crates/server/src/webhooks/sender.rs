//! The sender: takes what is due, sends it, writes down what became of it. At least once: between an answer and its
//! note the process may end, and then the same event goes out again, under the same id.
//!
//! A delivery is taken by claiming its row until some instant, so that several nodes share the work and one that ends in
//! the middle loses nothing. A few deliveries of a webhook are under way at a time, so that one that hangs leaves the
//! others their turn.

use super::outbox::{self, Attempt, Claimed};
use super::queries::{self, State};
use super::row;
use super::transport::{self, Letter, Outward};
use crate::app::App;
use crate::error::Failure;
use crate::seal::hex;
use crate::store::{Error, Proof, Provable, Tx, Written};
use aws_lc_rs::hmac;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::task::{self, JoinSet};
use zeroize::Zeroizing;

/// Deliveries under way at a time: in all, of one workspace, whose receivers may all hang, and of one webhook.
const MOST: usize = 64;
const MOST_OF_WORKSPACE: usize = 16;
const MOST_OF_ONE: usize = 4;
/// So long a claim lasts, in seconds: longer than any attempt.
const CLAIM: i64 = 30;
/// How often it is looked for what has become due.
const LOOK: Duration = Duration::from_secs(1);
/// How often, at the end, it is tried to write down what has arrived.
const LAST_TRIES: usize = 5;
/// Webhooks that are looked at in one turn.
const LOOKED_AT: usize = 500;

/// After how many seconds an attempt follows the one before; the last goes on.
const DELAYS: [i64; 7] = [30, 120, 480, 1_800, 7_200, 21_600, 86_400];
/// After so long an event is given up.
const PATIENCE: i64 = 72 * 3_600;
/// So many failures in a row, without a success for so many seconds, disable a webhook.
const HOPELESS: i64 = 10;
const HOPELESS_SECONDS: i64 = 7 * 86_400;

/// What the sender needs to be found by.
pub struct Sender {
    /// Something was put into the outbox.
    pub wake: Notify,
    /// The way out.
    pub outward: Outward,
    /// What tells this node's claims from others': new at each start.
    node: String,
}

impl Sender {
    /// For a node that has just started.
    pub fn new(outward: Outward, node: String) -> Self {
        Self { wake: Notify::new(), outward, node }
    }
}

/// When an attempt is made again after so many; `None`: never. `spread`, of 255, lengthens the wait by up to a tenth.
fn next_attempt(attempts: i64, since: Timestamp, now: Timestamp, spread: u8) -> Option<Timestamp> {
    let end = since.plus_seconds(PATIENCE);
    if now >= end {
        return None;
    }
    let place = usize::try_from(attempts - 1).unwrap_or(0).min(DELAYS.len() - 1);
    let delay = DELAYS[place] * 1_000_000;
    let at = Timestamp(now.0 + delay + delay / 10 * i64::from(spread) / 255);
    Some(at.min(end))
}

/// Whether a webhook is to be disabled.
pub(super) fn is_hopeless(state: &State, now: Timestamp) -> bool {
    let long_ago = now.plus_seconds(-HOPELESS_SECONDS).0;
    state.failures >= HOPELESS && state.last_success_at.is_none_or(|at| at < long_ago)
}

/// The header `ElevenLabs-Signature`: one `t`, one `v0`, no blanks (wire §13.3).
pub fn signature(secret: &[u8], now: Timestamp, body: &str) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(format!("{}.", now.seconds()).as_bytes());
    context.update(body.as_bytes());
    format!("t={},v0={}", now.seconds(), hex(context.sign().as_ref()))
}

/// A webhook, by its workspace and its id.
type Whose = (String, String);

/// A claimed delivery with what its webhook says of the way.
#[derive(Clone)]
struct Parcel {
    claimed: Claimed,
    url: String,
    headers: BTreeMap<String, String>,
    secret: Zeroizing<String>,
    retry_enabled: bool,
}

/// What a turn at the store has brought.
#[derive(Default)]
struct Turn {
    parcels: Vec<Parcel>,
    hopeless: Vec<Whose>,
    last: Whose,
}

impl Provable for Turn {
    fn proof(&self) -> Option<Proof> {
        None
    }
}

/// What the sender remembers from turn to turn.
#[derive(Default)]
struct Round {
    /// Made, and not written down yet.
    made: Vec<Attempt>,
    /// How many of each webhook are under way.
    under_way: HashMap<Whose, usize>,
    /// The webhook that was given something last; the next turn begins after it.
    last: Whose,
}

impl Round {
    /// Writes down what was made and takes up to `most` of what is due.
    async fn turn(&mut self, app: &Arc<App>, most: usize) -> Result<Vec<Parcel>, Failure> {
        let now = app.clock.now();
        if self.made.is_empty() {
            let due = most > 0 && app.store.read(move |tx: &mut Tx<'_>| outbox::is_any_due(tx, now)).await?;
            if !due {
                return Ok(Vec::new());
            }
        }
        let (worker, made) = (app.clone(), std::mem::take(&mut self.made));
        let (told, under_way, last) = (Arc::new(made.clone()), self.under_way.clone(), self.last.clone());
        let work = move |tx: &mut Tx<'_>| -> Result<Turn, Failure> {
            let mut turn = Turn { last: last.clone(), ..Turn::default() };
            for attempt in told.iter() {
                settle(&worker, tx, attempt, now, &mut turn)?;
            }
            claim(&worker, tx, &under_way, now, most, &mut turn)?;
            Ok(turn)
        };
        let turn = match app.store.write(work, |_| {}).await {
            Written::Committed(turn) => turn,
            Written::Aborted(failure) => {
                self.made = made;
                return Err(failure);
            }
            // Written down once more, it changes nothing; what was claimed is free again after a while.
            Written::Unknown => {
                self.made = made;
                return Err(Failure::OutcomeUnknown);
            }
        };
        self.last = turn.last;
        for (workspace, webhook) in turn.hopeless {
            // The next failure asks for it again; what was claimed goes out all the same.
            if let Err(failure) = super::disable_by_itself(app, workspace.into(), webhook).await {
                tracing::warn!("a webhook that only fails could not be disabled: {failure:?}");
            }
        }
        Ok(turn.parcels)
    }
}

fn settle(app: &App, tx: &mut Tx<'_>, attempt: &Attempt, now: Timestamp, turn: &mut Turn) -> Result<(), Error> {
    if !outbox::settle(tx, attempt, &app.sender.node, now)? {
        return Ok(());
    }
    let place = &attempt.claimed.place;
    match &attempt.result {
        Ok(_) => queries::note_success(tx, &place.workspace, &place.webhook, now),
        Err((status, why)) => {
            if attempt.next_at.is_none() {
                tracing::warn!(webhook = place.webhook, event = attempt.claimed.event_id, why, "an event is given up");
            }
            let state = queries::note_failure(tx, &place.workspace, &place.webhook, status.map(i64::from), now)?;
            let whose = (place.workspace.to_string(), place.webhook.clone());
            if is_hopeless(&state, now) && !turn.hopeless.contains(&whose) {
                turn.hopeless.push(whose);
            }
            Ok(())
        }
    }
}

/// Takes what is due, a few of each webhook and each workspace, beginning after the one that was given something last.
fn claim(
    app: &App,
    tx: &mut Tx<'_>,
    under_way: &HashMap<Whose, usize>,
    now: Timestamp,
    most: usize,
    turn: &mut Turn,
) -> Result<(), Failure> {
    let start = turn.last.clone();
    let (mut place, mut wrapped) = (start.clone(), false);
    for _ in 0..LOOKED_AT {
        let free = most.saturating_sub(turn.parcels.len());
        if free == 0 {
            return Ok(());
        }
        if wrapped && place == start {
            return Ok(());
        }
        let Some(whose) = outbox::next_webhook(tx, &place)? else {
            if wrapped {
                return Ok(());
            }
            (wrapped, place) = (true, Whose::default());
            continue;
        };
        place.clone_from(&whose);
        let of_workspace = under_way.iter().filter(|((workspace, _), _)| *workspace == whose.0);
        let taken: Vec<_> =
            turn.parcels.iter().filter(|parcel| parcel.claimed.place.workspace.as_str() == whose.0).collect();
        let busy_all = of_workspace.map(|(_, count)| count).sum::<usize>() + taken.len();
        let taken = taken.iter().filter(|parcel| parcel.claimed.place.webhook == whose.1).count();
        let busy = under_way.get(&whose).copied().unwrap_or(0) + taken;
        let free = free.min(MOST_OF_ONE.saturating_sub(busy)).min(MOST_OF_WORKSPACE.saturating_sub(busy_all));
        let before = turn.parcels.len();
        if free > 0 {
            claim_of(app, tx, &whose, now, free, turn)?;
        }
        if turn.parcels.len() > before {
            turn.last = whose;
        }
    }
    // There are more than can be looked at: the next turn goes on here.
    turn.last = place;
    Ok(())
}

fn claim_of(
    app: &App,
    tx: &mut Tx<'_>,
    whose: &Whose,
    now: Timestamp,
    most: usize,
    turn: &mut Turn,
) -> Result<(), Failure> {
    let (workspace, id): (WorkspaceId, &str) = (whose.0.as_str().into(), &whose.1);
    let found = queries::find(tx, &workspace, id)?;
    let way = match &found {
        None => Err("webhook_deleted"),
        Some(row) if !row.is_sealed(&app.ring, &workspace) => {
            tracing::error!(webhook = id, "the webhook's row was changed behind the server's back; it gets nothing");
            Err("not_trusted")
        }
        Some(row) if !row.works() => Err("webhook_disabled"),
        Some(row) => {
            let secret = row::open(&app.ring, &workspace, id, row.secret_at(now));
            match (secret, row.headers(&app.ring, &workspace)) {
                (Ok(secret), Ok(headers)) => Ok((row, secret, headers)),
                _ => Err("not_trusted"),
            }
        }
    };
    let (row, secret, headers) = match way {
        Ok(way) => way,
        Err(why) => {
            outbox::give_up_open(tx, &workspace, id, why, now)?;
            return Ok(());
        }
    };
    let until = now.plus_seconds(CLAIM);
    let claimed = outbox::claim(tx, &app.ring, (&workspace, id), &app.sender.node, now, until, most)?;
    turn.parcels.extend(claimed.into_iter().map(|claimed| Parcel {
        claimed,
        url: row.url.clone(),
        headers: headers.clone(),
        secret: secret.clone(),
        retry_enabled: row.retry_enabled,
    }));
    Ok(())
}

async fn deliver(app: Arc<App>, outward: Outward, parcel: Parcel) -> Attempt {
    let Parcel { claimed, url, headers, secret, retry_enabled } = parcel;
    let signature = signature(secret.as_bytes(), app.clock.now(), &claimed.body);
    let letter = Letter { url, headers, signature, event_id: claimed.event_id.clone(), body: claimed.body.clone() };
    let result = transport::send(&outward, letter).await;
    let spread = app.entropy.bytes::<1>()[0];
    let again = || next_attempt(claimed.attempts + 1, claimed.since, app.clock.now(), spread);
    let next_at = if result.is_err() && retry_enabled { again() } else { None };
    Attempt { claimed, result, next_at }
}

/// Sends what is due now, and returns once it is written down what became of it; how many attempts were made.
pub async fn pass(app: &Arc<App>, outward: &Outward) -> Result<usize, Failure> {
    let mut round = Round::default();
    let mut sending = JoinSet::new();
    for parcel in round.turn(app, MOST).await? {
        sending.spawn(deliver(app.clone(), outward.clone(), parcel));
    }
    round.made = sending.join_all().await;
    let count = round.made.len();
    round.turn(app, 0).await?;
    Ok(count)
}

/// Sends until it is told to stop; then what is under way ends, which its timeout sees to.
pub async fn run(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    if !app.store.is_shared()
        && let Err(failure) = free_claims(&app).await
    {
        tracing::warn!("what was under way at the last end waits for half a minute: {failure:?}");
    }
    let mut round = Round::default();
    let mut sending: JoinSet<Attempt> = JoinSet::new();
    let mut whose: HashMap<task::Id, Whose> = HashMap::new();
    let mut last_tries = 0;
    loop {
        let stopping = *stop.borrow();
        let free = if stopping { 0 } else { MOST.saturating_sub(sending.len()) };
        let failed = match round.turn(&app, free).await {
            Ok(parcels) => {
                let any = !parcels.is_empty();
                for parcel in parcels {
                    let place = &parcel.claimed.place;
                    let of = (place.workspace.to_string(), place.webhook.clone());
                    *round.under_way.entry(of.clone()).or_default() += 1;
                    let id = sending.spawn(deliver(app.clone(), app.sender.outward.clone(), parcel)).id();
                    whose.insert(id, of);
                }
                if any && sending.len() < MOST {
                    // There may be more of what was passed by.
                    app.sender.wake.notify_one();
                }
                false
            }
            Err(failure) => {
                tracing::warn!(job = "send webhooks", "failed, and is tried again: {failure:?}");
                true
            }
        };
        if stopping && sending.is_empty() {
            last_tries += 1;
            if !failed || round.made.is_empty() {
                return;
            }
            if last_tries == LAST_TRIES {
                let count = round.made.len();
                tracing::error!(
                    count,
                    "what became of the last deliveries could not be written down; they go out again"
                );
                return;
            }
        }
        if failed {
            tokio::time::sleep(LOOK).await;
        }
        let ended = tokio::select! {
            ended = sending.join_next_with_id(), if !sending.is_empty() => ended,
            () = app.sender.wake.notified(), if !failed => None,
            () = tokio::time::sleep(LOOK) => None,
            _ = stop.changed(), if !stopping => None,
        };
        // All that have ended meanwhile are written down together.
        let mut next = ended;
        while let Some(ended) = next {
            let id = match ended {
                Ok((id, attempt)) => {
                    round.made.push(attempt);
                    id
                }
                // A panic: the claim ends by itself.
                Err(error) => error.id(),
            };
            if let Some(of) = whose.remove(&id)
                && let Some(count) = round.under_way.get_mut(&of)
            {
                *count -= 1;
                if *count == 0 {
                    round.under_way.remove(&of);
                }
            }
            next = sending.try_join_next_with_id();
        }
    }
}

async fn free_claims(app: &Arc<App>) -> Result<(), Failure> {
    let worker = app.clone();
    let work = move |tx: &mut Tx<'_>| -> Result<(), Failure> { Ok(outbox::free_claims(tx, &worker.sender.node)?) };
    match app.store.write(work, |()| {}).await {
        Written::Committed(()) => Ok(()),
        Written::Aborted(failure) => Err(failure),
        Written::Unknown => Err(Failure::OutcomeUnknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_wires() {
        // Made with `printf '1700000000.{"type":"x"}' | openssl dgst -sha256 -hmac wsec_test`.
        let header = signature(b"wsec_test", Timestamp::from_seconds(1_700_000_000), "{\"type\":\"x\"}");
        assert_eq!(header, "t=1700000000,v0=4558277ea3dca2ecc5b44ec0ab321d3fcd9649de21a713dff9a3fa9c741c8375");
    }

    #[test]
    fn attempts_come_ever_more_seldom_and_end_after_three_days() {
        let since = Timestamp::from_seconds(1_000_000);
        let (mut now, mut attempts, mut waits) = (since, 0, Vec::new());
        loop {
            attempts += 1;
            let Some(next) = next_attempt(attempts, since, now, 0) else { break };
            waits.push((next.0 - now.0) / 1_000_000);
            now = next;
        }
        // The last comes when three days are over, and is the last.
        assert_eq!(waits, [30, 120, 480, 1_800, 7_200, 21_600, 86_400, 86_400, 55_170]);
        assert_eq!(now, since.plus_seconds(PATIENCE));
        let most = next_attempt(1, since, since, 255).unwrap();
        assert_eq!(most.0 - since.0, 33_000_000);
    }

    #[test]
    fn a_webhook_is_hopeless_after_ten_failures_without_a_success_in_a_week() {
        let now = Timestamp::from_seconds(100 * 86_400);
        let state = |failures, last: Option<i64>| State {
            failures,
            last_success_at: last.map(|days| now.plus_seconds(-days * 86_400).0),
            ..State::default()
        };
        assert!(is_hopeless(&state(10, None), now) && is_hopeless(&state(10, Some(8)), now));
        assert!(!is_hopeless(&state(9, None), now) && !is_hopeless(&state(1000, Some(6)), now));
    }
}
