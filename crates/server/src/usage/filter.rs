//! Filters on columns (wire §12.1). Pure.

use jiff::Timestamp;
use serde_json::Value;
use std::cmp::Ordering;
use stead_api::usage::{ColumnFilter, FilterOperation};

/// Whether a cell passes. Things of different kinds are never equal, and neither is less than the other.
pub fn passes(filter: &ColumnFilter, cell: &Value) -> bool {
    use FilterOperation::{Eq, Ge, Gt, In, Le, Lt, Neq, NotIn};
    let is_any = || filter.values.iter().any(|value| compare(cell, value) == Some(Ordering::Equal));
    let against = |wanted: &[Ordering]| {
        filter.values.iter().all(|value| compare(cell, value).is_some_and(|order| wanted.contains(&order)))
    };
    match filter.operation {
        In | Eq => is_any(),
        NotIn | Neq => !is_any(),
        Le => against(&[Ordering::Less, Ordering::Equal]),
        Ge => against(&[Ordering::Greater, Ordering::Equal]),
        Lt => against(&[Ordering::Less]),
        Gt => against(&[Ordering::Greater]),
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => match (instant(a), instant(b)) {
            // 12:00:00Z and 12:00:00.000Z are the same.
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => Some(a.cmp(b)),
        },
        // Milliseconds, as instants are given elsewhere.
        (Value::String(a), Value::Number(b)) => Some(instant(a)?.as_millisecond().cmp(&b.as_i64()?)),
        _ => None,
    }
}

fn instant(text: &str) -> Option<Timestamp> {
    // Most texts are none, and are not even tried.
    if text.len() < 20 || text.as_bytes()[4] != b'-' { None } else { text.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_operation_on_each_kind() {
        let noon = "2026-11-22T12:00:00Z";
        for (cell, operation, values, expected) in [
            (json!("a"), "in", json!(["b", "a"]), true),
            (json!("a"), "in", json!([]), false),
            (json!("a"), "not_in", json!([]), true),
            (json!("a"), "not_in", json!(["a"]), false),
            (json!("a"), "eq", json!(["a"]), true),
            (json!("a"), "neq", json!(["b"]), true),
            (json!("a"), "lt", json!(["b"]), true),
            (json!("b"), "le", json!(["b"]), true),
            (json!("b"), "gt", json!(["b"]), false),
            (json!("b"), "ge", json!(["b"]), true),
            (json!(null), "eq", json!([null]), true),
            (json!(null), "neq", json!([null]), false),
            (json!(null), "lt", json!(["b"]), false),
            (json!(true), "eq", json!([true]), true),
            (json!(true), "eq", json!(["true"]), false),
            (json!(5.0), "eq", json!([5]), true),
            (json!(5), "gt", json!([4.5]), true),
            (json!(5), "gt", json!(["4"]), false),
            (json!(noon), "eq", json!(["2026-11-22T12:00:00.000Z"]), true),
            (json!(noon), "ge", json!(["2026-11-22T13:00:00+02:00"]), true),
            (json!(noon), "lt", json!([1_795_348_800_001_i64]), true),
            (json!("not a time at all, is it"), "lt", json!([1_795_348_800_001_i64]), false),
        ] {
            let filter = json!({"column": "c", "operation": operation, "values": values});
            let filter: ColumnFilter = serde_json::from_value(filter).unwrap();
            assert_eq!(passes(&filter, &cell), expected, "{cell} {operation} {values}");
        }
    }
}
