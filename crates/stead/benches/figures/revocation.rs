//! How soon a revocation is seen, on the node that made it and on another one: two servers on one PostgreSQL.

use crate::beside;
use crate::process::{Launch, Log, Process};
use crate::report::{NONE, Report};
use crate::wire::{Line, body, delete, post, text};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};

const KEYS: usize = 200;
/// Between two questions to the other node.
const PAUSE: Duration = Duration::from_millis(1);
/// A change that is not seen within this is lost.
const LOST: Duration = Duration::from_secs(10);

/// Two nodes are one more thing that this machine may not have: then the row says why.
pub(crate) async fn measure(scratch: &Path, report: &mut Report) -> Result<()> {
    let (what, goal) = ("Revocation seen on another node, p50 / p99 after its answer", "p99 ≤ 250 ms");
    let url = match beside::handed("POSTGRES") {
        Ok(url) => url,
        Err(why) => {
            report.row(what, format!("not there: {why:#}"), NONE.into(), NONE.into(), goal);
            return Ok(());
        }
    };
    let url = format!("{}?schema=stead_figures", url.to_str().context("the address of PostgreSQL is text")?);
    let one = Launch::new(scratch, "node-1").with("STEAD_DATABASE_URL", &url).with("STEAD_PEPPER", &pepper());
    let other = one.twin(scratch, "node-2");
    let (here, there) = (one.start(Log::File)?, other.start(Log::File)?);
    let (at_once, mut delays) = revoke_all(&here, &there, &one.admin_key).await?;
    delays.sort_by(f64::total_cmp);

    let what_here = "Revocation seen on the same node: next question refused";
    report.row(what_here, format!("{at_once} of {KEYS}"), NONE.into(), NONE.into(), "all");
    let at = |thousandths: usize| delays[KEYS * thousandths / 1000];
    report.row(what, format!("{:.0} / {:.0} ms", at(500), at(990)), NONE.into(), NONE.into(), goal);
    Ok(())
}

async fn revoke_all(here: &Process, there: &Process, admin_key: &str) -> Result<(usize, Vec<f64>)> {
    let (mut here, mut there) = (Line::open(here.address).await?, Line::open(there.address).await?);
    let account = here.ask(&post("/v1/service-accounts", admin_key, r#"{"name":"figures"}"#)).await?;
    let keys = format!("/v1/service-accounts/{}/api-keys", text(account, "service_account_id")?);
    let mut made = Vec::new();
    for _ in 0..KEYS {
        let body = r#"{"name":"figures","permissions":["text_to_speech"]}"#;
        let answer = here.ask(&post(&keys, admin_key, body)).await?;
        made.push((text(answer, "key_id")?, text(answer, "api_key")?));
    }
    let question = |secret: &str| post("/v1/api-keys/verify", admin_key, &format!(r#"{{"api_key":"{secret}"}}"#));
    for (_, secret) in &made {
        wait(&mut there, &question(secret), true).await?;
    }
    let (mut at_once, mut delays) = (0, Vec::new());
    for (id, secret) in &made {
        here.ask(&delete(&format!("{keys}/{id}"), admin_key)).await?;
        let acknowledged = Instant::now();
        at_once += usize::from(!is_valid(here.ask(&question(secret)).await?));
        wait(&mut there, &question(secret), false).await?;
        delays.push(acknowledged.elapsed().as_secs_f64() * 1e3);
    }
    Ok((at_once, delays))
}

async fn wait(line: &mut Line, question: &[u8], valid: bool) -> Result<()> {
    let since = Instant::now();
    while is_valid(line.ask(question).await?) != valid {
        ensure!(since.elapsed() < LOST, "the other node does not see a change");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn is_valid(answer: &[u8]) -> bool {
    body(answer).starts_with(br#"{"valid":true"#)
}

/// Both nodes need the same; it guards nothing.
fn pepper() -> String {
    format!("1:{}", "7e".repeat(32))
}
