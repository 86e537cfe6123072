//! How long an answer takes while the server is half busy. Questions come by the clock, whether or not the one before
//! is answered, and each latency counts from the instant when its question was due: a stall is felt by all who come
//! during it, as it is by real callers.

use crate::load::{at_rate, per_mille};
use crate::report::{NONE, Report, whole};
use crate::rounds::Place;
use anyhow::Result;
use std::time::Duration;

const TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(3);

/// At half of Stead's highest rate, the same for both.
pub(crate) async fn at_half(ours: &Place, theirs: &Place, report: &mut Report) -> Result<()> {
    let rate = ours.middle(|turn| turn.per_second) / 2.0;
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        of_ours.extend(at_rate(&ours.contender, rate, TURN).await?);
        of_theirs.extend(at_rate(&theirs.contender, rate, TURN).await?);
    }
    let what = format!(
        "{}: latency p50 / p99 / p99.9 at 50 % load, {} a second (beside it: {})",
        ours.contender.name,
        whole(rate),
        theirs.contender.name
    );
    report.row(&what, percentiles(of_ours)?, percentiles(of_theirs)?, NONE.into(), NONE);
    Ok(())
}

fn percentiles(mut latencies: Vec<u32>) -> Result<String> {
    latencies.sort_unstable();
    let at = |thousandths| per_mille(&latencies, thousandths);
    Ok(format!("{:.0} / {:.0} / {:.0} µs", at(500)?, at(990)?, at(999)?))
}
