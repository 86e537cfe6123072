//! Questions a second: Stead's two doors beside the bare server and beside what people use instead, in rounds of turns.

use crate::beside::{self, Comparator, Setting};
use crate::chosen::Chosen;
use crate::contender::Key;
use crate::latency;
use crate::machine::Cores;
use crate::process::{Launch, Log, Process};
use crate::report::{NONE, Report};
use crate::rounds::{Place, Rows, run};
use crate::stead::{self, Pair};
use anyhow::Result;
use std::path::Path;
use std::sync::Arc;

/// Rounds with everybody in them.
const ROUNDS: usize = 12;
/// Rounds of Stead and the bare server alone.
const FEWER: usize = 10;
/// The least share of the bare server's rate.
const GOAL: &str = "≥ 0.90";

/// Where all this is measured.
pub(crate) struct Arena<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) keys: &'a Arc<[Key]>,
    pub(crate) cores: &'a Cores,
    pub(crate) scratch: &'a Path,
    pub(crate) chosen: &'a Chosen,
}

/// Stead's doors in a list of places: each with the bare server behind it. Verification is always there.
struct Doors {
    forward_auth: bool,
}

const VERIFY: usize = 0;
const FORWARD_AUTH: usize = 2;

impl Arena<'_> {
    pub(crate) async fn measure(&self, report: &mut Report) -> Result<()> {
        let beside: Vec<_> = beside::ALL.iter().filter(|comparator| self.chosen.has(comparator.word)).collect();
        if !beside.is_empty() || self.chosen.has_any(&["verification", "forward-auth", "latency"]) {
            self.on_one_half(&beside, report).await?;
        }
        if self.chosen.has("quiet") {
            self.without_a_log(report).await?;
        }
        if self.chosen.has("shared") {
            self.on_shared_cores(report).await?;
        }
        Ok(())
    }

    /// Server and load have a half of the cores each.
    async fn on_one_half(&self, beside: &[&Comparator], report: &mut Report) -> Result<()> {
        let _apart = self.cores.keep_load_apart()?;
        let half = self.cores.of_the_server();
        let server = self.launch.start_on(half.as_deref(), Log::File)?;
        let (mut places, doors) = self.doors(&server, half.as_deref()).await?;
        let cores = count(half.as_deref());
        let setting = Setting { scratch: self.scratch, cores: half.as_deref(), workers: cores, keys: self.keys };
        let mut missing = Vec::new();
        let mut present = Vec::new();
        for comparator in beside {
            match comparator.start(&setting).await {
                Ok(contender) => {
                    present.push((places.len(), *comparator));
                    places.push(Place::of(contender));
                }
                Err(why) => missing.push((*comparator, why)),
            }
        }
        let mut left = run(&mut places, ROUNDS).await;
        // Without Stead or its yardstick there is nothing to tell.
        if let Some(at) = left.iter().position(|(at, _)| *at < present.first().map_or(places.len(), |first| first.0)) {
            return Err(left.swap_remove(at).1);
        }

        doors.tell(&places, "on one half of the cores, log to a file", cores, report);
        for (at, comparator) in present {
            if let Some(gone) = left.iter().position(|(gone, _)| *gone == at) {
                missing.push((comparator, left.swap_remove(gone).1));
                continue;
            }
            let what = "Verifications/s, on one half of the cores";
            Rows { what, goal: comparator.goal, cores }.tell(&places[VERIFY], &places[at], report);
        }
        for (comparator, why) in missing {
            let what = format!("Verifications/s, on one half of the cores (beside it: {})", comparator.name);
            report.row(&what, NONE.into(), format!("not there: {why:#}"), NONE.into(), comparator.goal);
        }
        if self.chosen.has("latency") {
            latency::at_half(&places[VERIFY], &places[VERIFY + 1], report).await?;
            if doors.forward_auth {
                latency::at_half(&places[FORWARD_AUTH], &places[FORWARD_AUTH + 1], report).await?;
            }
        }
        Ok(())
    }

    async fn without_a_log(&self, report: &mut Report) -> Result<()> {
        let _apart = self.cores.keep_load_apart()?;
        let half = self.cores.of_the_server();
        let server = self.launch.start_on(half.as_deref(), Log::Nowhere)?;
        let Pair { stead, bare } = stead::verify(self.launch, &server, half.as_deref(), self.keys).await?;
        let mut places = [Place::of(stead), Place::of(bare)];
        all_stay(run(&mut places, FEWER).await)?;
        let what = "Verifications/s, on one half of the cores, log to /dev/null";
        Rows { what, goal: GOAL, cores: count(half.as_deref()) }.tell(&places[0], &places[1], report);
        Ok(())
    }

    async fn on_shared_cores(&self, report: &mut Report) -> Result<()> {
        let server = self.launch.start(Log::File)?;
        let (mut places, doors) = self.doors(&server, None).await?;
        all_stay(run(&mut places, FEWER).await)?;
        doors.tell(&places, "shared cores, log to a file", self.cores.count(), report);
        let rows = Rows { what: "", goal: NONE, cores: self.cores.count() };
        rows.tell_capacity("verifications", &places[VERIFY], &places[VERIFY + 1], report);
        if doors.forward_auth {
            rows.tell_capacity("forward-auth", &places[FORWARD_AUTH], &places[FORWARD_AUTH + 1], report);
        }
        Ok(())
    }

    async fn doors(&self, server: &Process, cores: Option<&str>) -> Result<(Vec<Place>, Doors)> {
        let Pair { stead, bare } = stead::verify(self.launch, server, cores, self.keys).await?;
        let mut places = vec![Place::of(stead), Place::of(bare)];
        let forward_auth = stead::forward_auth(server, cores, self.keys).await?;
        let doors = Doors { forward_auth: forward_auth.is_some() };
        if let Some(Pair { stead, bare }) = forward_auth {
            places.extend([Place::of(stead), Place::of(bare)]);
        }
        Ok((places, doors))
    }
}

impl Doors {
    fn tell(&self, places: &[Place], how: &str, cores: usize, report: &mut Report) {
        let what = format!("Verifications/s, {how}");
        Rows { what: &what, goal: GOAL, cores }.tell(&places[VERIFY], &places[VERIFY + 1], report);
        let what = format!("Forward-auth/s, {how}");
        if self.forward_auth {
            Rows { what: &what, goal: GOAL, cores }.tell(&places[FORWARD_AUTH], &places[FORWARD_AUTH + 1], report);
        } else {
            report.row(&what, "not served".into(), NONE.into(), NONE.into(), GOAL);
        }
    }
}

fn all_stay(left: Vec<(usize, anyhow::Error)>) -> Result<()> {
    left.into_iter().next().map_or(Ok(()), |(_, why)| Err(why))
}

fn count(half: Option<&str>) -> usize {
    half.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |list| list.split(',').count())
}
