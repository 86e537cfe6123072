//! The server itself.

use super::Route;
use crate::http::{docs, health, metrics, openapi};
use crate::members::{Access, Object};
use axum::http::Method;
use axum::routing::get;

/// The heading these stand under.
pub(super) const TAG: &str = "Server";

pub(super) fn rows() -> Vec<Route> {
    vec![
        Route::new(
            "health",
            Method::GET,
            "/healthz",
            Access::Anyone,
            Object::Server,
            "Is the process alive?",
            get(health::healthz),
        ),
        Route::new(
            "ready",
            Method::GET,
            "/readyz",
            Access::Anyone,
            Object::Server,
            "Is the mirror filled and the store reachable?",
            get(health::readyz),
        ),
        Route::new(
            "metrics",
            Method::GET,
            "/metrics",
            Access::Anyone,
            Object::Server,
            "Counts in Prometheus' text format, where the setting `metrics` lets them be seen",
            get(metrics::serve),
        ),
        Route::new(
            "openapi",
            Method::GET,
            "/openapi.json",
            Access::Anyone,
            Object::Server,
            "This description",
            get(openapi::serve),
        ),
        Route::new(
            "docs",
            Method::GET,
            "/docs",
            Access::Anyone,
            Object::Server,
            "The reference as a page",
            get(docs::serve),
        ),
    ]
}
