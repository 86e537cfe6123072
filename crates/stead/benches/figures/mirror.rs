//! The decision without a network: measured by a bench of `stead-verify`, whose rows come in a file.

use crate::report::{NONE, Report};
use anyhow::{Context, Result, bail};
use std::fs;

/// Adds the rows of the file that `cargo xtask bench` has had written.
#[allow(clippy::disallowed_methods, reason = "no setting of Stead, but a word from xtask to this program")]
pub(crate) fn add_rows(report: &mut Report) -> Result<()> {
    let Ok(file) = std::env::var("STEAD_BENCH_MIRROR") else {
        let why = "not there: `cargo xtask bench` would have brought it";
        report.row("Decision in process", why.into(), NONE.into(), NONE.into(), "< 500 ns median at 1 M keys");
        return Ok(());
    };
    let text = fs::read_to_string(&file).context("the rows of the mirror's bench")?;
    for line in text.lines() {
        let columns: Vec<_> = line.split('\t').collect();
        let [what, stead, beside, ratio, goal] = columns[..] else {
            bail!("not a row of the mirror's bench: {line}");
        };
        report.row(what, stead.into(), beside.into(), ratio.into(), goal);
    }
    Ok(())
}
