//! The wire's endpoint index (§1.1), call by call, through the official SDKs: each endpoint with what a call of it must
//! carry, with everything it may carry, and with every optional field null. The scripts in `sdk/` make the calls and look at
//! what comes back; which of them there must be is said here, so that none can be left out unseen.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::process::Command;

use serde::Deserialize;

use crate::conformance::{Finished, NodeFolder, finish};
use crate::harness::{Options, Server, Store, test_setting};

/// An SDK: its place in the columns of [`INDEX`], and what it is called.
#[derive(Clone, Copy)]
enum Sdk {
    Js,
    OldJs,
    Python,
}

impl Sdk {
    const fn name(self) -> &'static str {
        match self {
            Self::Js => "JavaScript 2.73.0",
            Self::OldJs => "JavaScript 2.30.0",
            Self::Python => "Python 2.78.0",
        }
    }

    fn run(self, server: &Server) -> Finished {
        let script_of = |package: &str| {
            let folder = NodeFolder::new();
            folder.write("index.mjs", include_str!("sdk/index.mjs"));
            folder.run(server, &["index.mjs"], &[("STEAD_SDK", package)])
        };
        match self {
            Self::Js => script_of("@elevenlabs/elevenlabs-js"),
            Self::OldJs => script_of("elevenlabs-js-2.30.0"),
            Self::Python => {
                let folder = tempfile::tempdir().expect("a temporary directory");
                fs::write(folder.path().join("index.py"), include_str!("sdk/index.py")).expect("the script is written");
                let mut command = Command::new(test_setting("STEAD_TEST_PYTHON", "installs the Python SDK"));
                finish(command.arg("index.py").current_dir(folder.path()), server, &[])
            }
        }
    }
}

/// The index: each endpoint, and whether JavaScript 2.73.0, JavaScript 2.30.0 and Python 2.78.0 have a call for it.
#[rustfmt::skip]
const INDEX: [(&str, [bool; 3]); 38] = [
    ("6.1 GET service-accounts",                                [true, true, true]),
    ("6.2 POST service-accounts",                               [true, false, true]),
    ("7.1 GET api-keys",                                        [true, true, true]),
    ("7.2 POST api-keys",                                       [true, true, true]),
    ("7.3 PATCH api-keys/{key}",                                [true, true, true]),
    ("7.4 DELETE api-keys/{key}",                               [true, true, true]),
    ("7.5 POST api-keys/{key}/disable",                         [false, false, true]),
    ("8.1 POST workspaces/api-keys/disable",                    [true, false, true]),
    ("8.2 POST workspaces/api-keys/third-party-disabling",      [true, false, true]),
    ("9.1 GET groups",                                          [true, false, true]),
    ("9.2 GET groups/search",                                   [true, true, true]),
    ("9.3 POST groups/{g}/members",                             [true, true, true]),
    ("9.3 POST groups/{g}/members/remove",                      [true, true, true]),
    ("9.4 POST invites/add",                                    [true, true, true]),
    ("9.4 POST invites/add-bulk",                               [true, true, true]),
    ("9.4 DELETE invites",                                      [true, true, true]),
    ("9.5 GET members",                                         [true, false, true]),
    ("9.6 POST members",                                        [true, true, true]),
    ("9.7 PUT members/{user}/usage-limit",                      [false, false, true]),
    ("10 GET resources/{r}",                                    [true, true, true]),
    ("10 POST resources/{r}/share",                             [true, true, true]),
    ("10 POST resources/{r}/unshare",                           [true, true, true]),
    ("11 GET audit-logs",                                       [true, false, true]),
    ("12.2 POST analytics/query/usage-by-product-over-time",    [true, false, true]),
    ("12.3 POST analytics/requests",                            [true, false, true]),
    ("12.4 POST analytics/usage",                               [false, false, true]),
    ("12.5 GET usage/character-stats",                          [true, true, true]),
    ("13.1 GET user",                                           [true, true, true]),
    ("13.2 GET user/subscription",                              [true, true, true]),
    ("13.3 GET webhooks",                                       [true, true, true]),
    ("13.3 POST webhooks",                                      [true, true, true]),
    ("13.3 PATCH webhooks/{w}",                                 [true, true, true]),
    ("13.3 DELETE webhooks/{w}",                                [true, true, true]),
    ("13.4 POST single-use-token/{type}",                       [true, true, true]),
    ("13.5 GET auth-connections",                               [true, false, true]),
    ("13.5 POST auth-connections",                              [true, false, true]),
    ("13.5 PATCH auth-connections/{id}",                        [true, false, true]),
    ("13.5 DELETE auth-connections/{id}",                       [true, false, true]),
];

