//! What one account's list of keys costs while others have none, and again when they have many.

use crate::process::{Launch, Log};
use crate::report::{Report, median};
use crate::wire::{Line, get, post, text};
use anyhow::Result;
use std::time::Instant;

const KEYS: usize = 10;
const QUESTIONS: usize = 1000;

/// An account that never changes while the store is filled.
pub(crate) struct Growth {
    keys: String,
    /// Microseconds for its list, with no other keys about.
    before: f64,
}

impl Growth {
    pub(crate) async fn begin(launch: &Launch) -> Result<Self> {
        let server = launch.start(Log::Nowhere)?;
        let mut line = Line::open(server.address).await?;
        let account = line.ask(&post("/v1/service-accounts", &launch.admin_key, r#"{"name":"constant"}"#)).await?;
        let keys = format!("/v1/service-accounts/{}/api-keys", text(account, "service_account_id")?);
        for _ in 0..KEYS {
            let body = r#"{"name":"constant","permissions":["text_to_speech"]}"#;
            line.ask(&post(&keys, &launch.admin_key, body)).await?;
        }
        server.stop()?;
        let before = list(launch, &keys).await?;
        Ok(Self { keys, before })
    }

    pub(crate) async fn tell(&self, launch: &Launch, keys: &str, report: &mut Report) -> Result<()> {
        let after = list(launch, &self.keys).await?;
        report.row(
            &format!("Listing an account's {KEYS} keys, others have {keys} (beside it: others have none)"),
            format!("{after:.0} µs"),
            format!("{:.0} µs", self.before),
            format!("{:.2}", after / self.before),
            "does not grow",
        );
        Ok(())
    }
}

/// The middle time of many lists, each by a server that has just started.
async fn list(launch: &Launch, keys: &str) -> Result<f64> {
    let server = launch.start(Log::Nowhere)?;
    let mut line = Line::open(server.address).await?;
    let request = get(keys, "xi-api-key", &launch.admin_key);
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        let since = Instant::now();
        line.ask(&request).await?;
        times.push(since.elapsed().as_secs_f64() * 1e6);
    }
    server.stop()?;
    Ok(median(times))
}
