//! `/v1/forward-auth`: a proxy (nginx, Caddy, Traefik) asks whether a request may pass, with the request's own headers.

use super::admission::{Admitted, Presented, Visit, Wanted, admit, odd};
use super::proxies::{Seen, Sender};
use crate::app::App;
use crate::error::Failure;
use crate::http::actor::Peer;
use crate::http::fields::MAX_NUMBER;
use crate::http::parameter::Parameter;
use crate::metrics::Via;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use stead_verify::decide::Hop;

/// The query's parameters, for the description.
pub const QUERY: &[Parameter] = &[
    Parameter::text("permissions", "All of these must be held, apart by commas"),
    Parameter::text("resource", "`<resource type>/<resource id>` that the key's account needs a role on"),
    Parameter::words("role", "The role; `viewer` if absent", &["viewer", "commenter", "editor", "admin"]),
    Parameter::number("cost", "Credits to charge if the answer is yes", 0, MAX_NUMBER),
];

/// The yes: who calls, and no body. Made of an [`Admitted`] and of nothing else.
pub struct Identified(HeaderMap);

/// Answers by the key that the request carries, whatever its method; its body is not read.
pub async fn forward_auth(State(app): State<Arc<App>>, request: Request) -> Result<Identified, Failure> {
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let visit = visit(&app, sender(&request), request.uri().query().unwrap_or_default(), headers)?;
    let admitted = admit(&app, &visit).await?;
    Identified::new(&app, &admitted)
}

/// What a request of a proxy's is about.
pub(super) fn visit<'a>(
    app: &App,
    sender: Sender,
    query: &str,
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<Visit<'a>, Failure> {
    let wanted = wanted(app, query)?;
    let Presented { secret, told, .. } = Presented::read(&app.proxies, headers)?;
    let is_believed = app.proxies.trusted.believes(sender);
    let seen = if is_believed {
        told.client(&app.proxies.trusted).map_err(odd)?
    } else {
        Seen { ip: None, hop: Hop::Undeclared }
    };
    let request = told.method.zip(told.uri).filter(|_| is_believed);
    Ok(Visit { secret, seen, request, overrides: told.overrides, wanted, via: Via::ForwardAuth })
}

/// What the query asks for. A proxy asks the same of all its requests, so it is seldom read.
fn wanted(app: &App, query: &str) -> Result<Wanted, Failure> {
    if let Some(wanted) = app.proxies.known(query) {
        return Ok(wanted);
    }
    let wanted = Wanted::read(app, form_urlencoded::parse(query.as_bytes()).into_owned())?;
    app.proxies.know(query, wanted);
    Ok(wanted)
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
