//! 64 clients race for the last credit, the last use, the last place, without HTTP in between.
//!
//! `STEAD_RACES` says how often (200); `cargo xtask races` runs more.

use crate::harness::{Engine, World, pepper};
use crate::on_both_stores;
use serde_json::json;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;
use stead_api::verify::DecisionCode;
use stead_server::app::App;
use stead_server::verify::{Manner, usage, verify};
use stead_verify::decide::Ask;
use stead_verify::limits::Concurrency;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const CLIENTS: u64 = 64;

on_both_stores! {
    no_race_for_the_last_credit_grants_more_than_the_cap
}

fn races() -> u64 {
    std::env::var("STEAD_RACES").map_or(200, |text| text.parse().expect("STEAD_RACES must be a whole number"))
}

/// Straight to standard error, because the test runner swallows what a passing test prints.
fn report(text: &str) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// What came of one client's question.
struct Outcome {
    cost: u64,
    /// `None`: it could not be told, and nothing was charged.
    code: Option<DecisionCode>,
}

/// All ask at the same moment, in turn on each of the nodes.
async fn race(nodes: &[Arc<App>], secret: &str, ask: impl Fn(u64) -> Ask) -> Vec<Outcome> {
    let start = Arc::new(Barrier::new(usize::try_from(CLIENTS).unwrap()));
    let mut clients = JoinSet::new();
    for (client, app) in (0..CLIENTS).zip(nodes.iter().cycle()) {
        let (app, secret, ask, start) = (app.clone(), secret.to_owned(), ask(client), start.clone());
        clients.spawn(async move {
            start.wait().await;
            let verdict = verify(&app, &secret, &ask, Manner::default()).await;
            Outcome { cost: ask.cost, code: verdict.ok().map(|verdict| verdict.code) }
        });
    }
    clients.join_all().await
}

#[derive(Default)]
struct Figures {
    races: u64,
    granted: u64,
    refused: u64,
    /// Credits granted beyond the cap.
    over: u64,
    /// Races in which somebody was refused what was left in the end.
    under: u64,
    /// Clients that were told to try again.
    busy: u64,
}

impl Figures {
    fn add(&mut self, cap: u64, outcomes: &[Outcome]) -> u64 {
        let of = |code| outcomes.iter().filter(move |outcome| outcome.code == code);
        let granted: u64 = of(Some(DecisionCode::Valid)).map(|outcome| outcome.cost).sum();
        let left = cap.saturating_sub(granted);
        self.races += 1;
        self.granted += of(Some(DecisionCode::Valid)).count() as u64;
        self.refused += of(Some(DecisionCode::UsageExceeded)).count() as u64;
        self.busy += of(None).count() as u64;
        self.over += granted.saturating_sub(cap);
        self.under += u64::from(of(Some(DecisionCode::UsageExceeded)).any(|outcome| outcome.cost <= left));
        granted
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { races, granted, refused, over, under, busy } = self;
        write!(f, "{races} races of {CLIENTS}: {granted} granted, {refused} refused, over the cap {over}, ")?;
        write!(f, "races with credits left that were refused {under}, told to try again {busy}")
    }
}

/// Each race has a month of its own, so that it begins at nothing, and with the last one's lease still to be closed.
async fn no_race_for_the_last_credit_grants_more_than_the_cap(engine: Engine) {
    let here = World::new(engine).await;
    let account = here.account("ci").await;
    let mut keys = Vec::new();
    for cap in [1, 2, 7, 100] {
        keys.push((cap, here.key(&account, json!({"name": "k", "character_limit": cap})).await.secret));
    }
    let there = if engine == Engine::Postgres { Some(here.another(pepper()).await) } else { None };
    let nodes: Vec<_> = [Some(&here), there.as_ref()].into_iter().flatten().map(|node| node.app.clone()).collect();
    let costs: [fn(u64) -> u64; 4] = [|_| 1, |_| 2, |client| 1 + client % 5, |client| 1 + 49 * (client % 2)];
    let (mut figures, mut charged) = (Figures::default(), 0);
    for n in 0..races() {
        let (cap, secret) = &keys[usize::try_from(n % 4).unwrap()];
        let cost = costs[usize::try_from(n / 4 % 4).unwrap()];
        let outcomes = race(&nodes, secret, |client| Ask { cost: cost(client), ..Ask::default() }).await;
        charged += figures.add(*cap, &outcomes);
        here.clock.advance(31 * crate::harness::DAY);
    }
    report(&format!("credits on {engine:?}, {} nodes: {figures}", nodes.len()));
    assert_eq!(figures.over, 0, "{figures}");
    assert!(engine == Engine::Postgres || (figures.under, figures.busy) == (0, 0), "{figures}");
    for node in &nodes {
        usage::close(node).await.unwrap();
    }
    assert_eq!(here.count("SELECT CAST(SUM(used) AS BIGINT) FROM credits").await.unsigned_abs(), charged);
    assert_eq!(here.count("SELECT CAST(SUM(leased + forfeited) AS BIGINT) FROM credits").await, 0);
    assert_eq!(here.count("SELECT COUNT(*) FROM credit_leases").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_race_for_the_last_use_or_place_grants_more_than_the_limit() {
    let world = World::new(Engine::Sqlite).await;
    let account = world.account("ci").await;
    let mut keys = Vec::new();
    for most in [1, 2, 7, 50] {
        let limits = json!([{"name": "uses", "limit": most, "window_seconds": 60, "per": "lineage"}]);
        let rated = world.key(&account, json!({"name": "k", "rate_limits": limits})).await.secret;
        let placed = world.key(&account, json!({"name": "k", "tts_concurrency_limit": most})).await.secret;
        keys.push((most, rated, placed));
    }
    let (nodes, mut granted) = ([world.app.clone()], [0, 0]);
    for n in 0..races() {
        let (most, rated, placed) = &keys[usize::try_from(n % 4).unwrap()];
        let place = Ask { concurrency: Some((Concurrency::Tts, 60)), ..Ask::default() };
        for (kind, (secret, ask)) in [(rated, Ask::default()), (placed, place)].into_iter().enumerate() {
            let outcomes = race(&nodes, secret, |_| ask).await;
            let valid = outcomes.iter().filter(|outcome| outcome.code == Some(DecisionCode::Valid)).count();
            assert_eq!(valid, *most, "race {n}");
            granted[kind] += valid;
        }
        // All come back.
        world.clock.elapse(60);
    }
    let [uses, places] = granted;
    report(&format!("{} races of {CLIENTS}: {uses} uses and {places} places granted, none too many", 2 * races()));
}
