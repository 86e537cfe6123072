//! `GET /metrics`: counts, for Prometheus and whatever else reads its format.

use super::Door;
use super::actor::Peer;
use super::reply::no_store;
use crate::app::App;
use crate::config::Shown;
use crate::error::Failure;
use crate::metrics::{CONTENT_TYPE, scrape};
use axum::Extension;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use stead_api::error::ErrorCode;

/// What a proxy adds to what it passes on.
const FORWARDED: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The counts. Who may not have them is told that there is nothing.
pub async fn serve(
    State(app): State<Arc<App>>,
    Extension(door): Extension<Door>,
    peer: Option<Extension<Peer>>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    if !may_read(&app, door, peer.map(|peer| peer.0), &headers) {
        return Err(Failure::refused(ErrorCode::RouteNotFound, "There is no such route."));
    }
    Ok(no_store(([(header::CONTENT_TYPE, CONTENT_TYPE)], scrape(&app)).into_response()))
}

/// They hold no secret, but how much is going on is nobody's business outside. Behind a proxy on the same machine
/// everybody seems to come from here, so loopback counts only where none is known of.
fn may_read(app: &App, door: Door, peer: Option<Peer>, headers: &HeaderMap) -> bool {
    match (app.metrics_shown, door) {
        (Shown::Off, _) => false,
        (Shown::Public, _) | (Shown::Private, Door::Verification) => true,
        (Shown::Private, Door::Public) => {
            let is_local = peer.and_then(|peer| peer.0).is_some_and(|ip| ip.is_loopback());
            is_local && !app.has_proxy && !FORWARDED.iter().any(|name| headers.contains_key(*name))
        }
    }
}
