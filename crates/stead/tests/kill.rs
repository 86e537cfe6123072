//! B01: `kill -9` at any moment loses nothing that was acknowledged and leaves nothing half done.
//!
//! `STEAD_KILL_CYCLES` says how often (50; PostgreSQL a fifth of it), `STEAD_KILL_SEED` repeats the choices of
//! a run. The moments at which the operating system lets whom run can't be repeated; the seed brings the same
//! load and the same delays, and with them most findings again.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::torture::campaign::Campaign;
use crate::torture::process::{Launch, Server};
use crate::torture::random::{Random, fresh_seed};
use crate::torture::workload::Depth;
use crate::torture::{report, setting};

/// Every so often the comparison is thorough and the doctor is called.
const EXAMINE_EVERY: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_nothing_on_sqlite() {
    let seed = setting("STEAD_KILL_SEED", fresh_seed());
    kill_again_and_again("SQLite", cycles(), None, seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_nothing_on_postgres() {
    let Ok(server) = std::env::var("STEAD_TEST_POSTGRES") else {
        report("sigkill_loses_nothing_on_postgres: skipped, STEAD_TEST_POSTGRES names no server");
        return;
    };
    let seed = setting("STEAD_KILL_SEED", fresh_seed());
    let schema = Schema::new(server, format!("torture_{seed:x}_{}", std::process::id()));
    kill_again_and_again("PostgreSQL", cycles().div_ceil(5), Some(schema.url()), seed).await;
}

fn cycles() -> u64 {
    setting("STEAD_KILL_CYCLES", 50)
}

async fn kill_again_and_again(store: &str, cycles: u64, database_url: Option<String>, seed: u64) {
    report(&format!("{cycles} kills on {store}; STEAD_KILL_SEED={seed} repeats them"));
    let scratch = tempfile::tempdir().expect("there is room for temporary files");
    let mut campaign =
        Campaign::open(launch(scratch.path(), database_url, seed), seed).await.expect("the first start succeeds");
    for cycle in 1..=cycles {
        campaign.strike(Server::kill).await;
        if let Err(what) = campaign.restart() {
            panic!("after kill {cycle}, data kept in {}: {what}", scratch.keep().display());
        }
        let examine = cycle % EXAMINE_EVERY == 0 || cycle == cycles;
        campaign.compare(if examine { Depth::Thorough } else { Depth::Usual }).await;
        if examine {
            campaign.examine();
            campaign.restart().expect("a server that was stopped in peace starts again");
        }
        if !campaign.totals().faults().is_empty() {
            break;
        }
    }
    campaign.kill();
    conclude(&campaign, scratch, store, seed);
}

/// Tells the totals; keeps the data for whoever has to look into a failure.
fn conclude(campaign: &Campaign, scratch: TempDir, store: &str, seed: u64) {
    let totals = campaign.totals();
    report(&totals.text(&format!("{} kills on {store}", totals.blows), seed));
    let clean = totals.faults().is_empty();
    assert!(clean, "data kept in {}\n{}", scratch.keep().display(), totals.complaints());
}

pub(crate) fn launch(scratch: &Path, database_url: Option<String>, seed: u64) -> Launch {
    let mut random = Random::new(!seed);
    Launch {
        data_dir: scratch.join("data"),
        database_url,
        admin_key: format!("torture-{:016x}{:016x}", random.next(), random.next()),
        log: scratch.join("server.log"),
    }
}

/// A schema of the test's own on a server that other tests use too. Dropped, it goes.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Schema {
    pub(crate) fn new(server: String, name: String) -> Self {
        Self { server, name }
    }

    pub(crate) fn url(&self) -> String {
        let join = if self.server.contains('?') { '&' } else { '?' };
        format!("{}{join}schema={}", self.server, self.name)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // Tidiness only: without psql the schema stays behind on what is a throw-away server anyway.
        let statement = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name);
        let mut psql = Command::new("psql");
        psql.args(["-q", &self.server, "-c", &statement]);
        psql.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
    }
}
