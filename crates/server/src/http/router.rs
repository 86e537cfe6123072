//! From the table to a service. Layers, outermost first: the frame (request id, log line, panics, failures written
//! out), then each route's gate, then its handler.

use super::actor::{Gate, pass};
use super::routes::Route;
use super::{Door, reply, routes};
use crate::app::App;
use crate::audit::refusals::Called;
use crate::error::Failure;
use crate::members::Access;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use stead_api::error::ErrorCode;
use stead_api::id::RequestId;

/// Both names of a request's id on every answer: the JavaScript SDK reads the one, the hosted service sends the other.
const IDS: [HeaderName; 2] = [HeaderName::from_static("x-request-id"), HeaderName::from_static("x-trace-id")];

/// The service for a listener.
pub fn router(app: Arc<App>, door: Door) -> Router {
    let mut router = Router::new();
    for route in routes::routes().into_iter().filter(|route| is_served(route, door, app.has_verification_listener)) {
        let called = Called { route: route.id, method: route.method.to_string(), path: route.path };
        let gate = Gate { app: app.clone(), door, access: route.access, called };
        router = router.route(route.path, route.handler.layer(from_fn_with_state(gate, pass)));
    }
    router
        .fallback(|| async { Failure::refused(ErrorCode::RouteNotFound, "There is no such route.") })
        .method_not_allowed_fallback(|| async {
            Failure::refused(ErrorCode::MethodNotAllowed, "The route exists, but not with this method.")
        })
        .with_state(app.clone())
        .layer(from_fn_with_state(app, frame))
}

/// Whether a route is served on a listener.
fn is_served(route: &Route, door: Door, has_verification_listener: bool) -> bool {
    match route.access {
        Access::Asker => true,
        // Probes everywhere; what changes something only where changes are made.
        Access::Anyone => door == Door::Public || route.method == Method::GET,
        Access::Subject => door == Door::Verification || !has_verification_listener,
        _ => door == Door::Public,
    }
}

/// The outermost layer.
async fn frame(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let id = RequestId::from_random(app.entropy.id());
    let started = app.clock.now();
    // The template, never the path itself: whoever puts a secret there must not find it in a log.
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_default();
    let route = app.metrics.route(&path, request.method());
    let span = app.traces.as_ref().filter(|_| route.is_management);
    let span = span.map(|traces| traces.begin(&route, &id, request.headers(), started));
    request.extensions_mut().insert(id.clone());
    let mut response = caught(next.run(request)).await;
    let failure = response.extensions_mut().remove::<Arc<Failure>>();
    if let Some(failure) = &failure {
        let kept = response.headers_mut().remove(header::ALLOW);
        response = reply::write_out(failure, &id);
        if let Some(allow) = kept {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    sign(&mut response, &id);
    let ended = app.clock.now();
    // Ours, too: a method may be any word.
    let (micros, method) = (ended.0 - started.0, route.method);
    let status = response.status().as_u16();
    app.metrics.answered(route, status, Duration::from_micros(micros.max(0).unsigned_abs()));
    if let Some(span) = span {
        span.end(status, ended);
    }
    match failure.as_deref() {
        Some(failure @ (Failure::Defect(_) | Failure::Store(_) | Failure::OutcomeUnknown)) => {
            tracing::error!(request_id = %id, method, path, status, micros, "failed: {failure:?}");
        }
        // No line for each question about a key, nor for each probe: they would drown everything else.
        _ if !route.is_management && route.id != "none" => {}
        _ => tracing::info!(request_id = %id, method, path, status, micros, "answered"),
    }
    response
}

/// What every answer carries.
fn sign(response: &mut Response, id: &RequestId) {
    for name in IDS {
        if let Ok(value) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The answer to what is refused before it comes to a route.
pub(super) fn refuse(app: &App, failure: &Failure) -> Response {
    let id = RequestId::from_random(app.entropy.id());
    let mut response = reply::write_out(failure, &id);
    sign(&mut response, &id);
    response
}

/// Turns a panic of a handler into a failure like any other.
async fn caught(future: impl Future<Output = Response>) -> Response {
    let mut future = std::pin::pin!(future);
    let guarded = std::future::poll_fn(|context| {
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(Poll::Ready(response)) => Poll::Ready(response),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Failure::Defect("a handler panicked".into()).into_response()),
        }
    });
    guarded.await
}
