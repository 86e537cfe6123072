//! `envoy.service.auth.v3.Authorization/Check`: Envoy asks whether a request may pass.
//!
//! One unary call of gRPC is a message behind five octets and a status behind the answer. Written here, that is shorter than
//! what a gRPC framework needs to be told ([decisions/0001](../../../../docs/decisions/0001-libraries.md)).

use super::admission::{Admitted, Presented, Proxies, Visit, Wanted, admit, odd};
use super::envoy::{Allowed, Attributes, CheckRequest, CheckResponse, Denied, HttpStatus, SetHeader, Status};
use super::proxies::{Seen, Sender, Told};
use crate::app::App;
use crate::error::Failure;
use crate::http::extract::MAX_BODY;
use crate::http::reply::write_out;
use crate::metrics::Via;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full, Limited};
use prost::Message;
use std::sync::Arc;
use stead_api::id::RequestId;
use stead_verify::decide::Hop;

/// A status of gRPC, and of Envoy's answer: all but `OK` refuse.
#[derive(Clone, Copy)]
enum Code {
    Ok = 0,
    InvalidArgument = 3,
    PermissionDenied = 7,
    Unimplemented = 12,
}

/// Answers Envoy. A call that is none of gRPC gets a status of gRPC all the same: Envoy refuses on any error.
pub async fn check(State(app): State<Arc<App>>, request: Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or_else(|| "".into());
    let question = match question(request).await {
        Ok(question) => question,
        Err(code) => return failed(code),
    };
    let attributes = question.attributes.unwrap_or_default();
    let answer = match judge(&app, &attributes).await {
        Ok((admitted, key_header)) => allowed(&app, &admitted, key_header),
        Err(failure) => denied(&failure, &id).await,
    };
    answered(&answer)
}

/// The decision, by the same function as forward-auth, and the header that the key came by.
async fn judge<'a>(app: &Arc<App>, attributes: &'a Attributes) -> Result<(Admitted, &'a str), Failure> {
    let wanted = attributes.context_extensions.iter().map(|(name, value)| (name.clone(), value.clone()));
    let wanted = Wanted::read(app, wanted)?;
    let http = attributes.request.as_ref().and_then(|request| request.http.as_ref());
    let headers = http.into_iter().flat_map(|http| &http.headers);
    let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
    let Presented { key_header, secret, told } = Presented::read(&app.proxies, headers)?;
    let visit = Visit {
        secret,
        seen: client(&app.proxies, attributes, &told)?,
        request: http.map(|http| (http.method.as_bytes(), http.path.as_bytes())),
        overrides: told.overrides,
        wanted,
        via: Via::ExtAuthz,
    };
    Ok((admit(app, &visit).await?, key_header))
}

/// The other end of Envoy's connection, or, where that is a proxy too, who came to it.
fn client(front: &Proxies, attributes: &Attributes, told: &Told<'_>) -> Result<Seen, Failure> {
    let address = attributes.source.as_ref().and_then(|source| source.address.as_ref());
    let socket = address.and_then(|address| address.socket.as_ref());
    let ip = socket.and_then(|socket| socket.address.parse().ok());
    let sender = match (ip, address) {
        (Some(ip), _) => Sender::Address(ip),
        (None, Some(address)) if address.pipe.is_some() => Sender::UnixSocket,
        _ => Sender::Unknown,
    };
    if front.trusted.believes(sender) {
        return told.client(&front.trusted).map_err(odd);
    }
    let hop = if ip.is_some() { Hop::Source } else { Hop::Undeclared };
    Ok(Seen { ip, hop })
}

fn allowed(app: &App, admitted: &Admitted, key_header: &str) -> CheckResponse {
    let headers = admitted.identity(app).into_iter().map(|(name, value)| SetHeader::overwrite(name, value)).collect();
    // The service behind has no use for the key.
    let headers_to_remove = vec![key_header.to_owned()];
    CheckResponse {
        status: Some(Status { code: Code::Ok as i32 }),
        ok: Some(Allowed { headers, headers_to_remove }),
        denied: None,
    }
}

/// A refusal as the client is to get it, written by the same function as every other.
async fn denied(failure: &Failure, id: &RequestId) -> CheckResponse {
    if matches!(failure, Failure::Defect(_) | Failure::Store(_)) {
        tracing::error!(request_id = %id, "failed: {failure:?}");
    }
    let (parts, body) = write_out(failure, id).into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let passed_on = [header::CONTENT_TYPE, header::WWW_AUTHENTICATE, header::RETRY_AFTER];
    let headers = passed_on.iter().filter_map(|name| {
        let value = parts.headers.get(name)?.to_str().ok()?;
        Some(SetHeader::overwrite(name.as_str(), value))
    });
    CheckResponse {
        status: Some(Status { code: Code::PermissionDenied as i32 }),
        denied: Some(Denied {
            status: Some(HttpStatus { code: parts.status.as_u16().into() }),
            headers: headers.collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        }),
        ok: None,
    }
}

async fn question(request: Request) -> Result<CheckRequest, Code> {
    let kind = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !kind.starts_with(b"application/grpc") {
        return Err(Code::InvalidArgument);
    }
    let body = Limited::new(request.into_body(), MAX_BODY).collect().await.map_err(|_| Code::InvalidArgument)?;
    let body = body.to_bytes();
    let [compressed, a, b, c, d, message @ ..] = &*body else { return Err(Code::InvalidArgument) };
    if *compressed != 0 {
        return Err(Code::Unimplemented);
    }
    if usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])) != Ok(message.len()) {
        return Err(Code::InvalidArgument);
    }
    CheckRequest::decode(message).map_err(|_| Code::InvalidArgument)
}

fn answered(answer: &CheckResponse) -> Response {
    let message = answer.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    let frame = [&[0][..], &length, &message].concat();
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(Code::Ok as i32));
    let body = Full::new(Bytes::from(frame)).with_trailers(std::future::ready(Some(Ok(trailers))));
    (StatusCode::OK, [(header::CONTENT_TYPE, GRPC)], Body::new(body)).into_response()
}

fn failed(code: Code) -> Response {
    let status = HeaderValue::from(code as i32);
    (StatusCode::OK, [(header::CONTENT_TYPE, GRPC), (STATUS, status)]).into_response()
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
