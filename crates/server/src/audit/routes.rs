//! HTTP of the audit log (wire §11).

use super::Filter;
use super::activities::Class;
use crate::accounts::routes::workspace;
use crate::app::App;
use crate::error::{Failure, field_error};
use crate::http::extract::{Query, id};
use crate::http::fields::MAX_NUMBER;
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, json};
use crate::members::Caller;
use crate::seal::{self, hex};
use axum::extract::State;
use serde_json::{Map, Value};
use std::sync::Arc;
use stead_api::audit::AuditLogPage;
use stead_api::error::{ErrorCode, FieldError};
use stead_api::id::WorkspaceId;
use stead_api::time::Timestamp;

/// The query of [`list`].
pub const QUERY: &[Parameter] = &[
    Parameter::number("limit", "Entries of a page, 1–100, 50 if absent", 1, 100),
    Parameter::text("cursor", "`next_cursor` of the page before, with the same filters"),
    Parameter::number(
        "time_from_unix_ms",
        "Not written before; milliseconds since the epoch, inclusive",
        0,
        MAX_NUMBER,
    ),
    Parameter::number("time_to_unix_ms", "Not written after; milliseconds since the epoch, inclusive", 0, MAX_NUMBER),
    Parameter::text("actor_uid", "By the member with this id, or by the server itself: `system`"),
    Parameter::text(
        "class_name",
        "`Account Change`, `Authentication`, `Entity Management`, `User Access Management` or `Group Management`",
    ),
    Parameter::text("activity_name", "As in `API Key Creation`; `Access Refused` for calls that were refused"),
];

/// What narrows a list; a cursor belongs to one such set.
const FILTERS: [&str; 5] = ["time_from_unix_ms", "time_to_unix_ms", "actor_uid", "class_name", "activity_name"];
/// The label under which cursors are sealed.
const CURSOR: &str = "audit cursor";
const LONGEST_PAGE: usize = 100;
const PAGE: usize = 50;
/// No activity has a longer name.
const LONGEST_NAME: usize = 128;

/// `GET /v1/workspace/audit-logs`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let workspace = workspace(&caller)?;
    let mut mistakes = Vec::new();
    let limit = match text(&query, "limit").map(str::parse) {
        None => PAGE,
        Some(Ok(limit @ 1..=LONGEST_PAGE)) => limit,
        Some(_) => {
            mistakes.push(mistake("limit", "must be a number from 1 to 100"));
            PAGE
        }
    };
    let mut filter = Filter {
        // A millisecond is from its first microsecond to its last.
        from: instant(&query, "time_from_unix_ms", 0, &mut mistakes),
        to: instant(&query, "time_to_unix_ms", 999, &mut mistakes),
        actor: text(&query, "actor_uid").map(id),
        ..Filter::default()
    };
    if !mistakes.is_empty() {
        return Err(Failure::Invalid(mistakes));
    }
    let bound = |place: &str| sealed(&app, &workspace, &query, place);
    if let Some(cursor) = text(&query, "cursor") {
        let place = cursor.rsplit_once('.').filter(|(place, seal)| bound(place) == *seal);
        let place = place
            .and_then(|(place, _)| place.split_once('.'))
            .and_then(|(at, seq)| Some((at.parse().ok()?, seq.parse().ok()?)));
        filter.before = Some(place.ok_or_else(|| {
            let message = "The cursor is none that this server gave for this list with these filters.";
            Failure::refused(ErrorCode::InvalidCursor, message)
        })?);
    }
    // A name that nothing has is no mistake: a newer server may have it.
    let mut is_of_nothing = false;
    if let Some(name) = text(&query, "class_name") {
        filter.class_uid = Class::ALL.into_iter().find(|class| class.name() == name).map(Class::uid);
        is_of_nothing |= filter.class_uid.is_none();
    }
    if let Some(name) = text(&query, "activity_name") {
        is_of_nothing |= name.chars().count() > LONGEST_NAME || name.contains(char::is_control);
        filter.activity = Some(name.to_owned());
    }
    let (entries, next) =
        if is_of_nothing { (Vec::new(), None) } else { super::list(&app, workspace.clone(), filter, limit).await? };
    let next_cursor = next.map(|(at, seq)| {
        let place = format!("{at}.{seq}");
        format!("{place}.{}", bound(&place))
    });
    json(&AuditLogPage { entries, has_more: next_cursor.is_some(), next_cursor })
}

/// `GET /v1/workspace/audit-logs/chain`.
pub async fn chain(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&super::chain(&app, workspace(&caller)?).await?)
}

/// What binds a cursor to its workspace, to the filters it was given for and to this installation.
fn sealed(app: &App, workspace: &WorkspaceId, query: &Map<String, Value>, place: &str) -> String {
    let filters = FILTERS.map(|name| text(query, name));
    hex(&app.ring.derive(CURSOR, &seal::bytes(&(workspace, filters, place)))[..16])
}

fn instant(query: &Map<String, Value>, name: &str, micros: i64, mistakes: &mut Vec<FieldError>) -> Option<Timestamp> {
    let given = text(query, name)?;
    let number = given.parse::<i64>().ok().filter(|number| (0..=MAX_NUMBER).contains(number));
    if number.is_none() {
        mistakes.push(mistake(name, "must be a whole number of milliseconds since the epoch"));
    }
    number.map(|number| Timestamp(number.saturating_mul(1000).saturating_add(micros)))
}

fn text<'a>(query: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    query.get(name).and_then(Value::as_str)
}

fn mistake(name: &str, message: &str) -> FieldError {
    field_error(&["query", name], "value_error", message)
}
