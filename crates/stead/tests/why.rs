//! `stead why`, as a person calls it.

use crate::harness::{Options, Server, Store};
use serde_json::json;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What the command prints, and whether it succeeded.
fn why(server: &Server, arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stead"))
        .arg("why")
        .args(arguments)
        .env_clear()
        .env("STEAD_API_KEY", server.admin_key())
        .env("STEAD_BASE_URL", server.base_url())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_explained_check_by_check() {
    let server = Server::start(Options::on(Store::Sqlite));
    let http = reqwest::Client::new();
    let post = async |path: &str, body: serde_json::Value| -> serde_json::Value {
        let request = http.post(format!("{}{path}", server.base_url())).header("xi-api-key", server.admin_key());
        request.json(&body).send().await.unwrap().json().await.unwrap()
    };
    let account = post("/v1/service-accounts", json!({"name": "ci"})).await["service_account_id"].clone();
    let new = json!({"name": "deploy", "permissions": ["text_to_speech"]});
    let made = post(&format!("/v1/service-accounts/{}/api-keys", account.as_str().unwrap()), new).await;
    let (key, secret) = (made["key_id"].as_str().unwrap(), made["api_key"].as_str().unwrap());
    let asked = json!({"api_key": secret, "permissions": ["voices_write"]});
    let denied = post("/v1/api-keys/verify", asked).await;
    for (arguments, input) in [
        (vec![denied["decision_id"].as_str().unwrap()], ""),
        (vec![key, "--permissions", "voices_write, text_to_speech"], ""),
        (vec!["-", "--permissions", "voices_write"], secret),
    ] {
        let (succeeded, told) = why(&server, &arguments, input);
        assert!(succeeded && told.starts_with("INSUFFICIENT_PERMISSIONS"), "{told}");
        assert!(told.contains("FAIL  permissions  the key lacks voices_write"), "{told}");
        assert!(told.contains(&format!("key deploy ({key}) of ci")), "{told}");
        assert!(!told.contains(secret));
    }
    let (succeeded, told) = why(&server, &["dec_0000000000000000000000"], "");
    assert!(!succeeded && told.contains("no such decision"), "{told}");
    let (succeeded, told) = why(&server, &[secret], "");
    assert!(!succeeded && !told.contains(secret), "{told}");
}
