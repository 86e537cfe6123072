//! `kill -9` at any moment loses no charge that was acknowledged, and lets none go beyond the cap.
//!
//! `STEAD_KILL_CYCLES` says how often (12; PostgreSQL a quarter of it), `STEAD_KILL_SEED` repeats the choices of a run;
//! `cargo xtask kill --charges` runs more.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::kill::{Schema, launch};
use crate::torture::api::{self, Api, Reply};
use crate::torture::books::{Books, Total};
use crate::torture::history::{Change, Intent};
use crate::torture::process::{Launch, Server};
use crate::torture::random::{Random, fresh_seed};
use crate::torture::spender::{Ledger, Purse, Spent, spend};
use crate::torture::{report, setting};

/// Of each server.
const CLIENTS: u64 = 8;
/// From one that is used up at once to one that is never used up.
const CAPS: [u64; 4] = [300, 20_000, 200_000, 100_000_000];
/// After this a wait is a hang. The sweep runs every five seconds.
const HANG: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_charge_is_lost_on_sqlite() {
    let seed = setting("STEAD_KILL_SEED", fresh_seed());
    let scratch = tempfile::tempdir().expect("there is room for temporary files");
    let launch = launch(scratch.path(), None, seed);
    let books = Books::Sqlite(launch.data_dir.join("stead.db"));
    strike_again_and_again("SQLite", launch, books, 1, cycles(), seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_charge_is_lost_on_postgres() {
    let Ok(server) = std::env::var("STEAD_TEST_POSTGRES") else {
        report("no_acknowledged_charge_is_lost_on_postgres: skipped, STEAD_TEST_POSTGRES names no server");
        return;
    };
    let seed = setting("STEAD_KILL_SEED", fresh_seed());
    let name = format!("charges_{seed:x}_{}", std::process::id());
    let (schema, books) = (Schema::new(server.clone(), name.clone()), Books::Postgres(server, name));
    let scratch = tempfile::tempdir().expect("there is room for temporary files");
    let launch = launch(scratch.path(), Some(schema.url()), seed);
    strike_again_and_again("PostgreSQL, two nodes", launch, books, 2, cycles().div_ceil(4), seed).await;
}

fn cycles() -> u64 {
    setting("STEAD_KILL_CYCLES", 12)
}

/// A running server and, where there are several, what the store calls it.
struct Node {
    server: Server,
    id: String,
}

struct Campaign {
    launch: Launch,
    books: Books,
    random: Random,
    nodes: Vec<Node>,
    purses: Arc<Vec<Purse>>,
    /// What clients were told, by lineage.
    ledger: Ledger,
    kills: u64,
    stops: u64,
}

async fn strike_again_and_again(store: &str, launch: Launch, books: Books, nodes: usize, cycles: u64, seed: u64) {
    report(&format!("{cycles} blows to charges on {store}; STEAD_KILL_SEED={seed} repeats them"));
    let mut campaign = Campaign::open(launch, books, nodes, seed).await;
    for cycle in 0..cycles {
        // The first is a clean stop: nothing is forfeited before the first kill.
        let is_kill = cycle > 0 && campaign.random.chance(80);
        campaign.strike(is_kill).await;
        campaign.restart().await;
        campaign.examine().await;
    }
    campaign.stop().await;
    report(&campaign.text(store));
}

impl Campaign {
    async fn open(launch: Launch, books: Books, nodes: usize, seed: u64) -> Self {
        let server = launch.start().expect("the first start succeeds");
        let api = Api::new(server.base(), &launch.admin_key);
        let mut purses = Vec::new();
        for cap in CAPS {
            purses.push(purse(&api, cap).await);
        }
        let (random, purses) = (Random::new(seed), Arc::new(purses));
        let (ledger, first) = (Ledger::new(), Node { server, id: String::new() });
        let mut campaign = Self { launch, books, random, nodes: vec![first], purses, ledger, kills: 0, stops: 0 };
        campaign.nodes[0].id = campaign.introduce(0).await;
        while campaign.nodes.len() < nodes {
            campaign.restart().await;
        }
        campaign
    }

    /// Charges a credit, so that the node has a lease, and looks what it is called in the store.
    async fn introduce(&mut self, node: usize) -> String {
        let (api, purse) = (self.api(node), self.purses.last().expect("there are purses").clone());
        let known: Vec<_> = self.nodes.iter().map(|node| node.id.clone()).collect();
        let reply = api.charge(&api::client(), &purse.secret, 1, None).await;
        assert!(matches!(&reply, Reply::Done(body) if body["valid"] == true), "{reply:?}");
        let spent = Spent { acknowledged: 1, charges: 1, ..Spent::default() };
        *self.ledger.entry(purse.lineage.clone()).or_default() += spent;
        let mut leases = self.books.leases().await.into_iter();
        let ours = leases.find(|(lineage, node)| *lineage == purse.lineage && !known.contains(node));
        ours.expect("what can be charged is on lease").1
    }

    /// Clients charge on every node, and at some moment one node is killed or stopped. The others go on until what it
    /// had on lease is settled.
    async fn strike(&mut self, is_kill: bool) {
        let before = self.totals().await;
        let (stop, mut clients) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for node in 0..self.nodes.len() {
            for _ in 0..CLIENTS {
                clients.spawn(spend(self.api(node), self.purses.clone(), self.random.next(), stop.clone()));
            }
        }
        sleep(Duration::from_millis(self.random.between(5, 1000))).await;
        let place = usize::try_from(self.random.below(self.nodes.len() as u64)).expect("few nodes");
        let Node { server, id } = self.nodes.swap_remove(place);
        if is_kill {
            self.kills += 1;
            server.kill();
        } else {
            self.stops += 1;
            let status = server.terminate().expect("it ends");
            assert!(status.success(), "SIGTERM ended in {status}");
            assert!(self.leases_of(&id).await.is_empty(), "a clean stop left leases behind");
        }
        if !self.nodes.is_empty() {
            if is_kill {
                self.books.age(&id).await;
            }
            let since = Instant::now();
            while !self.leases_of(&id).await.is_empty() {
                assert!(since.elapsed() < HANG, "the leases of a node that is gone are not swept");
                sleep(Duration::from_millis(50)).await;
            }
            stop.store(true, Ordering::SeqCst);
        }
        while let Some(told) = clients.join_next().await {
            for (lineage, spent) in told.expect("a client ends in peace") {
                *self.ledger.entry(lineage).or_default() += spent;
            }
        }
        if !is_kill {
            let lost = |totals: &BTreeMap<String, Total>| totals.values().map(|total| total.forfeited).sum::<u64>();
            assert_eq!(lost(&before), lost(&self.totals().await), "a clean stop forfeited credits");
        }
        self.audit().await;
    }

    /// Starts a node more.
    async fn restart(&mut self) {
        let server = self.launch.start().expect("a server starts on what a killed one left");
        self.nodes.push(Node { server, id: String::new() });
        let place = self.nodes.len() - 1;
        if place == 0 {
            assert!(self.books.leases().await.is_empty(), "a start left leases of the killed server behind");
        }
        self.show(place).await;
        self.nodes[place].id = self.introduce(place).await;
    }

    /// Compares the books with what clients were told. Whoever calls it knows that no client is at it.
    async fn audit(&self) {
        let totals = self.totals().await;
        for purse in self.purses.iter() {
            let Some(spent) = self.ledger.get(&purse.lineage) else { continue };
            let Some(total) = totals.get(&purse.lineage) else {
                assert_eq!(spent.acknowledged, 0, "{purse:?}");
                continue;
            };
            let gone = total.used + total.leased + total.forfeited;
            assert!(gone <= purse.cap, "beyond the cap: {total:?} {spent:?} {purse:?}");
            assert!(spent.acknowledged <= gone, "lost: {total:?} {spent:?} {purse:?}");
            assert!(total.used <= spent.acknowledged + spent.unknown, "counted twice: {total:?} {spent:?} {purse:?}");
            assert_eq!(spent.wrong, 0, "{spent:?} {purse:?}");
        }
    }

    /// Compares what a node that has just started shows with the books: nobody has charged on it.
    async fn show(&self, node: usize) {
        let (api, http) = (self.api(node), api::client());
        let is_alone = self.nodes.len() == 1;
        for purse in self.purses.iter() {
            let (Reply::Done(shown), Reply::Done(answer)) =
                (api.show(&http, &purse.account, &purse.key_id).await, api.charge(&http, &purse.secret, 0, None).await)
            else {
                panic!("a key is not shown: {purse:?}");
            };
            let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
            let (used, forfeited) = (number(&shown["character_count"]), number(&shown["character_forfeited"]));
            assert_eq!((used, forfeited), (number(&answer["character_count"]), number(&answer["character_forfeited"])));
            let totals = self.totals().await;
            let Some(total) = totals.get(&purse.lineage) else { continue };
            // Another node may have told more charges meanwhile, and given some of its lease back.
            assert!(used <= total.used && forfeited <= total.forfeited, "{shown} {total:?}");
            if is_alone {
                assert_eq!((used, forfeited), (total.used, total.forfeited));
                assert_eq!(number(&answer["remaining"]), purse.cap - used - forfeited);
                let spent = self.ledger.get(&purse.lineage).copied().unwrap_or_default();
                assert!(spent.acknowledged <= used + forfeited, "lost: {shown} {spent:?}");
            }
        }
    }

    /// A cap that is reached stays reached.
    async fn examine(&self) {
        let (api, http, totals) = (self.api(0), api::client(), self.totals().await);
        for purse in self.purses.iter() {
            if totals.get(&purse.lineage).is_some_and(|total| total.used + total.forfeited == purse.cap) {
                let reply = api.charge(&http, &purse.secret, 1, None).await;
                assert!(matches!(&reply, Reply::Done(body) if body["code"] == "USAGE_EXCEEDED"), "{purse:?} {reply:?}");
            }
        }
    }

    /// Stops every node cleanly: then nothing is on lease, and a start shows just that.
    async fn stop(&mut self) {
        for node in std::mem::take(&mut self.nodes) {
            let status = node.server.terminate().expect("it ends");
            assert!(status.success(), "SIGTERM ended in {status}");
        }
        assert!(self.books.leases().await.is_empty());
        assert!(self.totals().await.values().all(|total| total.leased == 0));
        self.audit().await;
        let server = self.launch.start().expect("a server that was stopped in peace starts again");
        self.nodes.push(Node { server, id: String::new() });
        self.show(0).await;
        let kills = self.kills;
        let lost: u64 = self.totals().await.values().map(|total| total.forfeited).sum();
        assert!(kills > 0 || lost == 0, "{lost} forfeited without a kill");
        self.report_books().await;
    }

    async fn report_books(&self) {
        let totals = self.totals().await;
        let mut text = String::new();
        for purse in self.purses.iter() {
            let spent = self.ledger.get(&purse.lineage).copied().unwrap_or_default();
            let (used, forfeited) = totals.get(&purse.lineage).map_or((0, 0), |total| (total.used, total.forfeited));
            let Purse { cap, .. } = purse;
            let Spent { acknowledged, unknown, .. } = spent;
            // Writing to a string can't fail.
            writeln!(
                text,
                "  cap {cap}: acknowledged {acknowledged}, unknown {unknown}, used {used}, forfeited {forfeited}"
            )
            .ok();
        }
        report(text.trim_end());
    }

    async fn leases_of(&self, node: &str) -> Vec<(String, String)> {
        self.books.leases().await.into_iter().filter(|(_, holder)| holder == node).collect()
    }

    async fn totals(&self) -> BTreeMap<String, Total> {
        self.books.totals().await.into_iter().map(|total| (total.lineage.clone(), total)).collect()
    }

    fn api(&self, node: usize) -> Api {
        Api::new(self.nodes[node].server.base(), &self.launch.admin_key)
    }

    fn text(&self, store: &str) -> String {
        let mut all = Spent::default();
        self.ledger.values().for_each(|spent| all += *spent);
        let Spent { acknowledged, charges, retried, refused, unavailable, .. } = all;
        let Self { kills, stops, .. } = self;
        format!(
            "{kills} kills and {stops} clean stops under charges on {store}\n  acknowledged {charges} charges of \
             {acknowledged} credits, sent again {retried}, refused {refused}, answered 503 {unavailable}\n  lost 0, \
             beyond the cap 0, counted twice 0"
        )
    }
}

async fn purse(api: &Api, cap: u64) -> Purse {
    let http = api::client();
    let text = |reply: &Reply, name: &str| match reply {
        Reply::Done(body) => api::text(&body[name]).unwrap_or_else(|| panic!("no {name} in {body}")),
        reply => panic!("{reply:?}"),
    };
    let account = text(&api.create_account(&http, &format!("cap {cap}")).await, "service_account_id");
    let change = Change::Create {
        name: "k".to_owned(),
        permissions: ["models_read".to_owned()].into(),
        character_limit: Some(cap),
    };
    let made = api.change(&http, &account, &Intent { change, idempotency_key: format!("cap-{cap}") }).await;
    let (key_id, secret) = (text(&made, "key_id"), text(&made, "api_key"));
    let lineage = text(&api.show(&http, &account, &key_id).await, "lineage_id");
    Purse { account, key_id, lineage, secret, cap }
}
