//! Lists page by page. A cursor names the last entry of a page, and is sealed with what the list is: whose, and by which
//! filters. One that was made up, or given for another list, is refused.

use crate::app::App;
use crate::error::{Failure, field_error};
use crate::seal::{self, hex};
use serde::Serialize;
use serde_json::{Map, Value};
use std::fmt::Display;
use stead_api::error::{ErrorCode, FieldError};

/// The label under which cursors are sealed.
const LABEL: &str = "cursor";

/// The pages of one list.
pub struct Pages<'a> {
    app: &'a App,
    list: Vec<u8>,
}

impl<'a> Pages<'a> {
    /// Of the list that `list` tells apart from all others: its name, its workspace, its filters.
    pub fn new(app: &'a App, list: &impl Serialize) -> Self {
        Self { app, list: seal::bytes(list) }
    }

    /// The cursor of the page after an entry, which two texts without a dot name; the second may be empty.
    pub fn cursor(&self, first: impl Display, second: impl Display) -> String {
        let place = format!("{first}.{second}");
        let seal = self.seal(&place);
        format!("{place}.{seal}")
    }

    /// The entry that the query's cursor names, if there is one.
    pub fn after<T>(
        &self,
        query: &Map<String, Value>,
        read: impl FnOnce(&str, &str) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(cursor) = query.get("cursor").and_then(Value::as_str) else { return Ok(None) };
        let place = cursor.rsplit_once('.').filter(|(place, seal)| self.seal(place) == *seal);
        let entry = place.and_then(|(place, _)| place.split_once('.')).and_then(|(first, second)| read(first, second));
        let message = "The cursor is none that this server gave for this list.";
        entry.map(Some).ok_or_else(|| Failure::refused(ErrorCode::InvalidCursor, message))
    }

    fn seal(&self, place: &str) -> String {
        hex(&self.app.ring.derive(LABEL, &seal::bytes(&(hex(&self.list), place)))[..16])
    }
}

/// How many entries a page is to have.
pub fn limit(query: &Map<String, Value>, usual: usize, most: usize, mistakes: &mut Vec<FieldError>) -> usize {
    match query.get("limit").and_then(Value::as_str).map(str::parse) {
        None => usual,
        Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
        Some(_) => {
            let message = format!("must be a number from 1 to {most}");
            mistakes.push(field_error(&["query", "limit"], "value_error", message));
            usual
        }
    }
}
