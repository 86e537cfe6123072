//! HTTP of invites (wire §9.4): JSON for programs, and the two pages that an invite's link leads to.

use super::{Accepted, Asked, Invited, page};
use crate::accounts::routes::{NAME, workspace};
use crate::app::App;
use crate::error::Failure;
use crate::feed::mutation::Committed;
use crate::http::extract::{Form, Ids, JsonObject};
use crate::http::fields::{EMAIL, Fields, MAX_NUMBER};
use crate::http::reply::{self, Answer, committed, json, no_store};
use crate::members::routes::seat;
use crate::members::{Caller, Request, SeatType};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use stead_api::member::{AcceptedInvite, CreatedInvite, CreatedInvites, InviteList};
use stead_api::secret::Secret;

/// Most addresses of one request.
const MOST_EMAILS: usize = 100;
/// Most groups of one request.
const MOST_GROUPS: usize = 100;
/// More than a token has.
const TOKEN: usize = 64;

/// `GET /v1/workspace/invites`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&InviteList { invites: super::list(&app, workspace(&caller)?).await? })
}

/// `POST /v1/workspace/invites/add`.
pub async fn create(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let emails = vec![fields.required_email("email")];
    let asked = asked(fields, emails)?;
    let made = super::create(&app, &caller, body.retry, asked).await?;
    let invite_url = made.value.links.first().map(|link| link.invite_url.clone());
    committed(&made, &CreatedInvite { status: "ok".into(), invite_url }).map(no_store)
}

/// `POST /v1/workspace/invites/add-bulk`.
pub async fn create_bulk(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let emails = fields.required_emails("emails", MOST_EMAILS);
    let asked = asked(fields, emails)?;
    let Committed { value: Invited { links }, revision, .. } = super::create(&app, &caller, body.retry, asked).await?;
    let answer = CreatedInvites { status: "ok".into(), invites: links };
    committed(&Committed { value: (), secret: None, revision }, &answer).map(no_store)
}

fn asked(mut fields: Fields<'_>, emails: Vec<String>) -> Result<Asked, Failure> {
    let asked = Asked {
        emails,
        seat: seat(&mut fields, "seat_type", "workspace_permission", false).unwrap_or(SeatType::WorkspaceMember),
        groups: fields.ids("group_ids", MOST_GROUPS).unwrap_or_default(),
        usage_limit: fields.number("usage_limit", 0, MAX_NUMBER),
    };
    fields.finish(asked)
}

/// `DELETE /v1/workspace/invites`.
pub async fn revoke(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let email = fields.required_text("email", EMAIL);
    let email = fields.finish(email)?;
    let made = super::revoke(&app, &caller, email).await?;
    committed(&made, &made.value)
}

/// `POST /v1/workspace/invites/accept`.
pub async fn accept(State(app): State<Arc<App>>, request: Request, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let asked = (Secret::new(fields.required_text("token", TOKEN)), fields.text("first_name", 0, NAME));
    let (token, first_name) = fields.finish(asked)?;
    reveal(super::accept(&app, request, token, first_name).await?)
}

/// Where the secret of a first key leaves the server in JSON.
fn reveal(made: Committed<Accepted>) -> Answer {
    let Committed { value, secret, revision } = made;
    let body = AcceptedInvite {
        workspace_id: value.workspace_id,
        user_id: value.user_id,
        email: value.email,
        seat_type: value.seat_type,
        key_id: value.key_id,
        xi_api_key: secret.clone(),
        api_key: secret,
    };
    committed(&Committed { value: (), secret: None, revision }, &body).map(no_store)
}

/// `GET /invite/{token}`.
pub async fn show(State(app): State<Arc<App>>, Ids([token]): Ids<1>) -> Answer {
    match super::show(&app, Secret::new(token)).await {
        Ok(shown) => Ok(html(StatusCode::OK, page::asked(&shown))),
        Err(failure) => refused(failure),
    }
}

/// `POST /invite/{token}`.
pub async fn accept_form(State(app): State<Arc<App>>, Ids([token]): Ids<1>, request: Request, form: Form) -> Answer {
    let mut fields = Fields::new(&form.0);
    let first_name = fields.text("first_name", 0, NAME);
    let accepted = match fields.finish(first_name) {
        Ok(first_name) => super::accept(&app, request, Secret::new(token), first_name).await,
        Err(failure) => Err(failure),
    };
    match accepted {
        Ok(made) => Ok(html(StatusCode::OK, page::joined(&made.value, made.secret.as_ref().map(Secret::expose)))),
        Err(failure) => refused(failure),
    }
}

/// A person reads this one. What is wrong with the server goes the usual way, to the log.
fn refused(failure: Failure) -> Answer {
    let (Failure::Refused(_) | Failure::Invalid(_)) = failure else { return Err(failure) };
    let (code, message) = reply::told(&failure);
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Ok(html(status, page::refused(&message)))
}

/// A page that nobody keeps, frames or is told of: its address is a secret.
fn html(status: StatusCode, page: String) -> Response {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    no_store((status, headers, page).into_response())
}
