//! `stead audit`, as an operator calls it: beside a running server, on a stopped one, and on a log that was touched.

use crate::harness::{Options, Server, Store};
use reqwest::{Client, Method};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use stead_api::audit::AuditLogEntry;

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output) -> String {
    out(output) + &String::from_utf8_lossy(&output.stderr)
}

/// Runs a command that must end with a code, and returns what it printed.
#[track_caller]
fn ends(server: &Server, code: i32, arguments: &[&str]) -> Output {
    let output = server.tool(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
    output
}

fn entries(output: &Output) -> Vec<AuditLogEntry> {
    out(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn beside_a_running_server(store: Store) {
    let mut server = Server::start(Options::on(store));
    let name = "=HYPERLINK(\"http://x\",\"y\")";
    let account = server.ask(Method::POST, "/v1/service-accounts", Some(&json!({ "name": name }))).await;
    let account = account["service_account_id"].as_str().unwrap().to_owned();
    let keys = format!("/v1/service-accounts/{account}/api-keys");
    let made = server.ask(Method::POST, &keys, Some(&json!({"name": "k", "permissions": []}))).await;
    let secret = made["api_key"].as_str().unwrap().to_owned();

    let verified = out(&ends(&server, 0, &["audit", "verify", "--save-head", "heads.json"]));
    let page = server.ask(Method::GET, "/v1/workspace/audit-logs?limit=100", None).await;
    let shown = page["entries"].as_array().unwrap();
    assert!(
        verified.contains(&format!(
            "{} rows, whole; head {}",
            shown.len(),
            shown[0]["unmapped"]["hash"].as_str().unwrap()
        )),
        "{verified}"
    );
    ends(&server, 0, &["audit", "verify", "--head", "heads.json"]);

    // The same entries as over the API, oldest first.
    let exported = ends(&server, 0, &["audit", "export"]);
    let mut lines: Vec<Value> = out(&exported).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.reverse();
    assert_eq!(&lines, shown);
    assert_eq!(entries(&exported).len(), shown.len());
    let some = [
        "audit",
        "export",
        "--activity",
        "Service Account Creation",
        "--from",
        "2020-01-01",
        "--class",
        "Account Change",
    ];
    assert_eq!(entries(&ends(&server, 0, &some)).len(), 1);
    assert_eq!(out(&ends(&server, 0, &["audit", "export", "--to", "2020-01-01"])), "");
    assert_eq!(entries(&ends(&server, 0, &["audit", "export", "--actor", "system"])).len(), shown.len() - 2);

    let table = ends(&server, 0, &["audit", "export", "--format", "csv", "--output", "log.csv"]);
    assert_eq!(out(&table), "");
    let again = ends(&server, 2, &["audit", "export", "--format", "csv", "--output", "log.csv"]);
    assert!(told(&again).contains("log.csv"), "{}", told(&again));
    let table = out(&ends(&server, 0, &["audit", "export", "--format", "csv"]));
    assert!(table.starts_with("time,id,workspace_id,") && table.lines().count() == shown.len() + 1, "{table}");
    assert!(table.contains(",\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\","), "{table}");
    assert!(!table.contains(&secret) && !out(&exported).contains(&secret) && !table.contains(server.admin_key()));

    // A refused call is written when the server stops, at the latest.
    let refused = Client::new().get(format!("{}/v1/service-accounts", server.base_url())).header("xi-api-key", &secret);
    assert_eq!(refused.send().await.unwrap().status().as_u16(), 403);
    assert!(server.sigterm_and_wait().success());
    let refused = entries(&ends(&server, 0, &["audit", "export", "--activity", "Access Refused"]));
    assert_eq!((refused.len(), refused[0].status_id, refused[0].actor.user.name.as_deref()), (1, 2, Some(name)));
    ends(&server, 0, &["audit", "verify", "--head", "heads.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_checked_and_exported_beside_a_running_server_on_sqlite() {
    beside_a_running_server(Store::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_checked_and_exported_beside_a_running_server_on_postgres() {
    beside_a_running_server(Store::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_touched_or_put_back_is_found_and_said_by_the_exit_code() {
    let mut server = Server::start(Options::on(Store::Sqlite));
    server.ask(Method::POST, "/v1/service-accounts", Some(&json!({"name": "kept"}))).await;
    assert!(server.sigterm_and_wait().success());
    let database = server.data_dir().join("stead.db");
    let older = server.data_dir().join("older.db");
    let put = |from: &std::path::Path, to: &std::path::Path| {
        for file in ["stead.db-wal", "stead.db-shm"] {
            fs::remove_file(to.with_file_name(file)).ok();
        }
        fs::copy(from, to).unwrap();
    };
    let settle = || {
        let connection = Connection::open(&database).unwrap();
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    };
    settle();
    fs::copy(&database, &older).unwrap();
    server.restart();
    server.ask(Method::POST, "/v1/service-accounts", Some(&json!({"name": "forgotten"}))).await;
    assert!(server.sigterm_and_wait().success());
    ends(&server, 0, &["audit", "verify", "--save-head", "heads.json"]);
    settle();
    let newest = server.data_dir().join("newest.db");
    fs::copy(&database, &newest).unwrap();

    // Put back whole, it is a whole log: only the saved head knows better.
    put(&older, &database);
    ends(&server, 0, &["audit", "verify"]);
    let found = ends(&server, 1, &["audit", "verify", "--head", "heads.json"]);
    assert!(told(&found).contains("when the head was saved"), "{}", told(&found));
    put(&newest, &database);
    ends(&server, 0, &["audit", "verify", "--head", "heads.json"]);

    let touch = |sql: &str| Connection::open(&database).unwrap().execute(sql, []).unwrap();
    touch("UPDATE audit_log SET details = '{\"forged\":true}' WHERE seq = 2");
    let found = ends(&server, 1, &["audit", "verify", "--save-head", "broken.json"]);
    assert!(out(&found).contains("WRONG") && out(&found).contains("row 2 was edited"), "{}", told(&found));
    let exported = ends(&server, 1, &["audit", "export"]);
    assert!(entries(&exported).len() >= 5 && told(&exported).contains("row 2 was edited"));
    // What is broken gets no head.
    ends(&server, 2, &["audit", "verify", "--head", "broken.json"]);
    put(&newest, &database);
    touch("UPDATE workspaces SET seats = 99");
    let found = ends(&server, 1, &["audit", "verify"]);
    assert!(out(&found).contains("its row, which names the end, was changed"), "{}", told(&found));
    put(&newest, &database);

    for wrong in [
        &["audit"][..],
        &["audit", "verify", "--workspace", "ws_none"],
        &["audit", "verify", "--head", "no-such-file"],
        &["audit", "export", "--from", "yesterday"],
        &["audit", "export", "--class", "No Such Class"],
        &["audit", "export", "--format", "xml"],
        &["audit", "export", "--output", "no/such/folder/log"],
        &["audit", "verify", "--database-url", "sqlite:no-such.db"],
    ] {
        ends(&server, 2, wrong);
    }
    let mode = fs::metadata(server.data_dir().parent().unwrap().join("heads.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::rename(server.data_dir().join("pepper"), server.data_dir().join("pepper.away")).unwrap();
    ends(&server, 2, &["audit", "verify"]);
}
