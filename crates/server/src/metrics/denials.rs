//! Denials in the log: one line with their numbers, and nothing of the keys, which may be nobody's. Who wants to know
//! more asks `GET /v1/decisions`.

use super::{CODES, Metrics, Via, name};
use crate::app::App;
use std::fmt::Write;
use stead_api::verify::DecisionCode;

/// How many denials of each code the log has been told of.
#[derive(Default)]
pub struct Told([u64; CODES.len()]);

/// Tells the log of the denials since the last time; no line if there were none. The gate's own are left out: those are
/// requests to Stead, which have a line each.
pub fn tell(app: &App, told: &mut Told) {
    let (mut count, mut codes) = (0, String::new());
    for code in CODES.into_iter().filter(|code| *code != DecisionCode::Valid) {
        let now = denied(&app.metrics, code);
        let new = now - std::mem::replace(&mut told.0[code as usize], now);
        if new > 0 {
            count += new;
            // Writing to a string can't fail.
            let _: std::fmt::Result = write!(codes, "{}{}={new}", if codes.is_empty() { "" } else { " " }, name(code));
        }
    }
    if count > 0 {
        tracing::info!(count, codes, "denied");
    }
}

fn denied(metrics: &Metrics, code: DecisionCode) -> u64 {
    Via::ALL.into_iter().filter(|via| *via != Via::Management).map(|via| metrics.decisions(via, code)).sum()
}
