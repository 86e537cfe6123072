//! A campaign: many cycles of load, blow, restart and comparison on the same data, and its totals.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Client;
use tokio::time::sleep;

use super::api::{self, Api, Reply};
use super::history::{Change, Intent};
use super::oracle::{Fault, Finding};
use super::process::{Launch, Server};
use super::random::Random;
use super::workload::{Depth, Tally, Worker};

const CLIENTS: usize = 8;

/// How long a change that was under way at the blow may take to settle on a server of its own.
const SETTLING: Duration = Duration::from_secs(2);

/// One server, its clients and what became of them so far.
#[derive(Debug)]
pub(crate) struct Campaign {
    launch: Launch,
    random: Random,
    server: Option<Server>,
    workers: Vec<Worker>,
    barrier: Option<Barrier>,
    blows: u64,
    slowest_restart: Duration,
    /// Findings that belong to no client: the doctor's.
    findings: Vec<Finding>,
}

impl Campaign {
    /// Starts a server on empty data and opens an account for each client.
    pub(crate) async fn open(launch: Launch, seed: u64) -> Result<Self, String> {
        let server = launch.start()?;
        let mut random = Random::new(seed);
        let api = Api::new(server.base(), &launch.admin_key);
        let mut workers = Vec::new();
        for index in 0..CLIENTS {
            workers.push(Worker::open(index, random.next(), &api).await?);
        }
        let barrier = match &launch.database_url {
            Some(url) if url.starts_with("postgres") => Some(Barrier::open(&api).await?),
            _ => None,
        };
        Ok(Self {
            launch,
            random,
            server: Some(server),
            workers,
            barrier,
            blows: 0,
            slowest_restart: Duration::ZERO,
            findings: Vec::new(),
        })
    }

    /// Lets the clients work, strikes after 5 to 500 ms, and returns when all have noticed.
    pub(crate) async fn strike(&mut self, blow: impl FnOnce(Server)) {
        let api = self.api();
        let moment = Duration::from_millis(self.random.between(5, 500));
        let running: Vec<_> = self.workers.drain(..).map(|worker| tokio::spawn(worker.run(api.clone()))).collect();
        sleep(moment).await;
        blow(self.server.take().expect("a server runs"));
        self.blows += 1;
        for worker in running {
            self.workers.push(worker.await.expect("a client ends in peace"));
        }
    }

    /// Starts the server again on what is left of its data.
    pub(crate) fn restart(&mut self) -> Result<(), String> {
        let server = self.launch.start()?;
        self.slowest_restart = self.slowest_restart.max(server.ready_after());
        self.server = Some(server);
        Ok(())
    }

    /// Every client compares its account with its history, all at the same time.
    pub(crate) async fn compare(&mut self, depth: Depth) {
        let api = self.api();
        let patience = match &mut self.barrier {
            Some(barrier) => {
                barrier.pass(&api).await.unwrap_or_else(|what| panic!("the barrier: {what}"));
                SETTLING
            }
            None => Duration::ZERO,
        };
        let comparing: Vec<_> =
            self.workers.drain(..).map(|worker| tokio::spawn(worker.compare(api.clone(), depth, patience))).collect();
        for worker in comparing {
            self.workers.push(worker.await.expect("a comparison ends in peace"));
        }
    }

    /// Stops the server as an operator would, and has the doctor look at what it left.
    pub(crate) fn examine(&mut self) {
        let server = self.server.take().expect("a server runs");
        match server.terminate() {
            Ok(status) if status.success() => {}
            outcome => self.note(format!("SIGTERM ended in {outcome:?}")),
        }
        if let Err(report) = self.launch.doctor() {
            self.note(report);
        }
    }

    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            blows: self.blows,
            slowest_restart: self.slowest_restart,
            tally: Tally { findings: self.findings.clone(), ..Tally::default() },
        };
        for worker in &self.workers {
            totals.add(&worker.tally);
        }
        totals
    }

    fn api(&self) -> Api {
        Api::new(self.server.as_ref().expect("a server runs").base(), &self.launch.admin_key)
    }

    fn note(&mut self, text: String) {
        self.findings.push(Finding { fault: Fault::Lost, text });
    }
}

