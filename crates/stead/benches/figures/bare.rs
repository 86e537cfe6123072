//! The yardstick of verification: the least that any hyper server must do to read the same question and give the same
//! answer. This very program, started once more with [`MODE`] as its argument.

use crate::process::{Process, READY, on_cores};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::hint::black_box;
use std::process::{Command, Stdio};
use stead_api::verify::{Decision, VerifyApiKey};
use tokio::net::{TcpListener, TcpStream};

/// The argument that makes this program the bare server.
pub(crate) const MODE: &str = "bare";
/// Carries the answer to give.
const ANSWER: &str = "FIGURES_ANSWER";

/// Starts the bare server on some cores.
pub(crate) fn start(cores: Option<&str>, answer: &str) -> Result<Process> {
    let program = std::env::current_exe()?;
    let mut command: Command = on_cores(cores, &program);
    Process::start(command.arg(MODE).env(ANSWER, answer).stdin(Stdio::null()))
}

/// The bare server: as many workers as cores, as `stead serve` has.
#[allow(clippy::disallowed_methods, reason = "no setting of Stead, but a word from this program to itself")]
pub(crate) fn serve() -> Result<()> {
    let answer: Decision = serde_json::from_str(&std::env::var(ANSWER)?)?;
    // Lives as long as the process.
    let answer: &'static Decision = Box::leak(Box::new(answer));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("bare {READY}{}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await.context("a connection")?;
            tokio::spawn(connection(stream, answer));
        }
    })
}

async fn connection(stream: TcpStream, answer: &'static Decision) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| reply(request, answer));
    // Ends with an error when the load generator hangs up, which is how it ends each turn.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn reply(request: Request<Incoming>, answer: &Decision) -> Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let Ok(question) = serde_json::from_slice::<VerifyApiKey>(&body) else {
        let mut refused = Response::new(Full::default());
        *refused.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refused);
    };
    black_box(question);
    let mut response = Response::new(Full::from(serde_json::to_vec(answer)?));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
