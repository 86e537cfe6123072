//! From the start of the process to ready, and the memory it then has.

use crate::process::{Launch, Log};
use crate::report::{NONE, Report, mebibytes, millis, whole};
use anyhow::Result;
use std::path::Path;
use std::time::Duration;

const EMPTY_STORES: usize = 7;
const FILLED_STARTS: usize = 5;
/// The time a server has to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(500);

/// First and second starts, each pair on a data directory of its own.
pub(crate) fn of_an_empty_store(scratch: &Path, report: &mut Report) -> Result<()> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..EMPTY_STORES {
        let launch = Launch::new(scratch, &format!("empty-{number}"));
        let server = launch.start(Log::File)?;
        first.push(server.ready_after);
        server.stop()?;
        let server = launch.start(Log::File)?;
        second.push(server.ready_after);
        server.stop()?;
    }
    report.row("Ready, first start (makes the store)", millis(first), NONE.into(), NONE.into(), "≤ 1 s");
    report.row("Ready, second start", millis(second), NONE.into(), NONE.into(), NONE);
    Ok(())
}

/// Starts on the filled store; the memory is that of the last, beside a server with an empty store.
pub(crate) fn of_a_filled_store(launch: &Launch, keys: usize, scratch: &Path, report: &mut Report) -> Result<()> {
    let empty = Launch::new(scratch, "empty").start(Log::File)?;
    let mut times = Vec::new();
    let mut memory = 0.0;
    for _ in 0..FILLED_STARTS {
        let server = launch.start(Log::File)?;
        times.push(server.ready_after);
        std::thread::sleep(REST);
        memory = server.resident()?;
        server.stop()?;
    }
    let without_keys = empty.resident()?;
    let each = (memory - without_keys) / keys as f64;
    let keys = whole(keys as f64);
    let goal = "≤ 1 s at 100,000, ≤ 10 s at 10 M";
    report.row(&format!("Ready at {keys} keys"), millis(times), NONE.into(), NONE.into(), goal);
    report.row(
        &format!("Memory at {keys} keys (beside it: no keys)"),
        mebibytes(memory),
        mebibytes(without_keys),
        format!("{each:.0} bytes a key"),
        "≤ 160 bytes a key at 10 M",
    );
    Ok(())
}