/// What is answered with 501: by design, and so that nobody takes it for a typing error.
fn is_absent_here(endpoint: &str) -> bool {
    endpoint.starts_with("13.4") || endpoint.starts_with("13.5")
}

/// A line of a script.
#[derive(Deserialize)]
struct Line {
    index: String,
    #[serde(default)]
    absent: bool,
    #[serde(default)]
    ok: bool,
    #[serde(default)]
    error: Option<String>,
}

#[tokio::test]
async fn every_call_of_the_index_by_the_js_sdk() {
    every_call(Store::Sqlite, Sdk::Js);
}

#[tokio::test]
async fn every_call_of_the_index_by_the_js_sdk_on_postgres() {
    every_call(Store::Postgres, Sdk::Js);
}

#[tokio::test]
async fn every_call_of_the_index_by_the_older_js_sdk() {
    every_call(Store::Sqlite, Sdk::OldJs);
}

#[tokio::test]
async fn every_call_of_the_index_by_the_python_sdk() {
    every_call(Store::Sqlite, Sdk::Python);
}

#[tokio::test]
async fn every_call_of_the_index_by_the_python_sdk_on_postgres() {
    every_call(Store::Postgres, Sdk::Python);
}

fn every_call(store: Store, sdk: Sdk) {
    let mut server = Server::start(Options::on(store));
    let finished = sdk.run(&server);
    assert!(finished.success, "the script of {} failed\n{}", sdk.name(), finished.all());

    let lines = finished.lines().map(|line| serde_json::from_str::<Line>(line).expect("a line of JSON"));
    let lines: BTreeMap<String, Line> = lines.map(|line| (line.index.clone(), line)).collect();
    assert_eq!(lines.len(), INDEX.len(), "an endpoint that is not of the index\n{}", finished.all());
    let (mut works, mut refused, mut failures) = (0, 0, Vec::new());
    let of_sdk = || INDEX.iter().filter(|(_, has)| has[sdk as usize]);
    let without = of_sdk().filter(|(endpoint, _)| is_absent_here(endpoint)).count();
    let wanted = of_sdk().count() - without;
    for (endpoint, has) in &INDEX {
        let line = lines.get(*endpoint).unwrap_or_else(|| panic!("{endpoint} was not called\n{}", finished.all()));
        assert_eq!(!line.absent, has[sdk as usize], "whether {} has a call for {endpoint}", sdk.name());
        match (&line.error, line.ok, is_absent_here(endpoint)) {
            (None, true, true) => refused += 1,
            (None, true, false) => works += 1,
            _ if line.absent => {}
            (error, ..) => failures.push(format!("{endpoint}: {}", error.as_deref().unwrap_or("not ok"))),
        }
    }
    let table = format!(
        "endpoints of the index that work through {} on {store:?}: {works} of {}; answered 501 as meant: {refused} of {}; \
         without a call in it: {}",
        sdk.name(),
        wanted,
        without,
        INDEX.len() - wanted - without,
    );
    // Past the capture of the test runner: a figure has to be seen.
    writeln!(io::stderr(), "{table}").ok();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert_eq!((works, refused), (wanted, without), "{table}");

    assert!(server.sigterm_and_wait().success());
    server.assert_keeps_no_secret();
}
