//! Webhooks of the real executable: what the official SDKs make of them, and what `kill -9` does.
//!
//! `STEAD_WEBHOOK_KILLS` says how often the server is killed (12; on PostgreSQL a third of it).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::conformance::{NodeFolder, finish};
use crate::harness::{Options, Server, Store, test_setting};

const WEBHOOKS: &str = "/v1/workspace/webhooks";

fn options(store: Store) -> Options {
    let settings = vec![("STEAD_WEBHOOK_ALLOW".to_owned(), "127.0.0.1/32".to_owned())];
    Options { settings, ..Options::on(store) }
}

#[tokio::test]
async fn the_official_js_sdk_takes_every_delivery() {
    let mut server = Server::start(options(Store::Sqlite));
    let folder = NodeFolder::new();
    folder.write("webhooks.mjs", include_str!("sdk/webhooks.mjs"));
    let finished = folder.run(&server, &["webhooks.mjs"], &[]);
    assert!(finished.success, "{}", finished.all());
    finished.says("the JavaScript SDK took every delivery");
    assert!(server.sigterm_and_wait().success());
    server.assert_keeps_no_secret();
}

#[tokio::test]
async fn the_official_python_sdk_takes_every_delivery() {
    let mut server = Server::start(options(Store::Sqlite));
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("webhooks.py"), include_str!("sdk/webhooks.py")).expect("the script is written");
    let mut command = Command::new(test_setting("STEAD_TEST_PYTHON", "installs the Python SDK"));
    command.arg("webhooks.py").current_dir(folder.path());
    let finished = finish(&mut command, &server, &[]);
    assert!(finished.success, "{}", finished.all());
    finished.says("the Python SDK took every delivery");
    assert!(server.sigterm_and_wait().success());
    server.assert_keeps_no_secret();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_no_event_on_sqlite() {
    kill_again_and_again(Store::Sqlite, kills()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigkill_loses_no_event_on_postgres() {
    kill_again_and_again(Store::Postgres, kills().div_ceil(3)).await;
}

fn kills() -> u64 {
    std::env::var("STEAD_WEBHOOK_KILLS").map_or(12, |text| text.parse().expect("STEAD_WEBHOOK_KILLS must be a number"))
}

/// What came, in the order in which it came: raw bodies.
type Heard = Arc<Mutex<Vec<String>>>;

/// A receiver that takes its time, so that a kill meets deliveries in every state.
async fn receiver() -> (String, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let heard = Heard::default();
    let ears = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let ears = ears.clone();
            tokio::spawn(async move {
                let serve = service_fn(move |request: Request<Incoming>| {
                    let ears = ears.clone();
                    async move {
                        // Cut off in the middle, it was not heard.
                        if let Ok(body) = request.into_body().collect().await {
                            let text = String::from_utf8(body.to_bytes().to_vec()).expect("UTF-8");
                            ears.lock().expect("nobody panics").push(text);
                        }
                        sleep(Duration::from_millis(3)).await;
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                    }
                });
                http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await.ok();
            });
        }
    });
    (url, heard)
}

/// A call that may be cut off; the answer, if one came.
async fn attempt(
    http: &reqwest::Client,
    server: &(String, String),
    method: Method,
    path: &str,
    body: Value,
) -> Option<Value> {
    let request = http.request(method, format!("{}{path}", server.0)).header("xi-api-key", &server.1).json(&body);
    let answer = request.send().await.ok()?;
    assert!(!answer.status().is_client_error(), "{path}: {}", answer.status());
    if answer.status().is_success() { answer.json().await.ok() } else { None }
}

