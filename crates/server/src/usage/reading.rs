//! Reading questions about usage field by field, so that all mistakes are told at once.

use super::columns::Column;
use crate::error::Failure;
use crate::http::fields::Fields;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};
use stead_api::usage::{ColumnFilter, FilterOperation};

/// 2020-01-01, the earliest that the wire takes, and the end of the century, in milliseconds.
pub(super) const EARLIEST: i64 = 1_577_836_800_000;
pub(super) const LATEST: i64 = 4_102_444_800_000;
/// The longest bucket in seconds, ten years.
pub(super) const LONGEST: i64 = 3660 * 86_400;
const MOST_FILTERS: usize = 50;
const MOST_VALUES: usize = 1_000;

/// An instant in milliseconds, or absent.
pub(super) fn time(fields: &mut Fields<'_>, name: &str) -> Option<i64> {
    fields.number(name, EARLIEST, LATEST)
}

/// A range in milliseconds, both ends of which must be there.
pub(super) fn range(fields: &mut Fields<'_>, [start, end]: [&str; 2]) -> (i64, i64) {
    for name in [start, end] {
        required(fields, name);
    }
    let ends = (time(fields, start), time(fields, end));
    if let (Some(from), Some(to)) = ends
        && from >= to
    {
        fields.mistake(end, "value_error", format!("must be later than {start}"));
    }
    (ends.0.unwrap_or_default(), ends.1.unwrap_or_default())
}

/// A field that must be there.
pub(super) fn required(fields: &mut Fields<'_>, name: &str) {
    if fields.value(name).is_none() {
        fields.mistake(name, "missing", "Field required");
    }
}

/// One of a few words, or absent.
pub(super) fn choice(fields: &mut Fields<'_>, name: &str, words: &[&'static str]) -> Option<&'static str> {
    let value = fields.value(name)?;
    let word = words.iter().copied().find(|word| value.as_str() == Some(word));
    if word.is_none() {
        fields.mistake(name, "enum", format!("Input should be one of {}", words.join(", ")));
    }
    word
}

/// A zone by its IANA name; UTC if absent.
pub(super) fn zone(fields: &mut Fields<'_>, name: &str) -> TimeZone {
    let Some(given) = fields.text(name, 1, 64) else { return TimeZone::UTC };
    TimeZone::get(&given).unwrap_or_else(|_| {
        fields.mistake(name, "value_error", "must be the IANA name of a time zone, as in Europe/Berlin");
        TimeZone::UTC
    })
}

/// A list of columns, each once, or absent.
pub(super) fn columns(fields: &mut Fields<'_>, name: &str, is_known: impl Fn(&str) -> bool) -> Option<Vec<Column>> {
    let value = fields.value(name)?;
    let Some(items) = value.as_array() else {
        fields.mistake(name, "list_type", "Input should be a valid list");
        return None;
    };
    let mut columns: Vec<Column> = Vec::new();
    for item in items {
        match item.as_str().filter(|text| is_known(text)).and_then(Column::find) {
            Some(column) if columns.contains(&column) => {}
            Some(column) => columns.push(column),
            None => {
                fields.mistake(name, "enum", "Input should be names of columns that can be grouped by");
                return None;
            }
        }
    }
    Some(columns)
}

/// Filters; none if absent.
pub(super) fn filters(
    fields: &mut Fields<'_>,
    name: &str,
    is_known: impl Fn(&str) -> bool,
    operations: &[FilterOperation],
) -> Vec<ColumnFilter> {
    let Some(value) = fields.value(name) else { return Vec::new() };
    let Some(items) = value.as_array().filter(|items| items.len() <= MOST_FILTERS) else {
        fields.mistake(name, "list_type", format!("Input should be a list of at most {MOST_FILTERS} filters"));
        return Vec::new();
    };
    let mut filters = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match filter(item, &is_known, operations) {
            Ok(filter) => filters.push(filter),
            Err(Failure::Invalid(mistakes)) => fields.in_item(name, place, mistakes),
            Err(_) => fields.mistake(name, "value_error", "can't be read"),
        }
    }
    filters
}

fn filter(
    item: &Value,
    is_known: &impl Fn(&str) -> bool,
    operations: &[FilterOperation],
) -> Result<ColumnFilter, Failure> {
    let mut fields = Fields::new(crate::http::fields::object(item)?);
    let column = fields.required_text("column", 64);
    if !column.is_empty() && !is_known(&column) {
        fields.mistake("column", "enum", "Input should be a column that can be filtered by");
    }
    required(&mut fields, "operation");
    let words: Vec<_> = operations.iter().map(|operation| operation.as_str()).collect();
    let word = choice(&mut fields, "operation", &words);
    let operation = operations.iter().copied().find(|operation| Some(operation.as_str()) == word);
    required(&mut fields, "values");
    let values = fields.value("values").and_then(Value::as_array).cloned();
    let is_plain = |values: &Vec<Value>| {
        values.len() <= MOST_VALUES && values.iter().all(|value| !value.is_array() && !value.is_object())
    };
    if fields.value("values").is_some() && !values.as_ref().is_some_and(is_plain) {
        let message = format!("must be a list of at most {MOST_VALUES} texts, numbers, truth values or nulls");
        fields.mistake("values", "list_type", message);
    }
    let values = values.unwrap_or_default();
    let compares = [FilterOperation::Le, FilterOperation::Ge, FilterOperation::Lt, FilterOperation::Gt];
    if operation.is_some_and(|operation| compares.contains(&operation)) && values.len() != 1 {
        fields.mistake("values", "value_error", "le, ge, lt and gt compare with one value");
    }
    fields.finish(ColumnFilter { column, operation: operation.unwrap_or(FilterOperation::In), values })
}

/// A query's parameters as a body would have them: whole numbers and truth values are no texts.
pub(super) fn typed(query: Map<String, Value>, texts: &[&str]) -> Map<String, Value> {
    let read = |(name, value): (String, Value)| {
        let text = value.as_str().unwrap_or_default();
        let typed = match text {
            _ if texts.contains(&name.as_str()) => None,
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            number => number.parse::<i64>().ok().map(Value::from),
        };
        (name, typed.unwrap_or(value))
    };
    query.into_iter().map(read).collect()
}

/// The mistakes of a query, told as such.
pub(super) fn of_query(failure: Failure) -> Failure {
    let Failure::Invalid(mut mistakes) = failure else { return failure };
    for mistake in &mut mistakes {
        if let Some(place) = mistake.loc.first_mut() {
            *place = "query".into();
        }
    }
    Failure::Invalid(mistakes)
}
