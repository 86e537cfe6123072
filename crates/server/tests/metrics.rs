//! What is counted, who may see it, and what the log says: the numbers are those of what was asked, and nothing that came
//! with a request is in either.

#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use crate::harness::{Engine, World};
use axum::body::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;
use stead_server::config::Place;
use stead_server::http::Door;
use stead_server::http::front::{Deadlines, Front, Listener, Service};
use stead_server::http::routes::routes;
use stead_server::metrics::denials::{self, Told};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing_subscriber::fmt::MakeWriter;

/// A scrape, read as Prometheus reads it: samples by name and labels. Panics where the form is wrong.
fn read(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut families) = (BTreeMap::new(), BTreeMap::new());
    let (mut helped, mut current) = (BTreeSet::new(), String::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').expect("a text").0.clone_into(&mut current);
            assert!(helped.insert(current.clone()), "HELP twice: {line}");
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, current, "TYPE belongs behind its HELP");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(families.insert(name.to_owned(), kind.to_owned()).is_none(), "TYPE twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let family = if families.contains_key(name) {
                name
            } else {
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
                base.filter(|base| families.get(*base).is_some_and(|kind| kind == "histogram")).expect(line)
            };
            assert_eq!(family, current, "a sample stands with its family");
            check_labels(series);
            assert!(samples.insert(series.to_owned(), value.parse().expect(line)).is_none(), "twice: {line}");
        }
    }
    check_histograms(&samples);
    samples
}

fn check_labels(series: &str) {
    let ids: Vec<_> = routes().iter().map(|route| route.id).chain(["none"]).collect();
    let Some((_, labels)) = series.split_once('{') else { return };
    for label in labels.strip_suffix('}').unwrap().split(',') {
        let (name, value) = label.split_once('=').unwrap();
        let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
        let is_known = match name {
            "route" => ids.contains(&value),
            "method" => ["GET", "POST", "PUT", "PATCH", "DELETE", "other"].contains(&value),
            "status_class" => ["2xx", "4xx", "5xx"].contains(&value),
            "via" => ["management", "verify", "batch", "forward_auth", "ext_authz"].contains(&value),
            "code" => value.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_'),
            "listener" => ["public", "verification"].contains(&value),
            "deadline" => ["handshake", "idle", "request", "write"].contains(&value),
            "outcome" => ["committed", "aborted", "unknown", "done", "failed"].contains(&value),
            "le" => value == "+Inf" || value.parse::<f64>().is_ok(),
            "version" => value == env!("CARGO_PKG_VERSION"),
            _ => false,
        };
        assert!(is_known, "{series}");
    }
}

fn check_histograms(samples: &BTreeMap<String, f64>) {
    for (series, count) in samples.iter().filter(|(series, _)| series.contains("_count")) {
        let all = series.replace("_count", "_bucket");
        let all = all.strip_suffix('}').map_or(format!("{all}{{le=\"+Inf\"}}"), |all| format!("{all},le=\"+Inf\"}}"));
        assert_eq!(samples[&all], *count, "{series}");
    }
}

async fn scrape(world: &World) -> (BTreeMap<String, f64>, String) {
    let reply = world.call_as("", "GET", "/metrics", Value::Null).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(reply.headers["cache-control"], "no-store");
    (read(&reply.text), reply.text)
}

fn decisions(samples: &BTreeMap<String, f64>, via: &str, code: &str) -> f64 {
    samples[&format!("stead_decisions_total{{via=\"{via}\",code=\"{code}\"}}")]
}

