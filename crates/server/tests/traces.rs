//! Spans, as a collector receives them: a small server plays it, and reads the bytes with the protocol's own types.

use crate::harness::{Engine, World};
use axum::body::Body;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::Value;
use stead_server::traces::Traces;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// A collector: its address, and the requests it gets, heads and bodies.
async fn collector() -> (String, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            let request = loop {
                assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "a request is cut off");
                let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                if bytes.len() >= end + 4 + length.parse::<usize>().unwrap() {
                    break (head, bytes[end + 4..].to_vec());
                }
            };
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _: Result<(), _> = tell.send(request);
        }
    });
    (address, told)
}

fn attributes(span: &Span) -> String {
    let mut all: Vec<_> =
        span.attributes.iter().map(|it| format!("{}={}", it.key, format_args!("{:?}", it.value))).collect();
    all.sort();
    all.join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_management_request_is_a_span_without_a_secret() {
    let (address, mut told) = collector().await;
    let world = World::with(Engine::Sqlite, &[("otlp-endpoint", &address), ("trace-denials", "100")]).await;
    let key = world.account_with_key().await;
    let parent = [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "vendor=hostile"),
        ("user-agent", "hostile"),
    ];
    let request = World::request("GET", "/v1/user?hostile=1", &world.admin, &parent, Body::empty());
    let id = world.send(request).await.headers["x-request-id"].to_str().unwrap().to_owned();
    // Neither a grant nor a probe is a span; a denial is, as often as is set.
    assert_eq!(world.verify(&key.secret).await, "VALID");
    world.call_as("", "GET", "/healthz", Value::Null).await.ok();
    assert_eq!(world.verify("hostile").await, "NOT_FOUND");
    let app = world.app.clone();
    tokio::task::spawn_blocking(move || app.traces.as_ref().map(Traces::end)).await.unwrap().unwrap();

    let (head, body) = told.recv().await.unwrap();
    assert!(head.starts_with("post /v1/traces http/1.1") && head.contains("content-type: application/x-protobuf"));
    let export = ExportTraceServiceRequest::decode(&body[..]).unwrap();
    let spans: Vec<_> =
        export.resource_spans.iter().flat_map(|all| &all.scope_spans).flat_map(|all| &all.spans).collect();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["create_service_account", "create_service_account_api_key", "get_user", "denied"]);
    let (user, denied) = (spans[2], spans[3]);
    assert_eq!(user.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
    assert_eq!(user.parent_span_id, 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
    assert!(user.end_time_unix_nano > user.start_time_unix_nano);
    let shown = attributes(user);
    for (name, value) in [
        ("stead.route", "get_user"),
        ("stead.request_id", &id),
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
    ] {
        assert!(shown.contains(name) && shown.contains(value), "{shown}");
    }
    assert_eq!(user.attributes.len(), 4, "{shown}");
    let shown = attributes(denied);
    assert!(shown.contains("verify") && shown.contains("NOT_FOUND") && denied.attributes.len() == 2, "{shown}");
    let text = String::from_utf8_lossy(&body);
    for secret in ["hostile", &world.admin, &key.secret, &key.id, &key.account, "deploy", "127.0.0.1", "/v1/"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_unless_it_is_asked_for() {
    let world = World::new(Engine::Sqlite).await;
    assert!(world.app.traces.is_none());
    // A collector that isn't there changes nothing.
    let world = World::with(Engine::Sqlite, &[("otlp-endpoint", "http://127.0.0.1:9")]).await;
    world.account_with_key().await;
    let app = world.app.clone();
    tokio::task::spawn_blocking(move || app.traces.as_ref().map(Traces::end)).await.unwrap().unwrap();
}
