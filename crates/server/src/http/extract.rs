//! What handlers take from a request.

use super::actor::{Scope, origin};
use super::fields::object;
use crate::error::Failure;
use crate::feed::idempotency::Retry;
use crate::members::{Caller, Request as Origin};
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, MatchedPath, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};
use stead_api::error::ErrorCode;

/// The largest body of a management request.
pub const MAX_BODY: usize = 64 * 1024;
/// The longest `Idempotency-Key`.
const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The bytes of a body that is JSON, or empty.
pub struct JsonBytes<const MOST: usize = MAX_BODY>(pub Bytes);

impl<S: Sync, const MOST: usize> FromRequest<S> for JsonBytes<MOST> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, MOST).await?;
        if !bytes.is_empty() && !is_json(&parts.headers) {
            return Err(Failure::refused(
                ErrorCode::InvalidContentType,
                "The body must be JSON, with Content-Type: application/json.",
            ));
        }
        Ok(Self(bytes))
    }
}

async fn read(body: Body, most: usize) -> Result<Bytes, Failure> {
    let collected = Limited::new(body, most).collect().await.map_err(|error| {
        if error.downcast_ref::<LengthLimitError>().is_some() {
            Failure::refused(ErrorCode::RequestTooLarge, format!("The body is larger than {most} bytes."))
        } else {
            Failure::refused(ErrorCode::BadRequest, "The body could not be read to its end.")
        }
    })?;
    Ok(collected.to_bytes())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Parses a body; an empty one is `{}` (wire §1: some POSTs of the SDKs have none).
pub fn parse(bytes: &[u8]) -> Result<Value, Failure> {
    if bytes.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    // serde_json's own text names line and column and never quotes the input.
    serde_json::from_slice(bytes)
        .map_err(|error| Failure::refused(ErrorCode::MalformedJson, format!("The body is not JSON: {error}.")))
}

/// A body that is a JSON object, or empty, with what a retry of the request is known by.
pub struct JsonObject {
    /// The object.
    pub object: Map<String, Value>,
    /// Set if the request carries an `Idempotency-Key`.
    pub retry: Option<Retry>,
}

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        // Elsewhere the header means nothing: those methods do the same thing however often they come.
        let key = if method == Method::POST { idempotency_key(request.headers())? } else { None };
        let JsonBytes(bytes) = JsonBytes::<MAX_BODY>::from_request(request, state).await?;
        let value = parse(&bytes)?;
        object(&value)?;
        let Value::Object(object) = value else { unreachable!("the line above refused everything else") };
        let retry = key.map(|key| Retry::new(&key, &format!("{method} {path}"), &bytes));
        Ok(Self { object, retry })
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Failure> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| (1..=MAX_IDEMPOTENCY_KEY).contains(&text.len()));
    if let (Some(text), None) = (text, values.next()) {
        Ok(Some(text.to_owned()))
    } else {
        let message = format!("must be one value of 1–{MAX_IDEMPOTENCY_KEY} printable ASCII characters");
        Err(Failure::invalid(&["header", "Idempotency-Key"], "value_error", message))
    }
}

/// The fields of a form in a browser, or of an empty body.
pub struct Form(pub Map<String, Value>);

impl<S: Sync> FromRequest<S> for Form {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let bytes = read(body, MAX_BODY).await?;
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !bytes.is_empty() && !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Failure::refused(ErrorCode::InvalidContentType, "The body must be that of a form."));
        }
        let fields = form_urlencoded::parse(&bytes);
        Ok(Self(fields.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()))
    }
}

/// What an id is made of. Any other text names nothing, and some (a NUL) can't even be put to every store.
pub fn id(text: &str) -> String {
    let plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if plain { text.to_owned() } else { String::new() }
}

/// The path's parameters, in order. One that isn't UTF-8 names nothing.
pub struct Ids<const N: usize>(pub [String; N]);

impl<S: Sync + Send, const N: usize> FromRequestParts<S> for Ids<N> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let unknown = || Failure::refused(ErrorCode::RouteNotFound, "There is no such route.");
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| unknown())?;
        let values: Vec<_> = params.iter().map(|(_, value)| id(value)).collect();
        values.try_into().map(Self).map_err(|_| unknown())
    }
}

/// The query's parameters. A repeated one is a mistake, since two readers could take different ones.
pub struct Query(pub Map<String, Value>);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let mut parameters = Map::new();
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            if parameters.insert(name.clone().into_owned(), Value::String(value.into_owned())).is_some() {
                return Err(Failure::invalid(&["query", &name], "value_error", "given more than once"));
            }
        }
        Ok(Self(parameters))
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        // Put there by the route's gate; a handler of a route for anyone can't ask for it.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| Failure::Defect("a route for anyone asks for its caller".into()))
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let route = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
        Ok(origin(parts.method.as_str(), route, parts.uri.path(), &parts.headers, &parts.extensions))
    }
}

impl<S: Sync> FromRequestParts<S> for Scope {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let scope = parts.extensions.get::<Self>().cloned();
        scope.ok_or_else(|| Failure::Defect("a route that asks about no keys asks whose".into()))
    }
}
