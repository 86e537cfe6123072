//! From a request to the router and back, for both versions of HTTP.

use super::head::{Head, Refusal, bad};
use crate::app::App;
use crate::error::Failure;
use crate::http::actor::Peer;
use crate::http::router::refuse;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use stead_api::error::ErrorCode;
use tower::ServiceExt;

/// The request as the router takes it.
pub(super) fn request(head: &Head<'_>, body: &[u8], peer: Option<IpAddr>) -> Result<Request, Refusal> {
    let target = match head.query {
        None => PathAndQuery::try_from(head.path),
        Some(query) => PathAndQuery::try_from(format!("{}?{query}", head.path)),
    };
    let mut request = Request::new(Body::from(Bytes::copy_from_slice(body)));
    *request.method_mut() = Method::from_bytes(head.method.as_bytes()).map_err(|_| UNFIT)?;
    *request.uri_mut() = Uri::from(target.map_err(|_| UNFIT)?);
    *request.version_mut() = if head.is_http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    request.headers_mut().reserve(head.headers.len());
    for field in head.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| UNFIT)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| UNFIT)?;
        request.headers_mut().append(name, value);
    }
    request.extensions_mut().insert(Peer(peer));
    Ok(request)
}

/// The gate lets nothing by that the router's types refuse, as far as anybody knows.
const UNFIT: Refusal = bad("The request can't be understood.");

/// Has the router answer.
pub(super) async fn ask(router: &Router, request: Request) -> Response {
    router.clone().oneshot(request).await.into_response()
}

/// What a request is told that never gets to the router: of the same form as all failures.
pub(super) fn refused(app: &App, code: ErrorCode, message: &'static str) -> Response {
    app.metrics.malformed(code);
    refuse(app, &Failure::refused(code, message))
}

/// How long the body is, if it is known before. To HEAD the router gives the length of the body that GET would have.
pub(super) fn length(headers: &HeaderMap, body: &Body, is_head: bool) -> Option<u64> {
    let told = || headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    if is_head { told().or_else(|| body.size_hint().exact()) } else { body.size_hint().exact() }
}

/// Headers that are the front's own to write.
pub(super) fn is_ours(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::DATE, header::TRANSFER_ENCODING].contains(name)
}
