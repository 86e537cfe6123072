//! `cargo xtask bench`: the figures of DESIGN §8 that exist so far, each beside its yardstick in the same run.
//! Prints one table and writes it to `docs/benchmarks.md`; no figure fails the run. Reading order:
//!
//! - [`chosen`]: which figures to take
//! - [`machine`]: what it ran on, and which of its cores do what
//! - [`process`], [`tree`]: a server as a child process, and processor time
//! - [`wire`]: one connection, in three protocols
//! - [`starts`]: from the start of the process to ready, and memory
//! - [`creation`], [`engine`]: durable writes, and the engine's own rate
//! - [`contender`]: whoever answers questions about keys; [`stead`], [`bare`] and [`beside`] are those there are
//! - [`load`], [`rounds`]: how they are asked, and in which order
//! - [`verification`]: who is measured beside whom
//! - [`latency`]: at half load
//! - [`revocation`]: how soon another node sees one
//! - [`growth`]: whether a list grows with what is not in it
//! - [`mirror`]: the decision alone, measured in `crates/verify/benches`
//! - [`report`]: the table; [`method`]: what it says of how the figures are taken

#![allow(clippy::print_stdout, reason = "a table on standard output is what this program is for")]
#![allow(clippy::cast_precision_loss, reason = "figures are rounded to three digits anyway")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts come from rates above zero")]

mod bare;
mod beside;
mod chosen;
mod contender;
mod creation;
mod engine;
mod growth;
mod latency;
mod load;
mod machine;
mod method;
mod mirror;
mod process;
mod report;
mod revocation;
mod rounds;
mod starts;
mod stead;
mod tree;
mod verification;
mod wire;

use anyhow::{Context, Result};
use chosen::Chosen;
use creation::{Filling, MOST_KEYS};
use growth::Growth;
use machine::Cores;
use process::Launch;
use report::Report;
use std::time::Duration;
use verification::Arena;

/// As in the server, so that neither side of a pair has the better allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The whole run ends within this, with an error if need be. It takes about half.
const LONGEST: Duration = Duration::from_mins(15);
/// Where the goals of readiness are set.
const FIRST_KEYS: usize = 100_000;
/// Enough for a part of a run.
const FEWER_KEYS: usize = 10_000;

fn main() -> Result<()> {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    if let Some(mode) = [bare::MODE, bare::CONSTANT_MODE].into_iter().find(|mode| asked(mode)) {
        return bare::serve(mode);
    }
    if asked("--bench") {
        return figures(&Chosen::read(std::env::args().skip(1))?);
    }
    // `cargo test --all-targets` runs benchmarks too, and has no use for figures of a debug build.
    println!("figures: run with `cargo xtask bench`");
    Ok(())
}

fn figures(chosen: &Chosen) -> Result<()> {
    let cores = Cores::split();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(cores.for_load()).enable_all().build()?;
    let report = runtime.block_on(async {
        // Dropping what is under way kills the servers and removes the directory.
        tokio::time::timeout(LONGEST, measure(chosen, &cores)).await.context("the benchmark took too long")?
    })?;
    let text = report.markdown();
    println!("{text}");
    if !chosen.is_all() {
        return Ok(());
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/benchmarks.md");
    std::fs::write(file, text).context("docs/benchmarks.md can't be written")
}

async fn measure(chosen: &Chosen, cores: &Cores) -> Result<Report> {
    // Beside the build and not in the system's directory, which may be in memory, where a flush costs nothing.
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut report = Report::new(machine::describe(scratch.path(), cores));
    if chosen.has("starts") {
        starts::of_an_empty_store(scratch.path(), &mut report)?;
    }
    let launch = Launch::new(scratch.path(), "filled");
    let growth = if chosen.has("growth") { Some(Growth::begin(&launch).await?) } else { None };
    let mut filling = Filling::default();
    filling.make_accounts(&launch).await?;
    if chosen.has("creation") {
        filling.beside_the_engine(&launch, scratch.path(), &mut report).await?;
    }
    let first = if chosen.is_all() { FIRST_KEYS } else { FEWER_KEYS };
    filling.fill_up(first, &launch, scratch.path(), &mut report).await?;
    if chosen.has("starts") {
        starts::of_a_filled_store(&launch, filling.keys.len(), scratch.path(), &mut report)?;
    }
    if chosen.is_all() {
        filling.fill_up(MOST_KEYS, &launch, scratch.path(), &mut report).await?;
    }
    if let Some(growth) = growth {
        growth.tell(&launch, &report::whole(filling.keys.len() as f64), &mut report).await?;
    }
    if chosen.has("revocation") {
        revocation::measure(scratch.path(), &mut report).await?;
    }
    let keys = filling.keys.into();
    let arena = Arena { launch: &launch, keys: &keys, cores, scratch: scratch.path(), chosen };
    arena.measure(&mut report).await?;
    if chosen.has("mirror") {
        mirror::add_rows(&mut report)?;
    }
    Ok(report)
}
