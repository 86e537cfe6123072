//! The real executable, run as an operator runs it: started, watched, stopped, killed and started again.
//!
//! Nothing here waits by sleeping. A server is ready when it says so, and gone when its standard output closes.

use std::{
    ffi::OsStr,
    fs,
    hash::{BuildHasher, RandomState},
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// What the server prints before its address once it takes requests.
const READY: &str = "Stead is ready at ";

/// Far more than a start or a stop takes on the slowest machine; reached only when something is broken.
const PATIENCE: Duration = Duration::from_mins(1);

/// What comes before the random part of each key. The default of the setting, which no test here changes.
const SECRET_PREFIX: &[u8] = b"stead_";

/// A run of this many characters after the prefix is a secret and not a word of the log.
const SECRET_MIN_TAIL: usize = 40;

/// Which of the two engines keeps the data.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Store {
    /// The embedded default, in the server's data directory.
    Sqlite,
    /// A schema of its own in the database that `STEAD_TEST_POSTGRES` names.
    Postgres,
}

/// How a server is started.
#[derive(Debug)]
pub(crate) struct Options {
    /// The engine.
    pub(crate) store: Store,
    /// Where the data lie; a fresh directory, removed with the server, when absent.
    pub(crate) data_dir: Option<PathBuf>,
    /// Further settings, as environment variables.
    pub(crate) settings: Vec<(String, String)>,
}

impl Options {
    /// The defaults on the given engine.
    pub(crate) fn on(store: Store) -> Self {
        Self { store, data_dir: None, settings: Vec::new() }
    }
}

/// A running server. Dropping it kills the process and, when the test failed, shows what the server had printed.
pub(crate) struct Server {
    launch: Launch,
    process: Option<Process>,
    base_url: String,
    output: Output,
    http: Client,
}

impl Server {
    /// Starts the executable and returns once it has said that it is ready.
    pub(crate) fn start(options: Options) -> Self {
        let launch = Launch::new(options);
        let output = Output::default();
        let (process, base_url) = launch.run(&output);
        let http = http_client();
        Self { launch, process: Some(process), base_url, output, http }
    }

    /// Starts the executable again on the same data, at a new address. A server that still runs is killed first.
    pub(crate) fn restart(&mut self) {
        self.sigkill();
        let (process, base_url) = self.launch.run(&self.output);
        self.process = Some(process);
        self.base_url = base_url;
    }

    /// Ends the process at once, as a crash does. Does nothing to one that has ended already.
    pub(crate) fn sigkill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Fails only when the process is gone already, which is what is wanted.
            drop(process.child.kill());
            process.wait();
        }
    }

    /// Asks the process to end, as a service manager does, and waits until it has drained and flushed.
    pub(crate) fn sigterm_and_wait(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the server runs");
        signal(process.child.id(), "TERM");
        if let Err(RecvTimeoutError::Timeout) = process.stdout_lines.recv_timeout(PATIENCE) {
            drop(process.child.kill());
            panic!("the server did not stop within {PATIENCE:?} of SIGTERM\n{}", self.output());
        }
        process.wait()
    }

    /// `http://127.0.0.1:<port>`; another after each restart.
    pub(crate) fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The secret of the owner's key.
    pub(crate) fn admin_key(&self) -> &str {
        &self.launch.admin_key
    }

    /// Runs another command of the executable, with the server's settings, beside it or while it is stopped.
    pub(crate) fn tool(&self, arguments: &[&str]) -> std::process::Output {
        let launch = &self.launch;
        Command::new(env!("CARGO_BIN_EXE_stead"))
            .args(arguments)
            .args([OsStr::new("--data-dir"), launch.data_dir.as_os_str()])
            .current_dir(launch.scratch.path())
            .env_clear()
            .envs(launch.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .expect("the stead executable starts")
    }

    /// Where the server keeps its database and pepper.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.launch.data_dir
    }

    /// All that the process has printed on both channels since the first start.
    pub(crate) fn output(&self) -> String {
        String::from_utf8_lossy(&self.output.bytes()).into_owned()
    }

    /// One call as the owner; the answer's status and its body, which is `null` when it is no JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> (StatusCode, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.base_url)).header("xi-api-key", self.admin_key());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        (status, answer.json().await.unwrap_or(Value::Null))
    }

    /// A call as the owner that has to succeed.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path} was answered {status}: {answer}");
        answer
    }

    /// Asserts that no key is in anything the server has printed or stored. Stop the server first, so that all is flushed.
    ///
    /// A whole secret may stand in one response, and nowhere else. The owner's key comes from the environment here, so
    /// the one declared exception, the key a first start makes and prints, doesn't apply.
    pub(crate) fn assert_keeps_no_secret(&self) {
        self.assert_no_secret_in(&self.output.bytes(), "the output of the server");
        for file in files_below(self.data_dir()) {
            let bytes = fs::read(&file).expect("a readable file");
            self.assert_no_secret_in(&bytes, &file.display().to_string());
        }
    }

    fn assert_no_secret_in(&self, bytes: &[u8], place: &str) {
        assert!(!contains(bytes, self.admin_key().as_bytes()), "the owner's key is in {place}");
        assert!(!contains_issued_secret(bytes), "a secret is in {place}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.sigkill();
        if thread::panicking() {
            eprintln!("---- what the server printed ----\n{}", self.output());
        }
    }
}

