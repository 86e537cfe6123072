//! B02: a power cut loses nothing that was acknowledged.
//!
//! By hand, as root: `cargo xtask power-cut --cuts N`, which sets `STEAD_POWER_CUTS`. A control run with
//! `synchronous=NORMAL` comes after it and must lose: it shows that the harness can see a loss at all.

use std::path::PathBuf;

use crate::torture::campaign::{Campaign, Totals};
use crate::torture::disk::Disk;
use crate::torture::oracle::Fault;
use crate::torture::process::{Launch, Server};
use crate::torture::random::{Random, fresh_seed};
use crate::torture::workload::Depth;
use crate::torture::{report, setting};

const EXAMINE_EVERY: u64 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs root for a loop mount; `cargo xtask power-cut` runs it"]
async fn power_cut_loses_nothing() {
    let cuts = setting("STEAD_POWER_CUTS", 100);
    let seed = setting("STEAD_KILL_SEED", fresh_seed());
    let totals = cut_again_and_again(cuts, seed).await;
    report(&totals.text(&format!("{} power cuts, synchronous=FULL", totals.blows), seed));
    assert!(totals.faults().is_empty(), "{}", totals.complaints());

    let control = control_run(cuts.div_ceil(5).max(10), seed).await;
    report(&control.text());
    assert!(control.cuts_with_losses > 0, "the harness is blind: synchronous=NORMAL lost nothing either");
}

/// The run that counts: the same data directory through all cuts.
async fn cut_again_and_again(cuts: u64, seed: u64) -> Totals {
    let disk = Disk::make().expect("an ext4 image can be made and mounted (as root)");
    let launch = launch(&disk, "data", None, seed);
    let mut campaign = Campaign::open(launch, seed).await.expect("the first start succeeds");
    for cut in 1..=cuts {
        campaign.strike(|server| power_cut(&disk, server)).await;
        campaign.restart().unwrap_or_else(|what| panic!("after power cut {cut}: {what}"));
        let examine = cut % EXAMINE_EVERY == 0 || cut == cuts;
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
    campaign.totals()
}

/// What the control run saw.
#[derive(Default)]
struct Control {
    cuts: u64,
    cuts_with_losses: u64,
    /// Keys and fields that were acknowledged and are not there, over all cuts.
    losses: usize,
    failed_starts: u64,
}

impl Control {
    fn text(&self) -> String {
        format!(
            "{} power cuts, synchronous=NORMAL (the control): {} of them lost acknowledged changes, {} losses in all, \
             {} times the server did not start",
            self.cuts, self.cuts_with_losses, self.losses, self.failed_starts
        )
    }
}

/// Each cut on data of its own, since a history that has lost something can't be held against the next cut.
async fn control_run(cuts: u64, seed: u64) -> Control {
    let disk = Disk::make().expect("an ext4 image can be made and mounted (as root)");
    let mut control = Control::default();
    let mut seeds = Random::new(seed);
    for cut in 1..=cuts {
        let losses = control_cut(&disk, cut, seeds.next()).await;
        control.cuts += 1;
        control.failed_starts += u64::from(losses.is_none());
        control.cuts_with_losses += u64::from(losses != Some(0));
        control.losses += losses.unwrap_or_default();
    }
    control
}

/// The acknowledged things that one cut lost; `None` when not even the server came back.
async fn control_cut(disk: &Disk, cut: u64, seed: u64) -> Option<usize> {
    let name = format!("control-{cut}");
    let file = disk.path().join(&name).join("stead.db");
    let url = format!("sqlite:{}?synchronous=normal", file.display());
    let launch = launch(disk, &name, Some(url), seed);
    let data_dir = launch.data_dir.clone();
    let mut campaign = Campaign::open(launch, seed).await.expect("the first start succeeds");
    // The accounts are to survive, so that the losses counted are those of the load.
    disk.flush().expect("the disk takes what was written");
    campaign.strike(|server| power_cut(disk, server)).await;
    let started = campaign.restart();
    if started.is_ok() {
        campaign.compare(Depth::Usual).await;
    }
    campaign.kill();
    // The image is small; what can't be removed will be missed when it is full, and told then.
    std::fs::remove_dir_all(data_dir).ok();
    started.ok().map(|()| campaign.totals().faults().get(&Fault::Lost).copied().unwrap_or_default())
}

/// Freezes the server first: whatever it would still answer after the cut would be a lie of the harness.
fn power_cut(disk: &Disk, server: Server) {
    server.freeze();
    disk.cut().expect("the filesystem can be shut down");
    server.kill();
    disk.power_on().expect("the image mounts again");
}

fn launch(disk: &Disk, name: &str, database_url: Option<String>, seed: u64) -> Launch {
    let mut random = Random::new(!seed);
    let data_dir: PathBuf = disk.path().join(name);
    Launch {
        data_dir,
        database_url,
        admin_key: format!("torture-{:016x}{:016x}", random.next(), random.next()),
        log: disk.beside().join("server.log"),
    }
}
