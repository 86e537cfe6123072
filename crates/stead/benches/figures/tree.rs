//! A process and all that it has started: PostgreSQL has a process for each connection, and whoever wants all cores
//! of Python or Node has a process for each of those.

use crate::machine::pin;
use anyhow::{Context, Result};
use std::fs;

/// Linux counts processor time in ticks of 10 ms towards user space, whatever the kernel's own clock.
const TICK_MICROS: f64 = 10_000.0;

/// Named by the id of the process at its root.
#[derive(Clone, Copy)]
pub(crate) struct Tree(pub(crate) u32);

impl Tree {
    /// The root's id first.
    pub(crate) fn ids(self) -> Vec<u32> {
        let mut ids = vec![self.0];
        let mut at = 0;
        while let Some(id) = ids.get(at) {
            // Those of all its threads: any thread may have started the child.
            let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
            let children: Vec<_> = threads
                .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok())
                .flat_map(|list| list.split_whitespace().filter_map(|id| id.parse().ok()).collect::<Vec<u32>>())
                .collect();
            ids.extend(children);
            at += 1;
        }
        ids
    }

    /// The processor time that those alive have taken so far, in microseconds, their own and the kernel's for them.
    pub(crate) fn cpu_micros(self) -> Result<f64> {
        let taken = |id: &u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // The name, in parentheses, may hold blanks. After it, user time is the twelfth column, system time next.
            let (_, rest) = stat.rsplit_once(')')?;
            let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|column| column.parse::<f64>().ok());
            Some(ticks.sum::<f64>() * TICK_MICROS)
        };
        taken(&self.0).context("a server has ended too early")?;
        Ok(self.ids().iter().filter_map(taken).sum())
    }

    /// Keeps those alive to some cores, and with them all that they start from now on.
    pub(crate) fn keep_to(self, cores: &str) -> Result<()> {
        self.ids().into_iter().try_for_each(|id| pin(id, cores))
    }
}
