//! From a failure to an answer. The body carries the request's id, which only the outermost layer knows; so a failure
//! travels there as an extension of an empty response and is written out in one place.

use crate::error::{Failure, Refusal};
use crate::feed::Revision;
use crate::feed::mutation::Committed;
use crate::store;
use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use stead_api::error::{ErrorBody, ErrorCode, ErrorDetail, ValidationBody};
use stead_api::id::RequestId;

/// Says which change an answer follows, to be given back as `at_least`.
pub const REVISION: HeaderName = HeaderName::from_static("x-stead-revision");

/// An answer or a failure.
pub type Answer = Result<Response, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// A value as JSON.
pub fn json(value: &impl Serialize) -> Answer {
    Ok(Json(value).into_response())
}

/// A committed value as JSON, with its revision.
pub fn committed<T>(committed: &Committed<T>, body: &impl Serialize) -> Answer {
    let mut response = Json(body).into_response();
    if let Some(revision) = committed.revision {
        set_revision(response.headers_mut(), revision);
    }
    Ok(response)
}

fn set_revision(headers: &mut HeaderMap, revision: Revision) {
    if let Ok(value) = HeaderValue::from_str(&revision.to_string()) {
        headers.insert(REVISION, value);
    }
}

/// An answer that holds a secret must be kept by nobody on its way.
pub fn no_store(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Writes a failure out: shape C for mistakes in the input, shape A for everything else (wire §3.1). Never empty.
pub fn write_out(failure: &Failure, request_id: &RequestId) -> Response {
    let (refusal, retry_after);
    let refusal = match failure {
        Failure::Invalid(detail) => {
            let body = ValidationBody { detail: detail.clone() };
            return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
        }
        Failure::Refused(told) => {
            retry_after = told.retry_after;
            &**told
        }
        other => {
            retry_after = matches!(other, Failure::Store(store::Error::Unavailable(_))).then_some(1);
            refusal = unforeseen(other);
            &refusal
        }
    };
    let status = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = ErrorBody {
        detail: ErrorDetail {
            kind: refusal.code.kind().into(),
            code: refusal.code.as_str().into(),
            message: refusal.message.clone(),
            status: refusal.code.as_str().into(),
            request_id: request_id.to_string(),
            param: refusal.param.map(str::to_owned),
            missing_permissions: refusal.missing.clone(),
            key_id: refusal.key_id.as_ref().map(ToString::to_string),
            decision: refusal.decision.as_deref().cloned(),
        },
    };
    let mut response = (status, Json(body)).into_response();
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110 wants a challenge. There is no registered scheme for a header of one's own.
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey header=\"xi-api-key\""));
    }
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What a caller is told of what went wrong on our side; the rest is for the log.
fn unforeseen(failure: &Failure) -> Refusal {
    let (code, message) = match failure {
        Failure::Store(store::Error::Unavailable(_) | store::Error::Conflict(_)) => (
            ErrorCode::ServiceUnavailable,
            "The store can't be reached or is overloaded. Nothing was changed; try again.",
        ),
        Failure::OutcomeUnknown => (
            ErrorCode::OutcomeUnknown,
            "It is not known whether the change was made. Read, or send it again with the same Idempotency-Key.",
        ),
        _ => (ErrorCode::InternalError, "Something is wrong with the server. Nothing was changed."),
    };
    Refusal::new(code, message)
}