/// All that is needed to start the same server once more.
struct Launch {
    data_dir: PathBuf,
    admin_key: String,
    settings: Vec<(String, String)>,
    /// The working directory, and the parent of the data when the test named no place for them.
    scratch: TempDir,
}

impl Launch {
    fn new(options: Options) -> Self {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let data_dir = options.data_dir.unwrap_or_else(|| scratch.path().join("data"));
        let mut settings = options.settings;
        if let Store::Postgres = options.store {
            settings.push(("STEAD_DATABASE_URL".to_owned(), postgres_url()));
        }
        // Not of the issued form: a key out of the environment is a foreign form, and must do all the same.
        Self { data_dir, admin_key: format!("owner-of-the-test-{}", random_hex()), settings, scratch }
    }

    /// Starts the process and waits for its address. The environment is empty but for what is set here, so that a
    /// developer's own settings can't change what is tested.
    fn run(&self, output: &Output) -> (Process, String) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stead"))
            .args([OsStr::new("serve"), OsStr::new("--listen"), OsStr::new("127.0.0.1:0")])
            .args([OsStr::new("--data-dir"), self.data_dir.as_os_str()])
            .current_dir(self.scratch.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("RUST_BACKTRACE", "1")
            .env("STEAD_ADMIN_API_KEY", &self.admin_key)
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the stead executable starts");

        let (tell, stdout_lines) = mpsc::channel();
        let readers = [
            read_lines(child.stdout.take().expect("piped"), output.clone(), Some(tell)),
            read_lines(child.stderr.take().expect("piped"), output.clone(), None),
        ];
        let mut process = Process { child, stdout_lines, readers };
        match process.stdout_lines.recv_timeout(PATIENCE) {
            Ok(base_url) => (process, base_url),
            Err(failure) => {
                drop(process.child.kill());
                let status = process.wait();
                let printed = String::from_utf8_lossy(&output.bytes()).into_owned();
                panic!("the server did not get ready ({failure}, {status})\n{printed}");
            }
        }
    }
}

/// A child process and the two threads that read what it prints.
struct Process {
    child: Child,
    /// Carries the address, and is closed when the process closes its standard output.
    stdout_lines: Receiver<String>,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Waits for the end of a process that is ending, and for its last words.
    fn wait(mut self) -> ExitStatus {
        let status = self.child.wait().expect("a child can be waited for");
        for reader in self.readers {
            reader.join().expect("a reader thread ends with its stream");
        }
        status
    }
}

/// No proxy of the environment stands between test and server. No connection is kept: while a test waits for a script it
/// doesn't see that the server has closed one, and its next call would go into the void.
fn http_client() -> Client {
    Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("an HTTP client")
}

/// What both streams said, in the order in which it came.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn push(&self, line: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(line);
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn read_lines(stream: impl Read + Send + 'static, output: Output, ready: Option<Sender<String>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            output.push(&line);
            if let (Some(ready), Some(base_url)) = (&ready, ready_address(&line)) {
                // Nobody listens any more when the test has ended before its server.
                drop(ready.send(base_url));
            }
            line.clear();
        }
    })
}

fn ready_address(line: &[u8]) -> Option<String> {
    let rest = std::str::from_utf8(line).ok()?.strip_prefix(READY)?;
    rest.split_whitespace().next().map(|address| address.trim_end_matches('/').to_owned())
}

/// Sends a signal by its name. Through the shell's own `kill`: the standard library knows only SIGKILL, and the lints
/// forbid the unsafe call.
pub(crate) fn signal(pid: u32, name: &str) {
    let script = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status().expect("a shell");
    assert!(status.success(), "`{script}` failed");
}

/// A setting of the test run itself. `cargo xtask test` makes them.
pub(crate) fn test_setting(name: &str, what_it_gives: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test`, which {what_it_gives}"))
}

/// A schema for one server, so that tests don't meet in one database. The server creates it.
fn postgres_url() -> String {
    let server = test_setting("STEAD_TEST_POSTGRES", "starts PostgreSQL");
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}schema=stead_test_{}", random_hex())
}

/// 32 hexadecimal digits that no other run has. The standard library seeds each `RandomState` from the system.
fn random_hex() -> String {
    let half = || RandomState::new().hash_one("stead");
    format!("{:016x}{:016x}", half(), half())
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("a readable directory") {
        let entry = entry.expect("a readable entry");
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() {
            files.extend(files_below(&entry.path()));
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn contains_issued_secret(bytes: &[u8]) -> bool {
    bytes.windows(SECRET_PREFIX.len()).enumerate().any(|(start, window)| {
        let tail = &bytes[start + window.len()..];
        window == SECRET_PREFIX
            && tail.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count() >= SECRET_MIN_TAIL
    })
}
