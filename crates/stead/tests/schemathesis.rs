//! The description is kept: schemathesis makes requests out of `openapi.json`, right and wrong ones, against the real
//! executable. No answer may be a 5xx, and each must be of a status, content type, headers and schema that is described.
//!
//! `STEAD_SCHEMATHESIS` says how many generated cases an operation gets in each pass (2); `cargo xtask schemathesis` sets it.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Options, Server, Store, test_setting};

/// What a pass asks: with which key, which operations, and what is known of ids.
struct Pass<'a> {
    name: &'a str,
    key: Option<&'a str>,
    /// Options that choose the operations.
    choice: &'a [&'a str],
    /// Values for parameters of paths, so that something is there.
    ids: &'a [(&'static str, String)],
    phases: &'a str,
}

/// Not by these: `ext_authz` is gRPC, whatever the request is; and this would take away the key that is asked with.
const GRPC: &str = "ext_authz_check";
const SELF_DISABLE: &str = "disable_own_api_key";

const OPERATOR: &str = "operator-of-the-test-0123456789abcdef";

#[tokio::test]
async fn the_description_is_kept() {
    let settings = [
        ("STEAD_OPERATOR_API_KEY", OPERATOR),
        // Each accepted case makes one more.
        ("STEAD_MAX_ACCOUNTS", "100000"),
        ("STEAD_SEATS", "100000"),
        ("STEAD_METRICS", "public"),
        // Nobody listens there, and nothing leaves the machine.
        ("STEAD_WEBHOOK_ALLOW", "127.0.0.1/32"),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut server = Server::start(Options { settings: settings.into(), ..Options::on(Store::Sqlite) });
    let ids = scene(&server).await;
    let owner = server.admin_key().to_owned();
    let mut told = Vec::new();
    let mut run = |pass: &Pass<'_>| told.push(schemathesis(&server, pass));

    let rest = [
        "--exclude-operation-id",
        GRPC,
        "--exclude-operation-id",
        SELF_DISABLE,
        "--exclude-path-regex",
        "^/v1/workspaces($|/\\{)",
    ];
    let alive = [&rest[..], &["--exclude-method", "DELETE"]].concat();
    let both = "coverage,fuzzing";
    run(&Pass { name: "what is there, by the owner", key: Some(&owner), choice: &alive, ids: &ids, phases: both });
    let parametrised = [&rest[..], &["--include-path-regex", "\\{"]].concat();
    run(&Pass {
        name: "what is not there, by the owner",
        key: Some(&owner),
        choice: &parametrised,
        ids: &[],
        phases: "fuzzing",
    });
    run(&Pass { name: "everything, without a key", key: None, choice: &rest, ids: &[], phases: "fuzzing" });
    let operators = ["--include-path-regex", "^/v1/workspaces($|/\\{)"];
    run(&Pass { name: "workspaces, by the operator", key: Some(OPERATOR), choice: &operators, ids: &[], phases: both });
    // Last, since little is left after them.
    let deletes = ["--include-method", "DELETE"];
    run(&Pass { name: "deletes of what is there", key: Some(&owner), choice: &deletes, ids: &ids, phases: both });
    let own = ["--include-operation-id", SELF_DISABLE];
    run(&Pass { name: "the owner's own key", key: Some(&owner), choice: &own, ids: &[], phases: both });

    // Past the capture of the test runner: a figure has to be seen.
    for (pass, _) in &told {
        writeln!(io::stderr(), "schemathesis: {pass}").ok();
    }
    let failures: Vec<_> = told.iter().filter_map(|(_, failure)| failure.as_deref()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(server.sigterm_and_wait().success());
}

/// One of each thing, and how the description's paths name their ids.
async fn scene(server: &Server) -> Vec<(&'static str, String)> {
    let post = async |path: &str, body: Value| server.ask(Method::POST, path, Some(&body)).await;
    let text = |answer: &Value, field: &str| {
        answer[field].as_str().unwrap_or_else(|| panic!("no {field} in {answer}")).to_owned()
    };

    let account = text(&post("/v1/service-accounts", json!({ "name": "Described" })).await, "service_account_id");
    let key = post(&format!("/v1/service-accounts/{account}/api-keys"), json!({ "name": "one" })).await;
    let verified = post("/v1/api-keys/verify", json!({ "api_key": key["api_key"], "permissions": ["flows"] })).await;
    let group = post("/v1/workspace/groups", json!({ "name": "Some" })).await;
    let resource = post("/v1/workspace/resources", json!({ "resource_type": "voice" })).await;
    let settings = json!({ "auth_type": "hmac", "name": "ours", "webhook_url": "http://127.0.0.1:9/" });
    let webhook = text(&post("/v1/workspace/webhooks", json!({ "settings": settings })).await, "webhook_id");
    let event = post(&format!("/v1/workspace/webhooks/{webhook}/test"), json!({})).await;
    vec![
        ("service_account_user_id", account.clone()),
        ("user_id", account),
        ("api_key_id", text(&key, "key_id")),
        ("decision_id", text(&verified, "decision_id")),
        ("group_id", text(&group, "id")),
        ("resource_id", text(&resource, "resource_id")),
        ("webhook_id", webhook),
        ("event_id", text(&event, "event_id")),
    ]
}

/// Runs a pass: a line on it, and all that was said if it failed.
fn schemathesis(server: &Server, pass: &Pass<'_>) -> (String, Option<String>) {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("schemathesis.toml"), settings(pass)).expect("the settings are written");
    let examples = std::env::var("STEAD_SCHEMATHESIS").unwrap_or_else(|_| "2".to_owned());
    let mut command = Command::new(test_setting("STEAD_TEST_SCHEMATHESIS", "installs schemathesis"));
    command
        .args(["--config-file", "schemathesis.toml", "run"])
        .arg(format!("{}/openapi.json", server.base_url()))
        .args(["--phases", pass.phases, "--max-examples", &examples, "--seed", "1"])
        // One worker: with several its caches race, and it fails on itself.
        .args([
            "--workers",
            "1",
            "--continue-on-failure",
            "--no-shrink",
            "--suppress-health-check",
            "all",
            "--warnings",
            "off",
        ])
        .args(pass.choice)
        .current_dir(folder.path())
        // Nothing of the developer's own, and no proxy between the two.
        .envs([("NO_PROXY", "*"), ("PYTHONUTF8", "1"), ("NO_COLOR", "1")])
        .envs(pass.key.map(|key| ("STEAD_KEY", key)));
    let finished = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&finished.stdout).into_owned();
    let figures =
        |start: &str| said.lines().map(str::trim).find_map(|line| line.strip_prefix(start)).map(str::to_owned);
    let tested = figures("Tested: ").unwrap_or_else(|| "0".to_owned());
    let cases = said
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" generated"))
        .unwrap_or("nothing generated");
    let line = format!("{}: {tested} operations, {cases}", pass.name);
    let went_well = finished.status.success() && tested != "0" && !cases.starts_with("nothing");
    let failure = (!went_well).then(|| format!("{line}\n{said}\n{}", String::from_utf8_lossy(&finished.stderr)));
    (line, failure)
}

