//! Stead itself as a contender, by its two doors, each with the bare server beside it.

use crate::bare;
use crate::contender::{Contender, Key, Proof, Questions};
use crate::process::{Launch, Process};
use crate::wire::{Line, body, get, headers, post};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::sync::Arc;

/// The path of forward-auth, with the permission asked for.
const FORWARD_AUTH: &str = "/v1/forward-auth?permissions=text_to_speech";

/// A door of Stead and its yardstick.
pub(crate) struct Pair {
    pub(crate) stead: Contender,
    pub(crate) bare: Contender,
}

/// `POST /v1/api-keys/verify`, the owner's key asking about each of the keys.
pub(crate) async fn verify(launch: &Launch, server: &Process, cores: Option<&str>, keys: &Arc<[Key]>) -> Result<Pair> {
    let questions = |proof| {
        let request = |secret: &String| {
            let body = format!(r#"{{"permissions":["text_to_speech"],"api_key":"{secret}"}}"#);
            post("/v1/api-keys/verify", &launch.admin_key, &body)
        };
        Questions::new(keys, proof, |key| key.secret.clone(), request)
    };
    let stead = Contender::http("Stead, verify", server, questions(Proof::Id)?);
    let (sample, is_fine) = sample(&stead).await?;
    ensure!(is_fine, "a verification was refused: {}", String::from_utf8_lossy(&sample));
    let bare = bare::start(bare::MODE, cores, std::str::from_utf8(body(&sample))?)?;
    let bare = Contender::http("bare hyper", &bare, questions(Proof::Word(br#"{"valid":true"#))?).keeping(bare);
    Ok(Pair { stead, bare })
}

/// `GET /v1/forward-auth`, with each of the keys; none if this server does not serve it.
pub(crate) async fn forward_auth(server: &Process, cores: Option<&str>, keys: &Arc<[Key]>) -> Result<Option<Pair>> {
    let questions = |proof| {
        let request = |secret: &String| get(FORWARD_AUTH, "xi-api-key", secret);
        Questions::new(keys, proof, |key| key.secret.clone(), request)
    };
    let stead = Contender::http("Stead, forward-auth", server, questions(Proof::Id)?);
    let (sample, is_fine) = sample(&stead).await?;
    if sample.starts_with(b"HTTP/1.1 404") {
        return Ok(None);
    }
    ensure!(is_fine, "forward-auth refused: {}", String::from_utf8_lossy(&sample));
    let bare = bare::start(bare::CONSTANT_MODE, cores, &serde_json::to_string(&headers(&sample)?)?)?;
    let bare = Contender::http("bare hyper", &bare, questions(Proof::Word(b"HTTP/1.1 200"))?).keeping(bare);
    Ok(Some(Pair { stead, bare }))
}

/// The answer about the first key.
async fn sample(stead: &Contender) -> Result<(Vec<u8>, bool)> {
    let address: SocketAddr = stead.address;
    let mut line = Line::open(address).await?;
    let (answer, is_fine) = line.exchange(&stead.questions.request()).await.context("a first question")?;
    Ok((answer.to_vec(), is_fine))
}
