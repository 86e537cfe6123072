//! The server as a child process: start, freeze, kill, stop, doctor.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// After this a wait is a hang, and a hang must fail the run and not block it. No promise is measured by it.
const HANG: Duration = Duration::from_mins(1);

const READY: &str = "Stead is ready at ";

/// How one server is started, again and again, on the same data.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) data_dir: PathBuf,
    /// `None` leaves the server its default: `stead.db` in the data directory, `synchronous=FULL`.
    pub(crate) database_url: Option<String>,
    pub(crate) admin_key: String,
    /// Where standard error goes. Beside the data directory: it must outlive a power cut.
    pub(crate) log: PathBuf,
}

impl Launch {
    /// Starts the server and returns when it says that it is ready.
    pub(crate) fn start(&self) -> Result<Server, String> {
        let since = Instant::now();
        let child = self
            .command()
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&self.data_dir)
            .stdout(Stdio::piped())
            .stderr(self.log_file())
            .spawn()
            .map_err(|error| format!("the server can't be started: {error}"))?;
        let mut server = Server { child, base: String::new(), ready_after: Duration::ZERO };
        let stdout = server.child.stdout.take().expect("standard output is piped");
        match watch_for_ready(stdout).recv_timeout(HANG) {
            Ok(base) => {
                server.base = base;
                server.ready_after = since.elapsed();
                Ok(server)
            }
            Err(_) => Err(format!("the server did not become ready; its last words:\n{}", self.last_words())),
        }
    }

    /// `stead doctor` on the stopped server's data: the database, the row MACs, the audit chain.
    pub(crate) fn doctor(&self) -> Result<(), String> {
        let output = self
            .command()
            .args(["doctor", "--data-dir"])
            .arg(&self.data_dir)
            .output()
            .map_err(|error| format!("the doctor can't be started: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(format!("doctor: {}\n{told}\n{complained}", output.status))
    }

    /// Only the settings given here reach the server, whatever the machine's environment has.
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stead"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEAD_") {
                command.env_remove(name);
            }
        }
        command.env("STEAD_ADMIN_API_KEY", &self.admin_key);
        if let Some(url) = &self.database_url {
            command.env("STEAD_DATABASE_URL", url);
        }
        command.stdin(Stdio::null());
        command
    }

    fn log_file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(&self.log).expect("the log beside the data can be written")
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

/// Sends the address when the ready line comes, and goes on reading so that the server never blocks on a full
/// pipe. A server that ends first closes the channel.
fn watch_for_ready(stdout: ChildStdout) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut sender = Some(sender);
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let address = line.split_once(READY).map(|(_, address)| address.trim().to_owned());
            if let Some(address) = address
                && let Some(sender) = sender.take()
            {
                // Nobody listens any more when the start was given up.
                sender.send(address).ok();
            }
        }
    });
    receiver
}

/// A running server. Dropped, it is killed: no test leaves one behind.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    base: String,
    ready_after: Duration,
}

impl Server {
    /// `http://127.0.0.1:PORT`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// From the start of the process to its ready line.
    pub(crate) fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGSTOP, and no thread runs any more when this returns. Without it the process would go on answering
    /// between the power cut and its death, and answers given after the cut prove nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let since = Instant::now();
        while !all_threads_stopped(self.child.id()) {
            assert!(since.elapsed() < HANG, "the server does not stop on SIGSTOP");
            thread::yield_now();
        }
    }

    /// SIGTERM, and the exit status once it has drained.
    pub(crate) fn terminate(mut self) -> Result<ExitStatus, String> {
        self.signal("TERM");
        let since = Instant::now();
        while since.elapsed() < HANG {
            if let Some(status) = self.child.try_wait().map_err(|error| error.to_string())? {
                return Ok(status);
            }
            // The standard library can wait for a child, or wait for so long, not both.
            thread::sleep(Duration::from_millis(5));
        }
        Err("the server does not end on SIGTERM".to_owned())
    }

    /// By way of the shell, since a signal is `unsafe` code in Rust, which the workspace forbids.
    fn signal(&self, name: &str) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -s {name} {}", self.child.id())).status();
        assert!(status.is_ok_and(|status| status.success()), "SIG{name} can't be sent");
    }

    fn end(&mut self) {
        // Both fail only for a child that is gone already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn all_threads_stopped(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    tasks.filter_map(Result::ok).all(|task| is_stopped(&task.path()))
}

/// The state is the first field after the name, which is in parentheses and may hold anything.
fn is_stopped(task: &Path) -> bool {
    let Ok(stat) = fs::read_to_string(task.join("stat")) else {
        return true;
    };
    let state = stat.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| state.starts_with(['T', 'Z', 'X']))
}
