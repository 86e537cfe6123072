//! Usage and analytics (wire §12): what keys were asked about, how it was answered, what it cost.

use crate::id::{KeyId, PrincipalId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// A table, as all analytics answer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Table {
    /// The names of the columns. Names for people, as in `user_label`, stand at the end.
    pub columns: Vec<String>,
    /// `String`, `Float`, `DateTime`, `Int` or `Bool`, for each column.
    pub column_types: Vec<String>,
    /// A cell for each column: text, a number, true or false, or null. Instants are RFC 3339, in UTC.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Vec<crate::key::schema::Cell>>))]
    pub rows: Vec<Vec<Value>>,
    /// `credits`, `usd` or null, for each column.
    pub column_units: Vec<Option<String>>,
}

/// How a filter compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum FilterOperation {
    /// Is one of the values.
    In,
    /// Is none of them.
    NotIn,
    /// Is at most the value.
    Le,
    /// Is at least the value.
    Ge,
    /// Is less.
    Lt,
    /// Is more.
    Gt,
    /// Is the value; with several, one of them.
    Eq,
    /// Is not the value; with several, none of them.
    Neq,
}

impl FilterOperation {
    /// All of them.
    pub const ALL: [Self; 8] = [Self::In, Self::NotIn, Self::Le, Self::Ge, Self::Lt, Self::Gt, Self::Eq, Self::Neq];

    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "in",
            Self::NotIn => "not_in",
            Self::Le => "le",
            Self::Ge => "ge",
            Self::Lt => "lt",
            Self::Gt => "gt",
            Self::Eq => "eq",
            Self::Neq => "neq",
        }
    }
}

/// Lets through the rows whose cell in a column compares so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ColumnFilter {
    /// A column of the answer, or one that could be grouped by.
    pub column: String,
    /// How.
    pub operation: FilterOperation,
    /// With what, up to 1,000: text, numbers, true or false, null.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::key::schema::Cell>))]
    pub values: Vec<Value>,
}

/// `POST /v1/workspace/analytics/query/usage-by-product-over-time`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageOverTime {
    /// Milliseconds since the epoch, from 2020 on.
    pub start_time: i64,
    /// Milliseconds since the epoch; the first instant that is not meant any more.
    pub end_time: i64,
    /// Length of a bucket in seconds, 60 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<i64>,
    /// What is told apart, `["product_type"]` if absent: `product_type`, `model`, `voice_id`, `user_id`, `fiat_currency`,
    /// `fiat_charge_type`, `region`, `reporting_workspace_id`, `request_source`, `resource_id`, `subresource_id`,
    /// `request_queue_type`, `voice_multiplier`, `hashed_xi_api_key`, `billing_group_id`, `surface`, `actor`; and Stead's own
    /// `outcome`, `key_id`, `service_account_user_id` and `has_api_key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// On any of these, and on `timestamp`, `total_usage` and `usage_count`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<ColumnFilter>>,
    /// The IANA name of the zone whose days and weeks are meant, `UTC` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
}

/// `POST /v1/workspace/analytics/requests`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RequestsQuery {
    /// Milliseconds since the epoch, from 2020 on; this or `end_time` must be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<i64>,
    /// Milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    /// Most rows, 1–1,000, 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// `asc` or `desc`, by time; `desc` if absent and `end_time` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// On columns of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<ColumnFilter>>,
    /// What must be found in one of the row's texts, in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// `POST /v1/workspace/analytics/usage`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageQuery {
    /// Milliseconds since the epoch, from 2020 on.
    pub start_time: i64,
    /// Milliseconds since the epoch; the first instant that is not meant any more.
    pub end_time: i64,
    /// Length of a bucket in seconds: whole days, in UTC.
    pub interval_seconds: i64,
    /// What is told apart. Of `user_id`, `hashed_xi_api_key`, `region`, `reporting_workspace_id`, `billing_group_id`,
    /// `product_type`, `surface` and `actor` at most two, filters included; `model`, `request_source`, `fiat_charge_type` and
    /// `fiat_currency` besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// On these columns, with `eq`, `in`, `neq` or `not_in`. Grouping by two of the eight asks for one with `eq` or `in`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters: Option<Vec<ColumnFilter>>,
}

/// `GET /v1/usage/character-stats`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CharacterStats {
    /// When each bucket begins, in milliseconds since the epoch.
    pub time: Vec<i64>,
    /// A number for each bucket, by label; `All` where nothing is told apart.
    pub usage: BTreeMap<String, Vec<f64>>,
}

/// `GET /v1/workspace/usage/api-keys`: the days of each key that was asked about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeysUsage {
    /// When each day begins, in UTC, in seconds since the epoch; today is the last.
    pub days: Vec<i64>,
    /// The keys, by id. One that nobody asked about is not here.
    pub api_keys: Vec<KeyUsage>,
}

/// The days of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyUsage {
    /// The key.
    pub key_id: KeyId,
    /// Its owner.
    pub service_account_user_id: PrincipalId,
    /// How often the answer was yes, for each day.
    pub granted: Vec<i64>,
    /// How often it was no.
    pub denied: Vec<i64>,
    /// Credits that were charged.
    pub credits: Vec<i64>,
    /// How often it was no over all the days, by the decision's code.
    pub denials: BTreeMap<String, i64>,
}
