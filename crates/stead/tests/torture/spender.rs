//! Clients that charge keys, and know what was acknowledged to them.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::time::timeout;

use super::api::{self, Api, Reply};
use super::random::Random;

/// A capped key.
#[derive(Clone, Debug)]
pub(crate) struct Purse {
    pub(crate) account: String,
    pub(crate) key_id: String,
    pub(crate) lineage: String,
    pub(crate) secret: String,
    pub(crate) cap: u64,
}

/// What clients know of a purse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Credits of charges that were acknowledged.
    pub(crate) acknowledged: u64,
    /// Credits of charges whose answer never came: charged or not.
    pub(crate) unknown: u64,
    /// Acknowledged charges.
    pub(crate) charges: u64,
    /// Charges of which an answer was given up, and that were sent again with the same id.
    pub(crate) retried: u64,
    pub(crate) refused: u64,
    pub(crate) unavailable: u64,
    /// Answers that no charge may get.
    pub(crate) wrong: u64,
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.charges += other.charges;
        self.retried += other.retried;
        self.refused += other.refused;
        self.unavailable += other.unavailable;
        self.wrong += other.wrong;
    }
}

/// By lineage.
pub(crate) type Ledger = BTreeMap<String, Spent>;

/// Charges until the server is gone, or until it is told to stop.
pub(crate) async fn spend(api: Api, purses: Arc<Vec<Purse>>, seed: u64, stop: Arc<AtomicBool>) -> Ledger {
    let (http, mut random, mut ledger) = (api::client(), Random::new(seed), Ledger::new());
    while !stop.load(Ordering::SeqCst) {
        let purse = random.pick(&purses).expect("there are purses");
        let spent = ledger.entry(purse.lineage.clone()).or_default();
        if !charge(&api, &http, purse, &mut random, spent).await {
            break;
        }
    }
    ledger
}

/// One charge, to its answer. False when the server is gone.
async fn charge(api: &Api, http: &Client, purse: &Purse, random: &mut Random, spent: &mut Spent) -> bool {
    let cost = random.between(1, 50);
    let id = random.chance(40).then(|| format!("charge-{:016x}", random.next()));
    // Given up before its answer came, at whatever point it was; the same again must not be charged again.
    let is_given_up = match &id {
        Some(_) if random.chance(30) => {
            let patience = Duration::from_micros(random.below(3000));
            timeout(patience, api.charge(http, &purse.secret, cost, id.as_deref())).await.is_err()
        }
        _ => false,
    };
    spent.retried += u64::from(is_given_up);
    match api.charge(http, &purse.secret, cost, id.as_deref()).await {
        Reply::Done(body) if body["valid"] == true => {
            spent.acknowledged += cost;
            spent.charges += 1;
            true
        }
        Reply::Done(body) if body["code"] == "USAGE_EXCEEDED" => {
            spent.refused += 1;
            // What was given up may be decided after it.
            spent.unknown += if is_given_up { cost } else { 0 };
            true
        }
        Reply::Unknown(why) => {
            spent.unknown += cost;
            // The server's own word: nothing was charged, and it is still there.
            let is_told = why.starts_with("503");
            spent.unavailable += u64::from(is_told);
            is_told
        }
        Reply::Done(_) | Reply::Refused(..) => {
            spent.wrong += 1;
            true
        }
    }
}
