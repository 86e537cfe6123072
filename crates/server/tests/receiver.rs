//! A receiver of webhooks that remembers what it heard and answers as it is told.

use aws_lc_rs::hmac;
use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub struct Heard {
    pub headers: HeaderMap,
    pub raw: String,
    pub body: Value,
}

impl Heard {
    pub fn id(&self) -> &str {
        self.body["event_id"].as_str().unwrap()
    }

    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    /// Whether it is signed with a secret: the wire's own way, made anew here.
    pub fn is_signed(&self, secret: &str) -> bool {
        let header = self.headers["elevenlabs-signature"].to_str().unwrap();
        let (time, mac) = header.strip_prefix("t=").unwrap().split_once(",v0=").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let made = hmac::sign(&key, format!("{time}.{}", self.raw).as_bytes());
        let digits = made.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
        mac == digits.map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])).collect::<String>()
    }
}

/// What is answered to a request.
pub type Answer = dyn Fn(&Heard) -> u16 + Send + Sync;

pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    answer: Arc<Mutex<Box<Answer>>>,
    task: JoinHandle<()>,
}

impl Receiver {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let answer: Arc<Mutex<Box<Answer>>> = Arc::new(Mutex::new(Box::new(|_| 200)));
        let (ears, tongue) = (heard.clone(), answer.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (ears, tongue) = (ears.clone(), tongue.clone());
                tokio::spawn(async move {
                    let serve = service_fn(move |request: Request<Incoming>| {
                        let (ears, tongue) = (ears.clone(), tongue.clone());
                        async move {
                            let (parts, body) = request.into_parts();
                            let bytes = body.collect().await.unwrap().to_bytes();
                            let raw = String::from_utf8(bytes.to_vec()).unwrap();
                            let body = serde_json::from_str(&raw).unwrap();
                            let one = Heard { headers: parts.headers, raw, body };
                            let status = tongue.lock().unwrap()(&one);
                            ears.lock().unwrap().push(one);
                            Ok::<_, Infallible>(
                                Response::builder().status(status).body(Full::new(Bytes::from("thanks"))).unwrap(),
                            )
                        }
                    });
                    http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await.ok();
                });
            }
        });
        Self { url, heard, answer, task }
    }

    /// From now on answers so.
    pub fn answers(&self, answer: impl Fn(&Heard) -> u16 + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// What came since the last time this was asked.
    pub fn take(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}
