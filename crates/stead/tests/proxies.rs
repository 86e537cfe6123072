//! Real proxies in front of the real server, with the very files of `docs/proxies`: what they let through, what they
//! make of a refusal, and whether the path that Stead judges is the path that the service is served.

mod rig;
mod spellings;

use crate::harness::{Options, Server, Store, test_setting};
use reqwest::Method;
use rig::{Kind, Rig, Said};
use serde_json::json;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const RULES: &str = r#"
[[rule]]
path = "/admin/{*rest}"
permissions = ["workspace_read"]
[[rule]]
path = "/paid"
permissions = []
cost = 5
[[rule]]
methods = ["GET", "POST"]
path = "/{*rest}"
permissions = ["text_to_speech"]
"#;

/// The test's clients come from here, and the proxies from 127.0.0.1.
const CLIENT: &str = "127.0.0.2";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_lets_through_what_stead_lets_through() {
    matrix(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_lets_through_what_stead_lets_through() {
    matrix(Kind::Caddy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_serves_the_path_that_was_judged() {
    spellings::differential(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caddy_serves_the_path_that_was_judged() {
    spellings::differential(Kind::Caddy).await;
}

/// Envoy itself is in no package registry; its messages are, and the client that its gRPC is compatible with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_gets_the_same_answers() {
    let (server, _rules) = server();
    let good = key(&server, json!({"name": "good", "permissions": ["text_to_speech"]})).await;
    let listed = json!({"name": "listed", "permissions": "all", "allowed_ips": ["192.0.2.0/24"]});
    let listed = key(&server, listed).await;
    let poor = json!({"name": "poor", "permissions": "all", "character_limit": 5});
    let poor = key(&server, poor).await;
    let world = json!({
        "address": server.base_url().trim_start_matches("http://"),
        "good": good.secret, "account": good.account,
        "listed": listed.secret, "listed_account": listed.account,
        "poor": poor.secret, "poor_account": poor.account,
    });
    let python = test_setting("STEAD_TEST_PYTHON", "installs gRPC for Python");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxies/ask_as_envoy.py");
    let ran = std::process::Command::new(python).arg(script).env("WORLD", world.to_string()).output();
    let ran = ran.expect("Python starts");
    let printed = [ran.stdout, ran.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(ran.status.success() && printed.contains("done"), "{printed}");
}

/// A server that declares the proxies of this machine, with the rules above.
fn server() -> (Server, tempfile::NamedTempFile) {
    let rules = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(rules.path(), RULES).expect("written");
    let mut options = Options::on(Store::Sqlite);
    options.settings = vec![
        ("STEAD_TRUSTED_PROXIES".into(), "127.0.0.1,10.0.0.0/8".into()),
        ("STEAD_PATH_RULES".into(), rules.path().display().to_string()),
    ];
    (Server::start(options), rules)
}

struct Made {
    account: String,
    id: String,
    secret: String,
}

async fn key(server: &Server, body: serde_json::Value) -> Made {
    let account = server.ask(Method::POST, "/v1/service-accounts", Some(&json!({"name": "caller"}))).await;
    let account = account["service_account_id"].as_str().expect("an id").to_owned();
    let made = server.ask(Method::POST, &format!("/v1/service-accounts/{account}/api-keys"), Some(&body)).await;
    let text = |name: &str| made[name].as_str().expect("text").to_owned();
    Made { account, id: text("key_id"), secret: text("api_key") }
}

async fn matrix(kind: Kind) {
    let (mut server, _rules) = server();
    let rig = Rig::start(kind, server.base_url());
    let permissions = json!(["text_to_speech", "voices_read"]);
    let good = key(&server, json!({"name": "good", "permissions": permissions})).await;
    let here = json!({"name": "here", "permissions": permissions, "allowed_ips": [CLIENT]});
    let here = key(&server, here).await;
    let away = json!({"name": "away", "permissions": permissions, "allowed_ips": ["203.0.113.0/24", "127.0.0.1"]});
    let away = key(&server, away).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let short = json!({"name": "short", "permissions": permissions, "expires_at": now + 2});
    let short = key(&server, short).await;
    let poor = json!({"name": "poor", "permissions": permissions, "character_limit": 5});
    let poor = key(&server, poor).await;

    // A good key: the service hears who calls, from Stead and from nobody else, and gets the request as it was.
    let forged = [
        ("X-Stead-Account-Id", "forged"),
        ("x-stead-key-id", "forged"),
        ("X-Stead-Permissions", "forged"),
        ("X-Stead-Workspace-Id", "forged"),
        ("X-Stead-Path", "forged"),
    ];
    for extra in [&[][..], &forged] {
        let said = rig.say("GET", "/v1/voices/a?cost=1000&permissions=workspace_read&x", &good.secret, extra).await;
        assert_eq!(said.status, 200, "{said:?}");
        let served = rig.served();
        let [request] = &served[..] else { panic!("{served:?}") };
        assert_eq!(request.target, b"/v1/voices/a?cost=1000&permissions=workspace_read&x");
        let header = |name: &str| request.values(name);
        assert_eq!(header("x-stead-account-id"), [good.account.as_str()]);
        assert_eq!(header("x-stead-key-id"), [good.id.as_str()]);
        assert_eq!(header("x-stead-permissions"), ["text_to_speech,voices_read"]);
        assert_eq!(header("x-stead-path"), ["/v1/voices/a"]);
        assert_eq!(header("x-stead-workspace-id").len(), 1);
        assert!(header("xi-api-key").is_empty() && !request.head.contains("forged"), "{}", request.head);
    }
    // Other spellings of the same: refused, or gone.
    for name in ["x_stead_account_id", "X-Stead_Account-Id", "X_Stead-Key_Id", "X-STEAD-KEY_ID"] {
        let said = rig.say("GET", "/v1/voices/a", &good.secret, &[(name, "forged")]).await;
        assert!(said.status == 403 || said.status == 200, "{name}: {said:?}");
        assert!(rig.served().iter().all(|request| !request.head.contains("forged")), "{name}");
    }
    // A POST with a body arrives with it.
    let said = rig.say_with("POST", "/v1/voices/a", &good.secret, &[], "the body").await;
    assert_eq!((said.status, &*rig.served()[0].body), (200, "the body"));

    // No key, a wrong one, one too weak, another method, an address that is not the client's.
    refused(&rig, 401, &rig.say("GET", "/v1/voices/a", "", &[]).await);
    refused(&rig, 401, &rig.say("GET", "/v1/voices/a", "wrong", &[]).await);
    refused(&rig, 401, &rig.say("GET", "/v1/voices/a", &good.secret, &[("xi-api-key", "another")]).await);
    refused(&rig, 403, &rig.say("GET", "/admin/x", &good.secret, &[]).await);
    refused(&rig, 403, &rig.say("GET", "/admin", &good.secret, &[]).await);
    refused(&rig, 403, &rig.say("DELETE", "/v1/voices/a", &good.secret, &[]).await);
    assert_eq!(rig.say("GET", "/v1/voices/a", &here.secret, &[]).await.status, 200);
    rig.served();
    refused(&rig, 403, &rig.say("GET", "/v1/voices/a", &away.secret, &[]).await);

    // What a client says about itself helps nobody.
    for value in ["203.0.113.1", "127.0.0.1", "203.0.113.1, 127.0.0.1", "127.0.0.2", "unknown"] {
        for name in ["X-Forwarded-For", "x_forwarded_for", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP"] {
            let said = rig.say("GET", "/v1/voices/a", &away.secret, &[(name, value)]).await;
            refused(&rig, 403, &said);
        }
        let said = rig
            .say("GET", "/v1/voices/a", &away.secret, &[("Connection", "x-forwarded-for"), ("X-Forwarded-For", value)])
            .await;
        refused(&rig, 403, &said);
    }
    for name in [
        "X-Forwarded-Uri",
        "X-Original-URI",
        "X_Forwarded_Uri",
        "X-Original-Url",
        "X-Rewrite-Url",
        "X-Forwarded-Prefix",
    ] {
        let said = rig.say("GET", "/admin/x", &good.secret, &[(name, "/v1/voices/a")]).await;
        refused(&rig, 403, &said);
    }
    for name in ["X-Forwarded-Method", "X-Original-Method", "X-HTTP-Method-Override", "x_forwarded_method"] {
        let said = rig.say("DELETE", "/v1/voices/a", &good.secret, &[(name, "GET")]).await;
        refused(&rig, 403, &said);
    }

    // A limit is no bad key: 429, with the time to wait.
    assert_eq!(rig.say("GET", "/paid", &poor.secret, &[]).await.status, 200);
    rig.served();
    let said = rig.say("GET", "/paid", &poor.secret, &[]).await;
    assert!(said.value("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok()), "{said:?}");
    refused(&rig, 429, &said);

    // Its time is over.
    let deadline = Instant::now() + Duration::from_secs(30);
    while rig.say("GET", "/v1/voices/a", &short.secret, &[]).await.status == 200 {
        assert!(Instant::now() < deadline, "it never expires");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    rig.served();
    refused(&rig, 401, &rig.say("GET", "/v1/voices/a", &short.secret, &[]).await);

    // Whatever else comes in Stead's place is no yes; what can be told apart is.
    for (answer, status) in [
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", Some(503)),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", Some(500)),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", None),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", None),
        ("not HTTP\r\n\r\n", None),
        ("", None),
    ] {
        rig.answer_instead(Some(answer));
        let said = rig.say("GET", "/v1/voices/a", &good.secret, &[]).await;
        assert!(said.status >= 300 && status.is_none_or(|status| said.status == status), "{answer:?}: {said:?}");
        assert!(rig.served().is_empty(), "{answer:?}");
    }
    rig.answer_instead(None);
    assert_eq!(rig.say("GET", "/v1/voices/a", &good.secret, &[]).await.status, 200);
    rig.served();
    server.sigterm_and_wait();
    let said = rig.say("GET", "/v1/voices/a", &good.secret, &[]).await;
    assert!(said.status >= 500, "{said:?}");
    assert!(rig.served().is_empty());
}

#[track_caller]
fn refused(rig: &Rig, status: u16, said: &Said) {
    assert_eq!(said.status, status, "{said:?}");
    assert!(rig.served().is_empty(), "the service was asked all the same");
}
