//! Probes.

use super::reply::{Answer, json};
use crate::app::App;
use crate::error::Failure;
use crate::store::Tx;
use crate::verify::freshness;
use axum::extract::State;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use stead_api::account::Status;
use stead_api::error::ErrorCode;

/// The process is alive; says nothing of the store, so that an outage of it restarts no server.
pub async fn healthz() -> Answer {
    json(&Status::ok())
}

/// The mirror is filled and the store can be read.
pub async fn readyz(State(app): State<Arc<App>>) -> Answer {
    let unready = |message: &str| Failure::refused(ErrorCode::ServiceUnavailable, message);
    if !app.ready.load(Ordering::Acquire) {
        return Err(unready("The mirror is being filled."));
    }
    if app.index.is_filling() || freshness(&app).is_err() {
        return Err(unready("The mirror is behind."));
    }
    if *app.store.broken().borrow() {
        return Err(unready("The store has failed and must be restarted."));
    }
    app.store
        .read(|tx: &mut Tx<'_>| tx.one("SELECT bucket FROM change_clock WHERE bucket = 0", &[], |_| Ok(())))
        .await?;
    json(&Status::ok())
}
