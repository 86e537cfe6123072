//! What the figures were taken on. A ratio means something anywhere; a rate only beside its machine.

use anyhow::{Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// The machine's cores in two halves, so that the load takes nothing from the server it measures.
pub(crate) struct Cores {
    all: Vec<usize>,
    /// Without `taskset`, or with one core, everything runs everywhere.
    can_pin: bool,
}

impl Cores {
    pub(crate) fn split() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let all = field(&status, "Cpus_allowed_list:").map(|list| parse_list(&list)).unwrap_or_default();
        let can_pin = all.len() > 1 && Command::new("taskset").arg("--version").output().is_ok();
        Self { all, can_pin }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len().max(1)
    }

    /// How many threads the load generator has.
    pub(crate) fn for_load(&self) -> usize {
        (self.all.len() / 2).max(1)
    }

    /// The server's half, for `taskset`; nothing if it can't be kept to one.
    pub(crate) fn of_the_server(&self) -> Option<String> {
        self.can_pin.then(|| list(&self.all[self.for_load()..]))
    }

    /// Keeps this process to the load's half until the guard is dropped.
    pub(crate) fn keep_load_apart(&self) -> Result<Option<Apart>> {
        if !self.can_pin {
            return Ok(None);
        }
        pin_self(&list(&self.all[..self.for_load()]))?;
        Ok(Some(Apart { all: list(&self.all) }))
    }
}

/// While it lives, this process keeps to its half.
pub(crate) struct Apart {
    all: String,
}

impl Drop for Apart {
    fn drop(&mut self) {
        if let Err(error) = pin_self(&self.all) {
            eprintln!("figures: {error}: what follows runs on half of the cores");
        }
    }
}

fn pin_self(cores: &str) -> Result<()> {
    pin(std::process::id(), cores)
}

/// From outside, thread by thread: asking the kernel directly is `unsafe` code in Rust.
pub(crate) fn pin(pid: u32, cores: &str) -> Result<()> {
    let pid = pid.to_string();
    let output = Command::new("taskset").args(["--all-tasks", "--pid", "--cpu-list", cores, &pid]).output()?;
    ensure!(output.status.success(), "taskset failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn list(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// `0-2,5` as `[0, 1, 2, 5]`.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// One fact a line.
pub(crate) fn describe(directory: &Path, cores: &Cores) -> Vec<(&'static str, String)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let unknown = || "unknown".to_owned();
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown);
    let memory = field(&read("/proc/meminfo"), "MemTotal:")
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(unknown, |kibibytes| format!("{:.1} GiB", kibibytes / 1024.0 / 1024.0));
    let halves = match cores.of_the_server() {
        Some(server) => format!("{}, the server on {server} where it says so", cores.all.len()),
        None => cores.all.len().to_string(),
    };
    vec![
        ("date", today().unwrap_or_else(unknown)),
        ("processor", cpu),
        ("cores", halves),
        ("memory", memory),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("filesystem", filesystem(directory).unwrap_or_else(unknown)),
        ("engine", format!("SQLite {}, WAL, synchronous=FULL", rusqlite::version())),
    ]
}

/// What follows `name` and perhaps a colon, on the first line that begins with it.
pub(crate) fn field(text: &str, name: &str) -> Option<String> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim_start_matches(|c: char| c.is_whitespace() || c == ':').trim_end().to_owned())
}

fn today() -> Option<String> {
    let output = Command::new("date").args(["-u", "+%F"]).output().ok()?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The kind of the filesystem that holds a directory: of the mounts above it, the deepest, and of those the last.
fn filesystem(directory: &Path) -> Option<String> {
    let directory = directory.canonicalize().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = |line: &str| {
        let mut columns = line.split(' ').skip(1);
        let (point, kind) = (columns.next()?, columns.next()?);
        directory.starts_with(point).then(|| (point.len(), kind.to_owned()))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}