/// A write that every write of the dead server has to be done with first.
///
/// PostgreSQL goes on with a COMMIT that had reached it when its sender died, so "old" may become "new" after
/// the restart. That transaction holds the workspace's row, so one write through the new server waits for it.
/// What is left is the mirror, which follows within its polling time: hence `SETTLING`, for open changes only.
#[derive(Debug)]
struct Barrier {
    http: Client,
    account: String,
    key_id: String,
    passes: u64,
}

impl Barrier {
    async fn open(api: &Api) -> Result<Self, String> {
        let http = api::client();
        let body = done(api.create_account(&http, "barrier").await)?;
        let account = api::text(&body["service_account_id"]).ok_or("the account's answer has no id")?;
        let creation = Change::Create {
            name: "barrier".to_owned(),
            permissions: ["models_read".to_owned()].into(),
            character_limit: None,
        };
        let intent = Intent { change: creation, idempotency_key: "torture-barrier".to_owned() };
        let body = done(api.change(&http, &account, &intent).await)?;
        let key_id = api::text(&body["key_id"]).ok_or("the key's answer has no id")?;
        Ok(Self { http, account, key_id, passes: 0 })
    }

    async fn pass(&mut self, api: &Api) -> Result<(), String> {
        self.passes += 1;
        let renaming = Change::Update {
            key_id: self.key_id.clone(),
            name: format!("barrier {}", self.passes),
            permissions: None,
            character_limit: None,
        };
        let intent = Intent { change: renaming, idempotency_key: String::new() };
        done(api.change(&self.http, &self.account, &intent).await).map(drop)
    }
}

fn done(reply: Reply) -> Result<serde_json::Value, String> {
    match reply {
        Reply::Done(body) => Ok(body),
        reply => Err(format!("{reply:?}")),
    }
}

/// The figures of one or more campaigns.
#[derive(Clone, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) blows: u64,
    pub(crate) slowest_restart: Duration,
    pub(crate) tally: Tally,
}

impl Totals {
    fn add(&mut self, tally: &Tally) {
        let sum = &mut self.tally;
        for (kind, count) in &tally.acknowledged {
            *sum.acknowledged.entry(kind).or_default() += count;
        }
        sum.found_old += tally.found_old;
        sum.found_new += tally.found_new;
        sum.retried += tally.retried;
        sum.replayed += tally.replayed;
        sum.told_too_late += tally.told_too_late;
        sum.unavailable += tally.unavailable;
        sum.findings.extend(tally.findings.iter().cloned());
    }

    /// Findings by fault; none is an empty map.
    pub(crate) fn faults(&self) -> BTreeMap<Fault, usize> {
        self.tally.findings.iter().fold(BTreeMap::new(), |mut faults, finding| {
            *faults.entry(finding.fault).or_default() += 1;
            faults
        })
    }

    /// The figures as text, under a title such as "12 kills on SQLite".
    pub(crate) fn text(&self, title: &str, seed: u64) -> String {
        let tally = &self.tally;
        let faults = self.faults();
        let count = |fault| faults.get(&fault).copied().unwrap_or_default();
        let mut text = format!("{title}, seed {seed}\n  acknowledged:");
        for (kind, count) in &tally.acknowledged {
            // Writing to a string can't fail.
            write!(text, " {kind} {count}").ok();
        }
        write!(
            text,
            "\n  unacknowledged: wholly absent {}, wholly there {}, retried {}, answered 503 {}\
             \n  acknowledged and asked for again: {}, too late for the secret {}\
             \n  lost {}, half-done {}, stray keys {}, wrong answers {}, slowest restart {} ms",
            tally.found_old,
            tally.found_new,
            tally.retried,
            tally.unavailable,
            tally.replayed,
            tally.told_too_late,
            count(Fault::Lost),
            count(Fault::HalfDone),
            count(Fault::Stray),
            count(Fault::Answer),
            self.slowest_restart.as_millis(),
        )
        .ok();
        text
    }

    /// The first findings, for a failure's message.
    pub(crate) fn complaints(&self) -> String {
        let lines = self.tally.findings.iter().take(20).map(|finding| format!("{:?}: {}", finding.fault, finding.text));
        lines.collect::<Vec<_>>().join("\n")
    }
}
