//! `/v1/forward-auth`: a proxy (nginx, Caddy, Traefik) asks whether a request may pass, with the request's own headers.

use super::admission::{Admitted, Presented, Visit, Wanted, admit, odd};
use super::proxies::{Hop, Seen, Sender};
use crate::app::App;
use crate::error::Failure;
use crate::http::actor::Peer;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The query's parameters, for the description.
pub const QUERY: &[(&str, &str)] = &[
    ("permissions", "all of these must be held, apart by commas"),
    ("cost", "credits to charge if the answer is yes"),
];

/// The yes: who calls, and no body. Made of an [`Admitted`] and of nothing else.
pub struct Identified(HeaderMap);

/// Answers by the key that the request carries, whatever its method; its body is not read.
pub async fn forward_auth(State(app): State<Arc<App>>, request: Request) -> Result<Identified, Failure> {
    let wanted = form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned();
    let wanted = Wanted::read(&app, wanted)?;
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let Presented { secret, told, .. } = Presented::read(&app.front, headers)?;
    let is_believed = app.front.trusted.believes(sender(&request));
    let seen = if is_believed {
        told.client(&app.front.trusted).map_err(odd)?
    } else {
        Seen { ip: None, hop: Hop::Undeclared }
    };
    let asked = told.method.zip(told.uri).filter(|_| is_believed);
    let visit = Visit { secret, seen, request: asked, overrides: told.overrides, wanted };
    admit(&app, &visit).and_then(|admitted| Identified::new(&app, &admitted))
}

impl Identified {
    fn new(app: &App, admitted: &Admitted) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for (name, value) in admitted.identity(app) {
            let value = HeaderValue::try_from(value).map_err(|_| Failure::Defect(format!("{name} fits no header")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(Self(headers))
    }
}

impl IntoResponse for Identified {
    fn into_response(self) -> Response {
        (StatusCode::OK, self.0).into_response()
    }
}

fn sender(request: &Request) -> Sender {
    match request.extensions().get::<Peer>() {
        Some(Peer(Some(ip))) => Sender::Address(*ip),
        Some(Peer(None)) => Sender::UnixSocket,
        None => Sender::Unknown,
    }
}
