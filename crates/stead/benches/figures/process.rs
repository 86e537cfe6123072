//! A server as a child process: started, waited for, looked at, and killed when dropped.

use crate::machine::field;
use crate::tree::Tree;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A start or a stop that takes longer is a hang.
const HANG: Duration = Duration::from_secs(30);
/// What both servers print before their address.
pub(crate) const READY: &str = "ready at http://";
/// Between two looks whether a server listens.
const LOOK: Duration = Duration::from_millis(20);

/// Where the server's log goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// To a file beside the data.
    File,
    /// To `/dev/null`.
    Nowhere,
}

impl Log {
    /// As rows of the table call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::File => "log to a file",
            Self::Nowhere => "log to /dev/null",
        }
    }
}

/// How `stead serve` is started, again and again, on the same data.
pub(crate) struct Launch {
    data_dir: PathBuf,
    log: PathBuf,
    pub(crate) admin_key: String,
    /// Variables of its environment.
    settings: Vec<(&'static str, String)>,
}

impl Launch {
    /// A server with a directory of its own below `scratch`.
    pub(crate) fn new(scratch: &Path, name: &str) -> Self {
        Self {
            data_dir: scratch.join(name),
            log: scratch.join(format!("{name}.log")),
            admin_key: random_key(),
            settings: Vec::new(),
        }
    }

    /// With one more setting.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.settings.push((name, value.to_owned()));
        self
    }

    /// A second node: the same settings and another directory.
    pub(crate) fn twin(&self, scratch: &Path, name: &str) -> Self {
        let (admin_key, settings) = (self.admin_key.clone(), self.settings.clone());
        Self { admin_key, settings, ..Self::new(scratch, name) }
    }

    /// Starts the server on all cores.
    pub(crate) fn start(&self, log: Log) -> Result<Process> {
        self.start_on(None, log)
    }

    /// Starts the server on some cores, and waits until it is ready. The environment is empty but for what is set
    /// here, so that the settings of whoever runs this change no figure.
    pub(crate) fn start_on(&self, cores: Option<&str>, log: Log) -> Result<Process> {
        let mut command = on_cores(cores, Path::new(env!("CARGO_BIN_EXE_stead")));
        let log = match log {
            Log::File => Stdio::from(OpenOptions::new().create(true).append(true).open(&self.log)?),
            Log::Nowhere => Stdio::null(),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&self.data_dir);
        keep_path_only(&mut command);
        command
            .env("STEAD_ADMIN_API_KEY", &self.admin_key)
            .env("STEAD_MAX_ACCOUNTS", "300")
            .env("STEAD_MAX_KEYS_PER_ACCOUNT", "1000")
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        Process::start(command.stdin(Stdio::null()).stderr(log))
    }
}

/// A running server.
pub(crate) struct Process {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From just before the process was made to its ready line.
    pub(crate) ready_after: Duration,
}

impl Process {
    /// Starts a command and waits until it prints that it is ready, and where.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        let since = Instant::now();
        let mut child = command.stdout(Stdio::piped()).spawn().context("a server can't be started")?;
        let ready = child.stdout.take().map(watch_for_ready).context("standard output is piped")?;
        let mut process = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), ready_after: Duration::ZERO };
        let (address, at) = ready.recv_timeout(HANG).context("a server did not become ready")?;
        process.address = address.parse().context("the ready line names an address")?;
        process.ready_after = at - since;
        Ok(process)
    }

    /// Starts a command that prints nothing of use, and waits until something listens at the address.
    pub(crate) fn start_at(command: &mut Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let since = Instant::now();
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{} can't be started", command.get_program().display()))?;
        let mut process = Self { child, address, ready_after: Duration::ZERO };
        while TcpStream::connect(address).is_err() {
            let ended = process.child.try_wait()?.is_some();
            if ended || since.elapsed() > HANG {
                bail!("it does not listen; its last words: {}", last_words(log));
            }
            thread::sleep(LOOK);
        }
        process.ready_after = since.elapsed();
        Ok(process)
    }

    /// It and the processes it has started.
    pub(crate) fn tree(&self) -> Tree {
        Tree(self.child.id())
    }

    /// Asks it to end, and waits until it has drained and flushed.
    pub(crate) fn stop(mut self) -> Result<()> {
        // By way of the shell, since sending a signal is `unsafe` code in Rust.
        let status = Command::new("sh").arg("-c").arg(format!("kill -s TERM {}", self.child.id())).status()?;
        ensure!(status.success(), "SIGTERM can't be sent");
        let since = Instant::now();
        while since.elapsed() < HANG {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        bail!("a server does not end on SIGTERM")
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> Result<f64> {
        let status = self.proc_file("status")?;
        let kibibytes = field(&status, "VmRSS:").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
        Ok(kibibytes.context("VmRSS is in /proc")? * 1024.0)
    }

    fn proc_file(&self, name: &str) -> Result<String> {
        fs::read_to_string(format!("/proc/{}/{name}", self.child.id())).context("a server has ended too early")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let all = self.tree().ids();
        // Both fail only for a child that has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        // Workers that it started would stay behind.
        for id in all.into_iter().filter(|id| *id != self.child.id()) {
            Command::new("sh").arg("-c").arg(format!("kill -s KILL {id} 2>/dev/null")).status().ok();
        }
    }
}

/// A command that is kept to some cores. `taskset` becomes the program, so the process keeps its id.
pub(crate) fn on_cores(cores: Option<&str>, program: &Path) -> Command {
    match cores {
        None => Command::new(program),
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", cores]).arg(program);
            command
        }
    }
}

/// A port of this machine that nobody had a moment ago.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Runs a command to its end; if it fails, the error has its last words.
pub(crate) fn run(command: &mut Command, log: &Path) -> Result<()> {
    let output = File::create(log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let status = command.status().with_context(|| format!("{} can't be started", command.get_program().display()))?;
    ensure!(status.success(), "{} failed: {}", command.get_program().display(), last_words(log));
    Ok(())
}

/// The end of a log, on one line, so that it fits into a row of the table.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" / ")
}

fn keep_path_only(command: &mut Command) {
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
}

/// Sends the address and the instant when the ready line comes, and goes on reading, so that the server never blocks
/// on a full pipe. A server that ends first closes the channel.
fn watch_for_ready(stdout: ChildStdout) -> mpsc::Receiver<(String, Instant)> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some((_, address)) = line.split_once(READY) {
                // Nobody listens any more if the start was given up.
                sender.send((address.trim().to_owned(), Instant::now())).ok();
            }
        }
    });
    receiver
}

/// A key nobody else has. Not of the issued form: a key from the environment is foreign, and must do all the same.
fn random_key() -> String {
    let mut bytes = [0; 16];
    let read = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.expect("the kernel gives random bytes");
    format!("owner-of-figures-{:032x}", u128::from_le_bytes(bytes))
}