#[tokio::test]
async fn what_is_counted_is_what_was_asked() {
    let world = World::new(Engine::Sqlite).await;
    let key = world.account_with_key().await;
    let revoked = world.key(&key.account, json!({"name": "revoked"})).await;
    world.call("DELETE", &revoked.path(), Value::Null).await.ok();
    let (before, _) = scrape(&world).await;
    for _ in 0..3 {
        assert_eq!(world.verify(&key.secret).await, "VALID");
    }
    assert_eq!(world.verify(&revoked.secret).await, "REVOKED");
    let batch = json!({"requests": [{"api_key": key.secret}, {"api_key": "nonsense"}]});
    world.call("POST", "/v1/api-keys/verify-batch", batch).await.ok();
    // A rehearsal is no decision.
    world.call("POST", &format!("/v1/api-keys/{}/simulate", key.id), json!({})).await.ok();
    world.call("GET", "/v1/nowhere", Value::Null).await.is(404, "route_not_found");
    world.call("PUT", "/v1/user", json!({})).await.is(405, "method_not_allowed");
    let (after, _) = scrape(&world).await;
    let more = |series: &str| after[series] - before[series];
    let decided = |via, code| decisions(&after, via, code) - decisions(&before, via, code);
    assert_eq!(decided("verify", "VALID"), 3.0);
    assert_eq!(decided("verify", "REVOKED"), 1.0);
    assert_eq!((decided("batch", "VALID"), decided("batch", "NOT_FOUND")), (1.0, 1.0));
    // The owner's key, each time: four questions, the batch, the rehearsal; what is no route has no gate.
    assert_eq!(decided("management", "VALID"), 6.0);
    let requests = |route: &str, method: &str, class: &str| {
        more(&format!("stead_http_requests_total{{route=\"{route}\",method=\"{method}\",status_class=\"{class}\"}}"))
    };
    assert_eq!(requests("verify_api_key", "POST", "2xx"), 4.0);
    assert_eq!(requests("simulate_api_key", "POST", "2xx"), 1.0);
    assert_eq!(requests("none", "other", "4xx"), 2.0);
    assert_eq!(requests("metrics", "GET", "2xx"), 1.0);
    assert_eq!(more("stead_http_request_seconds_count{route=\"simulate_api_key\"}"), 1.0);
    assert_eq!(after["stead_mirror_keys"], 3.0);
    assert_eq!(after["stead_ready"], 1.0);
    assert!(after["stead_store_writes_total{outcome=\"committed\"}"] >= 4.0);
    assert!(after["stead_unsaved_uses"] >= 1.0);
    assert!(after["process_resident_memory_bytes"] > 1e6 && after["process_open_fds"] > 2.0);
    for (series, value) in before.iter().filter(|(series, _)| series.split('{').next().unwrap().ends_with("_total")) {
        assert!(after[series] >= *value, "{series} has gone back");
    }
}

#[tokio::test]
async fn nothing_that_came_with_a_request_is_told() {
    let world = World::new(Engine::Sqlite).await;
    let key = world.account_with_key().await;
    let hostile = "hostile\"}666";
    for (path, secret) in [("/hostile", hostile), ("/v1/user/hostile", &key.secret), ("/metrics?hostile=1", hostile)] {
        let headers = [("user-agent", "hostile"), ("x-hostile", "hostile"), ("traceparent", "hostile")];
        for method in ["GET", "HOSTILE"] {
            world.send(World::request(method, path, secret, &headers, Body::from("hostile"))).await;
        }
    }
    world.verify_with(json!({}), hostile).await;
    let (_, text) = scrape(&world).await;
    let mut secrets = vec!["ostile".to_owned(), "OSTILE".into(), "666".into(), key.secret, key.id, key.account];
    secrets.extend([world.admin.clone(), world.workspace.to_string(), "127.0.0.1".into(), "owner@".into()]);
    assert!(!secrets.iter().any(|secret| text.contains(secret.as_str())), "{text}");
}

