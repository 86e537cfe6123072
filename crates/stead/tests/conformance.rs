//! What customers already have must work here unchanged: the official SDKs, and the usage examples of the brief.
//!
//! The SDKs are driven by scripts in their own languages (`sdk/`), which do the asserting; this file starts a server for
//! each, and looks at what only the outside can see: that nothing is lost by a restart and no secret is left behind.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::{Options, Server, Store, test_setting};

#[tokio::test]
async fn official_js_sdk_on_sqlite() {
    official_sdk(Store::Sqlite, drive_js_sdk).await;
}

#[tokio::test]
async fn official_js_sdk_on_postgres() {
    official_sdk(Store::Postgres, drive_js_sdk).await;
}

#[tokio::test]
async fn official_python_sdk_on_sqlite() {
    official_sdk(Store::Sqlite, drive_python_sdk).await;
}

#[tokio::test]
async fn official_python_sdk_on_postgres() {
    official_sdk(Store::Postgres, drive_python_sdk).await;
}

/// Runs one SDK's script, then stops the server and starts it again: what the SDK has built must be there as it was, and
/// none of the secrets it was given may be.
async fn official_sdk(store: Store, drive: fn(&Server)) {
    const ACCOUNTS: &str = "/v1/service-accounts";

    let mut server = Server::start(Options::on(store));
    drive(&server);
    let before = server.ask(Method::GET, ACCOUNTS, None).await;

    let status = server.sigterm_and_wait();
    assert!(status.success(), "a stop by SIGTERM is no failure: {status}");
    server.assert_keeps_no_secret();

    server.restart();
    assert_eq!(server.ask(Method::GET, ACCOUNTS, None).await, before);
}

fn drive_js_sdk(server: &Server) {
    let folder = NodeFolder::new();
    folder.write("official.mjs", include_str!("sdk/official.mjs"));
    let finished = folder.run(server, &["official.mjs"], &[]);
    assert!(finished.success, "the JavaScript SDK's script failed\n{}", finished.all());
}

fn drive_python_sdk(server: &Server) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("official.py"), include_str!("sdk/official.py")).expect("the script is written");
    let python = test_setting("STEAD_TEST_PYTHON", "installs the Python SDK");
    let mut command = Command::new(python);
    command.arg("official.py").current_dir(folder.path());
    let finished = finish(&mut command, server, &[]);
    assert!(finished.success, "the Python SDK's script failed\n{}", finished.all());
}

/// Nine of the brief's thirteen examples run on the official SDK as they are written. The other four create a key without
/// `permissions`, which the SDK refuses before anything is sent; the README says so, and this is why it may.
#[tokio::test]
async fn brief_examples_run_verbatim() {
    let path = brief_path();
    let Ok(text) = fs::read_to_string(&path) else {
        // Past the capture of the test runner: a skipped test has to be seen.
        drop(writeln!(io::stderr(), "skipped: brief_examples_run_verbatim, as {} is not here", path.display()));
        return;
    };
    let brief = Brief::cut(&text);
    let scene = Scene::set().await;

    for number in [3, 4, 6, 10] {
        scene.is_refused_by_the_sdk(&brief, number);
    }
    assert_eq!(scene.listed_names().await, EVERY_KEY, "a refused example has changed something");

    scene.lists_accounts(&brief.example(1));
    scene.lists_keys(&brief.example(2));
    scene.finds_expiring_keys(&brief.example(7));
    scene.finds_unused_keys(&brief.example(8));
    scene.audits(&brief.example(9));
    scene.monitors_usage(&brief.example(11));
    scene.exports_an_inventory(&brief.example(13));
    scene.deletes_expired_keys(&brief.example(12)).await;
    scene.revokes_a_key(&brief.example(5)).await;
}

/// Beside the repository, never in it: the brief isn't ours to publish.
fn brief_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/reference/brief-sdk-and-examples.txt")
}

/// The brief's usage examples, and the two lines which its quick reference puts before all of them.
struct Brief {
    quick_reference: String,
    examples: Vec<String>,
}