async fn kill_again_and_again(store: Store, kills: u64) {
    const WORKERS: usize = 4;

    let (url, heard) = receiver().await;
    let mut server = Server::start(options(store));
    let settings = json!({"settings": {"auth_type": "hmac", "name": "ours", "webhook_url": url}});
    let made = server.ask(Method::POST, WEBHOOKS, Some(&settings)).await;
    let webhook = made["webhook_id"].as_str().expect("an id").to_owned();
    let account = server.ask(Method::POST, "/v1/service-accounts", Some(&json!({"name": "ci"}))).await;
    let keys = format!("/v1/service-accounts/{}/api-keys", account["service_account_id"].as_str().expect("an id"));
    // What was acknowledged: of each key how many events there must be.
    let acknowledged: Arc<Mutex<BTreeMap<String, Vec<&'static str>>>> = Arc::default();
    let mut duration = 161;
    for _ in 0..kills {
        let place = (server.base_url().to_owned(), server.admin_key().to_owned());
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..WORKERS {
            let (place, keys, acknowledged) = (place.clone(), keys.clone(), acknowledged.clone());
            workers.spawn(async move {
                let http = reqwest::Client::builder().no_proxy().build().expect("a client");
                loop {
                    let Some(made) = attempt(&http, &place, Method::POST, &keys, json!({"name": "k"})).await else {
                        return;
                    };
                    let id = made["key_id"].as_str().expect("an id").to_owned();
                    acknowledged.lock().expect("nobody panics").insert(id.clone(), vec!["api_key.created"]);
                    let path = format!("{keys}/{id}");
                    if attempt(&http, &place, Method::DELETE, &path, json!({})).await.is_none() {
                        return;
                    }
                    acknowledged.lock().expect("nobody panics").entry(id).or_default().push("api_key.revoked");
                }
            });
        }
        // Not the same moment each time: from a few requests to some hundred.
        duration = duration * 7 % 1000 + 600;
        sleep(Duration::from_millis(duration)).await;
        server.sigkill();
        workers.join_all().await;
        server.restart();
    }

    // What the last process left under way is free again after half a minute; on SQLite at once.
    let started = Instant::now();
    let open = async |server: &Server, status: &str| {
        let path = format!("{WEBHOOKS}/{webhook}/deliveries?limit=1&status={status}");
        !server.ask(Method::GET, &path, None).await["deliveries"].as_array().expect("a list").is_empty()
    };
    while open(&server, "pending").await || open(&server, "failed").await {
        assert!(started.elapsed() < Duration::from_secs(150), "there is still something open");
        sleep(Duration::from_millis(50)).await;
    }
    let mut committed = BTreeSet::new();
    let mut path = format!("{WEBHOOKS}/{webhook}/deliveries?limit=200");
    loop {
        let page = server.ask(Method::GET, &path, None).await;
        for one in page["deliveries"].as_array().expect("a list") {
            assert_eq!(one["status"], "delivered", "{one}");
            committed.insert(one["event_id"].as_str().expect("an id").to_owned());
        }
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{WEBHOOKS}/{webhook}/deliveries?limit=200&cursor={cursor}");
    }

    let heard = heard.lock().expect("nobody panics").clone();
    let (mut bodies, mut told): (HashMap<String, String>, BTreeMap<String, Vec<String>>) = Default::default();
    for raw in &heard {
        let event: Value = serde_json::from_str(raw).expect("JSON");
        let id = event["event_id"].as_str().expect("an id").to_owned();
        if let Some(first) = bodies.get(&id) {
            // The same again is the same, byte for byte.
            assert_eq!(first, raw);
            continue;
        }
        if let Some(key) = event["data"]["api_key_id"].as_str() {
            let kind = event["type"].as_str().expect("a type").to_owned();
            told.entry(key.to_owned()).or_default().push(kind);
        }
        bodies.insert(id, raw.clone());
    }
    let distinct: BTreeSet<_> = bodies.keys().cloned().collect();
    assert_eq!(distinct.difference(&committed).count(), 0, "an event was told that was not committed");
    assert_eq!(committed.difference(&distinct).count(), 0, "a committed event was not told");
    let acknowledged = acknowledged.lock().expect("nobody panics");
    for (key, events) in acknowledged.iter() {
        let told = told.get(key).unwrap_or_else(|| panic!("nothing was told of an acknowledged key"));
        assert!(told.len() >= events.len() && told.iter().zip(events).all(|(told, event)| told == event), "{told:?}");
    }
    let line = format!(
        "{kills} kills on {store:?}: {} events committed, each told; {} of {} deliveries came twice; {} keys acknowledged; \
         the rest came within {:?} of the last start",
        committed.len(),
        heard.len() - distinct.len(),
        heard.len(),
        acknowledged.len(),
        started.elapsed(),
    );
    // Past the capture of the test runner: a figure has to be seen.
    writeln!(std::io::stderr(), "{line}").ok();
}
