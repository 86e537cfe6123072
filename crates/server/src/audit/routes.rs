//! HTTP of the audit log (wire §11).

use super::Filter;
use super::activities::Class;
use crate::accounts::routes::workspace;
use crate::app::App;
use crate::error::{Failure, field_error};
use crate::http::extract::{Query, id};
use crate::http::fields::MAX_NUMBER;
use crate::http::pages::{Pages, limit};
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, json};
use crate::members::Caller;
use axum::extract::State;
use serde_json::{Map, Value};
use std::sync::Arc;
use stead_api::audit::AuditLogPage;
use stead_api::error::FieldError;
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
const LONGEST_PAGE: usize = 100;
const PAGE: usize = 50;
/// No activity has a longer name.
const LONGEST_NAME: usize = 128;

/// `GET /v1/workspace/audit-logs`.
pub async fn list(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let workspace = workspace(&caller)?;
    let mut mistakes = Vec::new();
    let limit = limit(&query, PAGE, LONGEST_PAGE, &mut mistakes);
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
    let pages = Pages::new(&app, &("audit", &workspace, FILTERS.map(|name| text(&query, name))));
    filter.before = pages.after(&query, |at, seq| Some((at.parse().ok()?, seq.parse().ok()?)))?;
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
    let next_cursor = next.map(|(at, seq)| pages.cursor(at, seq));
    json(&AuditLogPage { entries, has_more: next_cursor.is_some(), next_cursor })
}

/// `GET /v1/workspace/audit-logs/chain`.
pub async fn chain(State(app): State<Arc<App>>, caller: Caller) -> Answer {
    json(&super::chain(&app, workspace(&caller)?).await?)
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