impl Brief {
    /// Cuts the examples out of the text. They have lost the line breaks between them, so that each first line, a comment,
    /// is glued to the closing line of the example before it (`}// Get …`), and the first example to the interface above it.
    /// Inside an example a comment always stands on a line of its own or after a blank, which tells the two apart.
    fn cut(text: &str) -> Self {
        const IMPORT: &str = "import {";

        let first_example = text.find(&format!("}}{IMPORT}")).expect("an import glued to an interface") + 1;
        let quick_reference: Vec<&str> =
            text[..first_example].lines().skip_while(|line| !line.starts_with(IMPORT)).take(2).collect();

        let mut examples = vec![String::new()];
        for line in text[first_example..].split_inclusive('\n') {
            let (end_of_one, start_of_next) = split_at_glued_comment(line);
            examples.last_mut().expect("never empty").push_str(end_of_one);
            if let Some(start) = start_of_next {
                examples.push(start.to_owned());
            }
        }
        assert_eq!(examples.len(), 13, "the brief has thirteen examples");
        Self { quick_reference: quick_reference.join("\n"), examples }
    }

    /// Counted from one, as on the wire page. Only an example that has no client of its own gets the quick reference's.
    fn example(&self, number: usize) -> String {
        let text = &self.examples[number - 1];
        if text.contains("new ElevenLabsClient(") { text.clone() } else { format!("{}\n{text}", self.quick_reference) }
    }
}

