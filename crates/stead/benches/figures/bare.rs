//! The yardsticks of verification and forward-auth: the least that any hyper server must do to read the same question
//! and give the same answer. This very program, started once more with a mode as its argument.

use crate::process::{Process, READY, on_cores};
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::hint::black_box;
use std::process::{Command, Stdio};
use stead_api::verify::{Decision, VerifyApiKey};
use tokio::net::{TcpListener, TcpStream};

/// Parses the question and serialises the answer, as a verification must.
pub(crate) const MODE: &str = "bare";
/// Always gives the same headers and an empty body, as forward-auth might.
pub(crate) const CONSTANT_MODE: &str = "bare-constant";
/// Carries the answer to give.
const ANSWER: &str = "FIGURES_ANSWER";

/// What the bare server answers. Lives as long as the process.
#[derive(Clone, Copy)]
enum Answer {
    Decision(&'static Decision),
    Headers(&'static HeaderMap),
}

/// Starts the bare server on some cores. `answer` is a decision, or a list of names and values.
pub(crate) fn start(mode: &str, cores: Option<&str>, answer: &str) -> Result<Process> {
    let program = std::env::current_exe()?;
    let mut command: Command = on_cores(cores, &program);
    Process::start(command.arg(mode).env(ANSWER, answer).stdin(Stdio::null()))
}

/// The bare server, if this program was started as one: as many workers as cores, as `stead serve` has.
#[allow(clippy::disallowed_methods, reason = "no setting of Stead, but a word from this program to itself")]
pub(crate) fn serve(mode: &str) -> Result<()> {
    let answer = std::env::var(ANSWER)?;
    let answer = if mode == MODE {
        Answer::Decision(Box::leak(Box::new(serde_json::from_str(&answer)?)))
    } else {
        let pairs: Vec<(String, String)> = serde_json::from_str(&answer)?;
        let pair = |(name, value): (String, String)| -> Result<_> {
            Ok((HeaderName::try_from(name)?, HeaderValue::try_from(value)?))
        };
        Answer::Headers(Box::leak(Box::new(pairs.into_iter().map(pair).collect::<Result<_>>()?)))
    };
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

async fn connection(stream: TcpStream, answer: Answer) {
    stream.set_nodelay(true).ok();
    let service = service_fn(move |request| reply(request, answer));
    // Ends with an error when the load generator hangs up, which is how it ends each turn.
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
}

async fn reply(request: Request<Incoming>, answer: Answer) -> Result<Response<Full<Bytes>>> {
    let answer = match answer {
        Answer::Decision(decision) => decision,
        Answer::Headers(headers) => {
            let mut response = Response::new(Full::default());
            response.headers_mut().clone_from(headers);
            return Ok(response);
        }
    };
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
