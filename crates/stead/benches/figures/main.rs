//! `cargo xtask bench`: the figures of DESIGN §8 that exist so far, each beside its yardstick in the same run.
//! Prints one table and writes it to `docs/benchmarks.md`; no figure fails the run. Reading order:
//!
//! - [`machine`]: what it ran on, and which of its cores do what
//! - [`process`]: a server as a child process
//! - [`wire`]: HTTP/1.1 over a bare connection
//! - [`starts`]: from the start of the process to ready, and memory
//! - [`creation`], [`engine`]: durable writes, and the engine's own rate
//! - [`verification`], [`bare`]: questions a second, and the bare server beside it
//! - [`report`]: the table

#![allow(clippy::print_stdout, reason = "a table on standard output is what this program is for")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded to three digits anyway")]

mod bare;
mod creation;
mod engine;
mod machine;
mod process;
mod report;
mod starts;
mod verification;
mod wire;

use anyhow::{Context, Result};
use creation::Filling;
use machine::Cores;
use process::{Launch, Log};
use report::Report;
use std::time::Duration;

/// As in the server, so that neither side of a pair has the better allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The whole run ends within this, with an error if need be. It takes about half.
const LONGEST: Duration = Duration::from_mins(6);

fn main() -> Result<()> {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    if asked(bare::MODE) {
        return bare::serve();
    }
    if asked("--bench") {
        return figures();
    }
    // `cargo test --all-targets` runs benchmarks too, and has no use for figures of a debug build.
    println!("figures: run with `cargo xtask bench`");
    Ok(())
}

fn figures() -> Result<()> {
    let cores = Cores::split();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores.for_load()).enable_all().build()?;
    let report = runtime.block_on(async {
        // Dropping what is under way kills the servers and removes the directory.
        tokio::time::timeout(LONGEST, measure(&cores)).await.context("the benchmark took too long")?
    })?;
    let text = report.markdown();
    println!("{text}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");
    std::fs::write(file, text).context("docs/benchmarks.md can't be written")
}

async fn measure(cores: &Cores) -> Result<Report> {
    // Beside the build and not in the system's directory, which may be in memory, where a flush costs nothing.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::new(machine::describe(scratch.path(), cores));
    starts::of_an_empty_store(scratch.path(), &mut report)?;

    let launch = Launch::new(scratch.path(), "filled");
    let mut filling = Filling::default();
    filling.beside_the_engine(&launch, scratch.path(), &mut report).await?;
    filling.fill_up(&launch, scratch.path(), &mut report).await?;

    starts::of_a_filled_store(&launch, filling.secrets.len(), scratch.path(), &mut report)?;
    for (log, cores, pairs) in [(Log::File, Some(cores), 10), (Log::Nowhere, Some(cores), 10), (Log::File, None, 10)] {
        verification::pairs(&launch, log, cores, pairs, &filling.secrets, &mut report).await?;
    }
    Ok(report)
}