fn split_at_glued_comment(line: &str) -> (&str, Option<&str>) {
    let glued = [";// ", "}// "].iter().find_map(|glue| line.find(glue));
    match glued {
        Some(at) => (&line[..=at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

const ACCOUNT: &str = "Nightly jobs";
const DESCRIPTION: &str = "Keys for the examples";
const PLAIN: &str = "Plain key";
const WEEKLY: &str = "Weekly key";
const USED: &str = "Used key";
const EXPIRED: &str = "Expired key";
const DOOMED: &str = "Doomed key";

/// In the order of the alphabet, as [`Scene::listed_names`] answers.
const EVERY_KEY: [&str; 5] = [DOOMED, EXPIRED, PLAIN, USED, WEEKLY];

const DAY: u64 = 86_400;

/// A workspace in which each example finds what it looks for: one account with a key of each kind.
struct Scene {
    server: Server,
    folder: NodeFolder,
    account: String,
    /// What the placeholders for key ids in the examples stand for.
    doomed: Key,
    expired: Key,
    used: Key,
}

struct Key {
    id: String,
    secret: String,
}

impl Scene {
    async fn set() -> Self {
        let server = Server::start(Options::on(Store::Sqlite));
        let body = json!({ "name": ACCOUNT, "description": DESCRIPTION });
        let answer = server.ask(Method::POST, "/v1/service-accounts", Some(&body)).await;
        let account = text_of(&answer, "service_account_id");

        // First, so that its time runs out while the others are made.
        let soon = unix_now() + 2;
        let expired = create_key(&server, &account, EXPIRED, Some(soon)).await;
        create_key(&server, &account, PLAIN, None).await;
        create_key(&server, &account, WEEKLY, Some(unix_now() + 7 * DAY)).await;
        let used = create_key(&server, &account, USED, None).await;
        let doomed = create_key(&server, &account, DOOMED, None).await;

        assert_eq!(verify(&server, &used).await, "VALID");
        until_expired(&server, &expired, soon).await;
        Self { server, folder: NodeFolder::new(), account, doomed, expired, used }
    }

    /// Runs an example as its reader would, but for the address, the key and the ids, which are bent from outside.
    fn run(&self, example: &str) -> Finished {
        self.folder.write("redirect.mjs", include_str!("sdk/redirect.mjs"));
        // A module by its name: the examples wait at the top level. Types are only erased; see the wire page on checking them.
        self.folder.write("example.mts", example);
        let arguments = ["--import", "tsx", "--import", "./redirect.mjs", "example.mts"];
        let ids = [("STEAD_ACCOUNT_ID", self.account.as_str()), ("STEAD_KEY_ID", self.doomed.id.as_str())];
        self.folder.run(&self.server, &arguments, &ids)
    }

    fn run_well(&self, example: &str) -> Finished {
        let finished = self.run(example);
        assert!(finished.success, "an example of the brief failed\n{example}\n{}", finished.all());
        for nonsense in ["Invalid Date", "undefined", "NaN"] {
            assert!(!finished.stdout.contains(nonsense), "{nonsense} in the output of\n{example}\n{}", finished.all());
        }
        finished
    }

    fn is_refused_by_the_sdk(&self, brief: &Brief, number: usize) {
        let finished = self.run(&brief.example(number));
        assert!(!finished.success, "example {number} runs now: the README can say so\n{}", finished.all());
        assert!(finished.stderr.contains(r#"Missing required key "permissions""#), "{}", finished.all());
        assert!(!finished.stderr.contains("sent "), "example {number} sent a request\n{}", finished.all());
    }

    fn lists_accounts(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says(&format!("{ACCOUNT} ({})", self.account));
        finished.says(&format!(" Description: {DESCRIPTION}"));
        finished.says(" API Keys: 5");
        finished.says_starting_with(" Created: ", 1);
        finished.says_starting_with(" Last Used: ", 1);
    }

    fn lists_keys(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says(&format!("{USED} ({})", self.used.id));
        finished.says(&format!("{EXPIRED} ({})", self.expired.id));
        finished.says_starting_with(" Created: ", 5);
        finished.says_starting_with(" Expires: ", 2);
        finished.says_starting_with(" Last Used: ", 1);
    }

    fn finds_expiring_keys(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says("Keys expiring in next 30 days:");
        finished.says(&format!("⚠️ {WEEKLY}: 7 days remaining"));
        finished.says_starting_with(&format!("⚠️ {EXPIRED}: "), 1);
        finished.says_starting_with("⚠️ ", 2);
    }

    /// The used key is none of them, and the expired one is: being refused is no use.
    fn finds_unused_keys(&self, example: &str) {
        self.run_well(example).says("Found 4 unused keys");
    }

    fn audits(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says(&format!("{ACCOUNT}:"));
        finished.says(" API Keys: 5");
        finished.says(" ⚠️ Expired keys: 1");
        finished.says(" ℹ️ Never used: 4");
    }

    fn monitors_usage(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says_in_a_row(&format!("{USED}:"), " Last used: 0 days ago");
        finished.says_in_a_row(&format!("{PLAIN}:"), " Last used: Never");
    }

    fn exports_an_inventory(&self, example: &str) {
        self.run_well(example).says("Inventory exported to keys_inventory.json");
        let inventory: Value = serde_json::from_str(&self.folder.read("keys_inventory.json")).expect("JSON");
        let entry = |name: &str| {
            let entries = inventory.as_array().expect("a list");
            assert_eq!(entries.len(), EVERY_KEY.len(), "{inventory:#}");
            let found = entries.iter().find(|entry| entry["key_name"] == name);
            found.unwrap_or_else(|| panic!("{name} is not in {inventory:#}")).clone()
        };
        for name in EVERY_KEY {
            assert_eq!(entry(name)["service_account"], ACCOUNT);
            assert!(is_a_time(&entry(name)["created_at"]), "{inventory:#}");
            assert_eq!(is_a_time(&entry(name)["expires_at"]), [EXPIRED, WEEKLY].contains(&name), "{inventory:#}");
            assert_eq!(is_a_time(&entry(name)["last_used"]), name == USED, "{inventory:#}");
        }
        assert_eq!(entry(PLAIN)["expires_at"], "Never");
        assert_eq!(entry(PLAIN)["last_used"], "Never");
    }

    async fn deletes_expired_keys(&self, example: &str) {
        let finished = self.run_well(example);
        finished.says("Found 1 expired keys");
        finished.says(&format!("Deleted expired key: {EXPIRED}"));
        assert_eq!(self.listed_names().await, [DOOMED, PLAIN, USED, WEEKLY]);
        assert_eq!(verify(&self.server, &self.expired).await, "REVOKED");
    }

    async fn revokes_a_key(&self, example: &str) {
        assert_eq!(verify(&self.server, &self.doomed).await, "VALID");
        self.run_well(example).says("API key revoked");
        assert_eq!(self.listed_names().await, [PLAIN, USED, WEEKLY]);
        assert_eq!(verify(&self.server, &self.doomed).await, "REVOKED");
    }

    async fn listed_names(&self) -> Vec<String> {
        let path = format!("/v1/service-accounts/{}/api-keys", self.account);
        let answer = self.server.ask(Method::GET, &path, None).await;
        let keys = answer["api-keys"].as_array().expect("a list of keys");
        let mut names: Vec<String> = keys.iter().map(|key| text_of(key, "name")).collect();
        names.sort();
        names
    }
}

async fn create_key(server: &Server, account: &str, name: &str, expires_at: Option<u64>) -> Key {
    let path = format!("/v1/service-accounts/{account}/api-keys");
    let body = json!({ "name": name, "permissions": "all", "expires_at": expires_at });
    let answer = server.ask(Method::POST, &path, Some(&body)).await;
    Key { id: text_of(&answer, "api_key_id"), secret: text_of(&answer, "api_key") }
}

async fn verify(server: &Server, key: &Key) -> String {
    let question = json!({ "api_key": key.secret });
    text_of(&server.ask(Method::POST, "/v1/api-keys/verify", Some(&question)).await, "code")
}

/// Lets the time of a key run out. It isn't asked about before: an answer of `VALID` would make it a used key.
async fn until_expired(server: &Server, key: &Key, expires_at: u64) {
    const PATIENCE: Duration = Duration::from_secs(10);

    let end = UNIX_EPOCH + Duration::from_secs(expires_at);
    sleep(end.duration_since(SystemTime::now()).unwrap_or_default()).await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let code = verify(server, key).await;
        if code == "EXPIRED" {
            return;
        }
        assert!(Instant::now() < deadline, "the key is {code} {PATIENCE:?} after its end");
        sleep(Duration::from_millis(20)).await;
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

fn text_of(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("no text `{field}` in {value}")).to_owned()
}

/// Whether it looks like what `toISOString` makes. "Never", its alternative in the brief, doesn't.
fn is_a_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 24 && text.ends_with('Z'))
}

/// A directory below the one that holds `node_modules`, where scripts find the packages: ES modules are looked up from the
/// script's own place, and no variable changes that. Removed with its content at the end.
pub(crate) struct NodeFolder(TempDir);

impl NodeFolder {
    pub(crate) fn new() -> Self {
        let packages = test_setting("STEAD_TEST_NODE_DIR", "installs the JavaScript SDK");
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(packages);
        Self(folder.expect("a directory below STEAD_TEST_NODE_DIR"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).expect("the script is written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn run(&self, server: &Server, arguments: &[&str], environment: &[(&str, &str)]) -> Finished {
        let mut command = Command::new("node");
        // The cache of tsx would outlive the run.
        command.args(arguments).current_dir(self.0.path()).env("TSX_DISABLE_CACHE", "1");
        finish(&mut command, server, environment)
    }
}

/// Runs a script to its end. It gets the address and the owner's key by environment, as arguments can be read by everyone
/// on the machine; a hosted key of the developer's own stays out of reach.
pub(crate) fn finish(command: &mut Command, server: &Server, environment: &[(&str, &str)]) -> Finished {
    let output = command
        .env_remove("ELEVENLABS_API_KEY")
        .env("STEAD_URL", server.base_url())
        .env("STEAD_API_KEY", server.admin_key())
        .envs(environment.iter().copied())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Finished {
        success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a script did.
pub(crate) struct Finished {
    pub(crate) success: bool,
    stdout: String,
    stderr: String,
}

impl Finished {
    pub(crate) fn all(&self) -> String {
        format!("---- standard output\n{}\n---- standard error\n{}", self.stdout, self.stderr)
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.stdout.lines()
    }

    pub(crate) fn says(&self, line: &str) {
        assert!(self.stdout.lines().any(|said| said == line), "no line {line:?}\n{}", self.all());
    }

    fn says_starting_with(&self, start: &str, times: usize) {
        let found = self.stdout.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(found, times, "lines that start with {start:?}\n{}", self.all());
    }

    fn says_in_a_row(&self, first: &str, second: &str) {
        let mut lines = self.stdout.lines();
        let found = lines.any(|line| line == first) && lines.next() == Some(second);
        assert!(found, "no line {first:?} with {second:?} below\n{}", self.all());
    }
}
