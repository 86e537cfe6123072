//! Durable key creations a second, and the filled store that they make.

use crate::contender::Key;
use crate::engine::Engine;
use crate::process::{Launch, Log, Process};
use crate::report::{NONE, Report, median, spread, whole};
use crate::wire::{Line, post, text};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ACCOUNTS: usize = 200;
const KEYS_AN_ACCOUNT: usize = 1000;
/// Keys that there can be.
pub(crate) const MOST_KEYS: usize = ACCOUNTS * KEYS_AN_ACCOUNT;
const WRITERS: usize = 64;
/// Turns in which the engine, one writer and many follow each other.
const TURNS: usize = 4;
const TURN: Duration = Duration::from_millis(1500);
/// Keys that the many writers make in one turn.
const MADE_IN_A_TURN: usize = 5_000;
/// A disk on which this many keys take longer is not one to wait for.
const LONGEST_TURN: Duration = Duration::from_secs(150);

/// A store on its way to many keys.
#[derive(Default)]
pub(crate) struct Filling {
    accounts: Vec<String>,
    /// Of every key made so far.
    pub(crate) keys: Vec<Key>,
}

/// When to stop making keys.
#[derive(Clone, Copy)]
enum Until {
    Made(usize),
    Over(Duration),
}

impl Filling {
    /// The rates of one writer and of many beside the engine's own, in turns.
    pub(crate) async fn beside_the_engine(
        &mut self,
        launch: &Launch,
        scratch: &Path,
        report: &mut Report,
    ) -> Result<()> {
        let server = launch.start(Log::File)?;
        let mut engine = Engine::open(scratch, "engine.db")?;
        let (mut alone, mut one, mut many) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            alone.push(engine.rate(TURN)?);
            one.push(self.make(launch, &server, 1, Until::Over(TURN)).await?);
            many.push(self.make(launch, &server, WRITERS, Until::Made(MADE_IN_A_TURN)).await?);
        }
        for (what, rates, goal) in
            [("Key creations/s, 1 writer", one, NONE), ("Key creations/s, 64 writers", many, "≥ 3")]
        {
            report_rates(what, &rates, &alone, goal, report);
        }
        server.stop()
    }

    /// Makes the keys that are missing to so many, with the log going nowhere; their rate beside the engine's own.
    pub(crate) async fn fill_up(
        &mut self,
        keys: usize,
        launch: &Launch,
        scratch: &Path,
        report: &mut Report,
    ) -> Result<()> {
        let server = launch.start(Log::Nowhere)?;
        let mut engine = Engine::open(scratch, &format!("engine-{keys}.db"))?;
        let mut alone = vec![engine.rate(TURN)?];
        let missing = keys.saturating_sub(self.keys.len());
        let rate = self.make(launch, &server, WRITERS, Until::Made(missing)).await?;
        alone.push(engine.rate(TURN)?);
        let what = format!("Key creations/s, 64 writers, {}, up to {} keys", Log::Nowhere.name(), whole(keys as f64));
        report_rates(&what, &[rate], &[median(alone)], "≥ 3", report);
        server.stop()
    }

    pub(crate) async fn make_accounts(&mut self, launch: &Launch) -> Result<()> {
        let server = launch.start(Log::Nowhere)?;
        let mut line = Line::open(server.address).await?;
        for number in 0..ACCOUNTS {
            let body = format!(r#"{{"name":"figures {number}"}}"#);
            let answer = line.ask(&post("/v1/service-accounts", &launch.admin_key, &body)).await?;
            self.accounts.push(text(answer, "service_account_id")?);
        }
        server.stop()
    }

    /// Makes keys with some writers at once, each on a connection of its own; keys a second.
    async fn make(&mut self, launch: &Launch, server: &Process, writers: usize, until: Until) -> Result<f64> {
        let next = Arc::new(AtomicUsize::new(self.keys.len()));
        let (last, time) = match until {
            Until::Made(count) => (self.keys.len() + count, LONGEST_TURN),
            Until::Over(time) => (MOST_KEYS, time),
        };
        let requests: Arc<[_]> = self.accounts.iter().map(|account| creation(account, &launch.admin_key)).collect();
        let mut lines = Vec::new();
        for _ in 0..writers {
            lines.push(Line::open(server.address).await?);
        }
        let since = Instant::now();
        let mut tasks = JoinSet::new();
        for line in lines {
            let numbers = Numbers { next: next.clone(), last, until: since + time };
            tasks.spawn(write(line, requests.clone(), numbers));
        }
        let before = self.keys.len();
        while let Some(made) = tasks.join_next().await {
            self.keys.extend(made??);
        }
        let (made, took) = (self.keys.len() - before, since.elapsed());
        if let Until::Made(count) = until {
            ensure!(made == count, "{made} keys in {took:?}: this disk is too slow to fill a store");
        }
        Ok(made as f64 / took.as_secs_f64())
    }
}

/// The places of keys yet to be made, shared by all writers.
struct Numbers {
    next: Arc<AtomicUsize>,
    last: usize,
    until: Instant,
}

impl Numbers {
    fn take(&self) -> Option<usize> {
        if Instant::now() >= self.until {
            return None;
        }
        Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|number| *number < self.last)
    }
}

async fn write(mut line: Line, requests: Arc<[Vec<u8>]>, numbers: Numbers) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    while let Some(number) = numbers.take() {
        // One account after the other, so that the writers meet in the same account.
        let request = &requests[number / KEYS_AN_ACCOUNT];
        let answer = line.ask(request).await.context("a creation")?;
        keys.push(Key { id: text(answer, "key_id")?, secret: text(answer, "api_key")? });
    }
    Ok(keys)
}

fn creation(account: &str, admin_key: &str) -> Vec<u8> {
    let path = format!("/v1/service-accounts/{account}/api-keys");
    post(&path, admin_key, r#"{"name":"figures","permissions":["text_to_speech"]}"#)
}

fn report_rates(what: &str, rates: &[f64], alone: &[f64], goal: &str, report: &mut Report) {
    let ratios: Vec<_> = rates.iter().zip(alone).map(|(rate, alone)| rate / alone).collect();
    let beside = format!("{} one by one", whole(median(alone.iter().copied())));
    report.row(what, whole(median(rates.iter().copied())), beside, spread(&ratios), goal);
}