#[tokio::test]
async fn who_may_see_the_counts_is_a_setting() {
    let asked = |headers: &[(&str, &str)], ip: Option<[u8; 4]>| {
        let mut request = World::request("GET", "/metrics", "", headers, Body::empty());
        request.extensions_mut().insert(stead_server::http::actor::Peer(ip.map(Into::into)));
        request
    };
    let (here, far) = (Some([127, 0, 0, 1]), Some([192, 0, 2, 1]));
    let public_url = ("public-url", "https://keys.example.com");
    // By the public listener from here, by a proxy from here, from elsewhere; by the verification listener.
    for (settings, wanted) in [
        (vec![], [200, 404, 404, 200]),
        (vec![public_url], [404, 404, 404, 200]),
        (vec![("metrics", "public")], [200, 200, 200, 200]),
        (vec![("metrics", "off")], [404, 404, 404, 404]),
    ] {
        let world = World::with(Engine::Sqlite, &settings).await;
        let mut seen = Vec::new();
        for request in [asked(&[], here), asked(&[("x-forwarded-for", "192.0.2.1")], here), asked(&[], far)] {
            seen.push(world.send(request).await.status.as_u16());
        }
        seen.push(world.send_by(Door::Verification, asked(&[], None)).await.status.as_u16());
        assert_eq!(seen, wanted, "{settings:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_what_they_bring_are_counted() {
    let world = World::new(Engine::Sqlite).await;
    let key = world.account_with_key().await;
    let listener = Listener::bind(&Place::Tcp("127.0.0.1:0".parse().unwrap())).await.unwrap();
    let address = listener.address().to_owned();
    let patience = Duration::from_millis(200);
    let deadlines = Deadlines { first_byte: patience, head: patience, linger: patience, ..Deadlines::default() };
    let front = Front { service: Service::new(world.app.clone(), Door::Public), tls: None, deadlines, connections: 16 };
    tokio::spawn(listener.serve(front, std::future::pending()));
    let send = async |bytes: String| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let body = json!({"api_key": key.secret}).to_string();
    let verify = format!(
        "POST /v1/api-keys/verify HTTP/1.1\r\nHost: h\r\nConnection: close\r\nxi-api-key: {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        world.admin,
        body.len()
    );
    assert!(send(verify).await.contains("\"VALID\""));
    assert!(send("GET /hostile HTTP/1.1\r\n\r\n".into()).await.starts_with("HTTP/1.1 400 "));
    assert!(send("GET /hostile HTTP/1.1\r\nHos".into()).await.starts_with("HTTP/1.1 408 "));
    assert_eq!(send(String::new()).await, "");
    // The server's side of the last one ends a moment later.
    let mut samples = scrape(&world).await.0;
    for _ in 0..100 {
        if samples["stead_connections_open{listener=\"public\"}"] == 0.0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        samples = scrape(&world).await.0;
    }
    for (series, wanted) in [
        ("stead_connections_open{listener=\"public\"}", 0.0),
        ("stead_connections_opened_total{listener=\"public\"}", 4.0),
        ("stead_connections_opened_total{listener=\"verification\"}", 0.0),
        ("stead_connections_late_total{listener=\"public\",deadline=\"idle\"}", 1.0),
        ("stead_connections_late_total{listener=\"public\",deadline=\"request\"}", 1.0),
        ("stead_http_malformed_total{code=\"bad_request\"}", 1.0),
        ("stead_http_malformed_total{code=\"request_timeout\"}", 1.0),
        ("stead_http_requests_total{route=\"verify_api_key\",method=\"POST\",status_class=\"2xx\"}", 1.0),
        ("stead_decisions_total{via=\"verify\",code=\"VALID\"}", 1.0),
    ] {
        assert_eq!(samples[series], wanted, "{series}");
    }
}

/// What one thread logs. The subscriber is the process's, since a thread's own one misses what other threads were the
/// first to log.
#[derive(Clone)]
struct Log(Arc<Mutex<Vec<u8>>>, ThreadId);

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if std::thread::current().id() == self.1 {
            self.0.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn the_log_has_a_line_for_what_is_managed_and_one_for_all_denials() {
    let log = Log(Arc::default(), std::thread::current().id());
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::new(Engine::Sqlite).await;
    let (key, mut told) = (world.account_with_key().await, Told::default());
    denials::tell(&world.app, &mut told);
    log.take();
    for _ in 0..20 {
        world.verify(&key.secret).await;
        world.verify("stead_secretnonsense").await;
        let batch = json!({"requests": [{"api_key": key.secret}]});
        world.call("POST", "/v1/api-keys/verify-batch", batch).await.ok();
    }
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
        assert_eq!(world.call_as("", "GET", path, Value::Null).await.status, 200);
    }
    assert_eq!(log.take(), "");
    denials::tell(&world.app, &mut told);
    let line = log.take();
    assert!(line.contains("denied count=20 codes=\"MALFORMED=20\"") && line.lines().count() == 1, "{line}");
    denials::tell(&world.app, &mut told);
    assert_eq!(log.take(), "");
    world.call("POST", "/v1/service-accounts/hostile/api-keys?secret", json!({"name": "secret"})).await;
    let line = log.take();
    assert!(line.contains("answered") && line.contains("status=404") && line.lines().count() == 1, "{line}");
    world.send(World::request("SECRET", "/secret", "secret", &[], "secret")).await.is(404, "route_not_found");
    let unknown = log.take();
    assert!(unknown.contains("method=\"other\" path=\"\"") && !unknown.to_lowercase().contains("secret"), "{unknown}");
    assert!(line.contains("path=\"/v1/service-accounts/{service_account_user_id}/api-keys\""), "{line}");
    assert!(!["hostile", "secret", &world.admin].iter().any(|secret| line.contains(secret)), "{line}");
}
