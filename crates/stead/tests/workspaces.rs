//! `stead workspaces`, as an operator calls it.

use crate::harness::{Options, Server, Store};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// What the command prints, and whether it succeeded. The credential's file is the server's.
fn workspaces(server: &Server, arguments: &[&str], settings: &[(&str, &str)]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_stead"))
        .arg("workspaces")
        .args(arguments)
        .env_clear()
        .env("STEAD_BASE_URL", server.base_url())
        .env("STEAD_DATA_DIR", server.data_dir())
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

async fn status_of(server: &Server, key: &str) -> u16 {
    let request = reqwest::Client::new().get(format!("{}/v1/user", server.base_url())).header("xi-api-key", key);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_makes_suspends_and_resumes_a_workspace() {
    let mut server = Server::start(Options::on(Store::Sqlite));
    let file = server.data_dir().join("operator-key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let credential = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(credential.starts_with("stead_operator_"));
    let done = |arguments: &[&str]| {
        let (succeeded, told) = workspaces(&server, arguments, &[]);
        assert!(succeeded, "{told}");
        assert!(!told.contains(&credential), "{told}");
        told
    };

    let told = done(&["create", "--name", "Acme", "--owner-email", "o@acme.example", "--seats", "3"]);
    assert!(told.contains("Acme") && told.contains("shown this once"), "{told}");
    let key = told.split_whitespace().find(|word| word.starts_with("stead_")).unwrap().to_owned();
    assert_eq!(status_of(&server, &key).await, 200);
    let made = done(&["create", "--name", "Beta", "--owner-email", "o@beta.example", "--output", "json"]);
    let made: Value = serde_json::from_str(&made).unwrap();
    let (id, beta) = (made["workspace_id"].as_str().unwrap(), made["api_key"].as_str().unwrap());

    let listed = done(&["list"]);
    assert!(["My workspace", "Acme", "o@beta.example"].iter().all(|wanted| listed.contains(wanted)), "{listed}");
    let listed: Value = serde_json::from_str(&done(&["list", "--output", "json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert!(!listed.to_string().contains(beta));

    // Suspending asks first, and where nobody can be asked it has to be said.
    let (succeeded, told) = workspaces(&server, &["update", id, "--suspend"], &[]);
    assert!(!succeeded && told.contains("--yes"), "{told}");
    assert_eq!(status_of(&server, beta).await, 200);
    assert!(done(&["update", id, "--suspend", "--yes"]).contains("suspended"));
    assert_eq!((status_of(&server, beta).await, status_of(&server, &key).await), (401, 200));
    let resumed = done(&["update", id, "--resume", "--seats", "7", "--max-accounts", "1", "--output", "json"]);
    let resumed: Value = serde_json::from_str(&resumed).unwrap();
    assert_eq!((&resumed["seats"], &resumed["limits"]["service_accounts"]), (&json!(7), &json!(1)));
    assert_eq!(status_of(&server, beta).await, 200);
    assert!(done(&["update", id, "--max-accounts", "clear"]).contains("as the server's settings say"));
    assert!(done(&["get", id]).contains("1 of 7 used"));

    // Mistakes are told; nothing of a credential is.
    let (succeeded, told) = workspaces(&server, &["create", "--name", "x", "--owner-email", "nobody"], &[]);
    assert!(!succeeded && told.contains("owner_email: must be an e-mail address"), "{told}");
    for wrong in ["ws_../../v1", "key_1", "ws_0000000000000000000000"] {
        assert!(!workspaces(&server, &["get", wrong], &[]).0);
    }
    let (succeeded, told) = workspaces(&server, &["list"], &[("STEAD_OPERATOR_API_KEY", server.admin_key())]);
    assert!(!succeeded && told.contains("403") && !told.contains(server.admin_key()), "{told}");
    let (succeeded, told) = workspaces(&server, &["list"], &[("STEAD_DATA_DIR", "/nowhere")]);
    assert!(!succeeded && told.contains("STEAD_OPERATOR_API_KEY") && told.contains("/nowhere/operator-key"), "{told}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (succeeded, told) = workspaces(&server, &["list"], &[]);
    assert!(!succeeded && told.contains("chmod 600"), "{told}");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();

    // The file is made once; the next start takes it as it is. Only its place is ever printed.
    server.restart();
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), credential);
    let (succeeded, told) = workspaces(&server, &["list"], &[("STEAD_OPERATOR_API_KEY", &credential)]);
    assert!(succeeded && told.contains("Beta"), "{told}");
    assert_eq!(server.output().matches(file.to_str().unwrap()).count(), 1);
    assert!(!server.output().contains(&credential));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_from_the_settings_needs_no_file() {
    let own = "operators-own-credential-0123456789";
    let settings = vec![("STEAD_OPERATOR_API_KEY".to_owned(), own.to_owned())];
    let server = Server::start(Options { settings, ..Options::on(Store::Postgres) });
    assert!(!server.data_dir().join("operator-key").exists());
    let (succeeded, told) = workspaces(&server, &["list"], &[("STEAD_OPERATOR_API_KEY", own)]);
    assert!(succeeded && told.contains("My workspace"), "{told}");
}
