//! Turns of all contenders, one after the other, round after round: what disturbs one disturbs the next one, too.

use crate::contender::Contender;
use crate::load::{Turn, turn};
use crate::report::{NONE, Report, median, spread, whole};
use std::time::Duration;

const TURN: Duration = Duration::from_millis(1500);
/// Before the first turn: connections, caches and the allocator's pages are there then.
const WARM_UP: Duration = Duration::from_millis(500);

/// A contender and what its turns showed.
pub(crate) struct Place {
    pub(crate) contender: Contender,
    pub(crate) turns: Vec<Turn>,
}

impl Place {
    pub(crate) fn of(contender: Contender) -> Self {
        Self { contender, turns: Vec::new() }
    }

    /// The middle one of a figure of its turns.
    pub(crate) fn middle(&self, of: fn(&Turn) -> f64) -> f64 {
        median(self.turns.iter().map(of))
    }
}

/// Rounds of turns of all; who fails in one leaves, and the reason is given back with its place in the list.
pub(crate) async fn run(places: &mut [Place], count: usize) -> Vec<(usize, anyhow::Error)> {
    let mut left: Vec<(usize, anyhow::Error)> = Vec::new();
    for round in 0..=count {
        for step in 0..places.len() {
            // Whoever comes second may profit from the first, so the order turns round each time.
            let at = if round % 2 == 0 { step } else { places.len() - 1 - step };
            if left.iter().any(|(gone, _)| *gone == at) {
                continue;
            }
            let place = &mut places[at];
            match turn(&place.contender, if round == 0 { WARM_UP } else { TURN }).await {
                Ok(turn) if round > 0 => place.turns.push(turn),
                Ok(_) => {}
                Err(why) => left.push((at, why)),
            }
        }
    }
    left
}

/// The rows of a pair.
pub(crate) struct Rows<'a> {
    pub(crate) what: &'a str,
    pub(crate) goal: &'a str,
    /// How many cores either server had.
    pub(crate) cores: usize,
}

impl Rows<'_> {
    pub(crate) fn tell(&self, ours: &Place, theirs: &Place, report: &mut Report) {
        let ratios = |of: fn(&Turn) -> f64| -> Vec<f64> {
            ours.turns.iter().zip(&theirs.turns).map(|(ours, theirs)| of(ours) / of(theirs)).collect()
        };
        let rate: fn(&Turn) -> f64 = |turn| turn.per_second;
        report.row(
            &format!("{} (beside it: {})", self.what, theirs.contender.name),
            whole(ours.middle(rate)),
            whole(theirs.middle(rate)),
            spread(&ratios(rate)),
            self.goal,
        );
        let cpu: fn(&Turn) -> f64 = |turn| turn.cpu_micros;
        let micros = |place: &Place| format!("{:.1} µs", place.middle(cpu));
        report.row("… processor time a request", micros(ours), micros(theirs), spread(&ratios(cpu)), NONE);
        let latency = |place: &Place| format!("{:.0} / {:.0} µs", place.middle(|t| t.p50), place.middle(|t| t.p99));
        report.row("… latency p50 / p99 at that load", latency(ours), latency(theirs), NONE.into(), NONE);
        let busy = |place: &Place| format!("{:.0} %", 100.0 * place.middle(|turn| turn.cores_busy) / self.cores as f64);
        report.row("… busy", busy(ours), busy(theirs), NONE.into(), NONE);
    }

    /// What the servers could do with all cores to themselves, if processor time were all.
    pub(crate) fn tell_capacity(&self, of: &str, ours: &Place, theirs: &Place, report: &mut Report) {
        let capacity = |place: &Place| self.cores as f64 * 1e6 / place.middle(|turn| turn.cpu_micros);
        let (ours, theirs) = (capacity(ours), capacity(theirs));
        let what = format!("Estimate: {of}/s that the server's own processor time allows on {} cores", self.cores);
        report.row(&what, whole(ours), whole(theirs), format!("{:.2}", ours / theirs), NONE);
    }
}