/// The settings file of a pass. The key comes by the environment, as arguments can be read by everyone on the machine.
fn settings(pass: &Pass<'_>) -> String {
    // All that may be said of an answer; what may be asked is the server's own affair, and tested where its fields are.
    const CHECKS: [&str; 5] = [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    ];
    // TRACE is answered with 501 on purpose, by the listener itself. What the wire has and this server does without is a
    // 501, and described as one. A proxy that asks what can't be answered must neither let the request pass nor tell its
    // client that the key is at fault: 500, with a code of its own.
    const EXCEPTIONS: &str = r#"
[phases.coverage]
unexpected-methods = ["GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"]
[[operations]]
include-tag = "Not implemented"
checks.not_a_server_error.enabled = false
[[operations]]
include-operation-id = "forward_auth"
checks.not_a_server_error.enabled = false
"#;
    let mut lines = Vec::new();
    if pass.key.is_some() {
        lines.push("headers = { xi-api-key = \"${STEAD_KEY}\" }".to_owned());
    }
    lines.push("[checks]\nenabled = false".to_owned());
    lines.extend(CHECKS.map(|check| format!("{check}.enabled = true")));
    lines.push(EXCEPTIONS.to_owned());
    if !pass.ids.is_empty() {
        lines.push("[parameters]".to_owned());
        lines.extend(pass.ids.iter().map(|(name, id)| format!("\"path.{name}\" = \"{id}\"")));
    }
    lines.join("\n")
}
