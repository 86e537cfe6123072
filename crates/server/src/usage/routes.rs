//! HTTP of usage and analytics (wire §12).

use super::buckets::Step;
use super::columns::Column;
use super::flush::Unflushed;
use super::reading::{self, EARLIEST, LATEST, LONGEST};
use super::recent::{self, RecentQuestion};
use super::report::{self, MOST_CELLS, Measure, Question, TOTAL_CHARGE_COUNT, TOTAL_COST, TOTAL_USAGE, USAGE_COUNT};
use super::stats::{self, BREAKDOWNS, METRICS, SeriesQuestion};
use crate::accounts::routes::workspace;
use crate::app::App;
use crate::http::extract::{JsonObject, Query};
use crate::http::fields::Fields;
use crate::http::parameter::Parameter;
use crate::http::reply::{Answer, json};
use crate::members::Caller;
use crate::store::Tx;
use axum::extract::State;
use jiff::tz::TimeZone;
use std::sync::Arc;
use stead_api::usage::{ColumnFilter, FilterOperation};

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;

/// What can be grouped by where costs are told: of the first eight at most two (wire §12.4).
const COST_COLUMNS: [&str; 12] = [
    "user_id",
    "hashed_xi_api_key",
    "region",
    "reporting_workspace_id",
    "billing_group_id",
    "product_type",
    "surface",
    "actor",
    "model",
    "request_source",
    "fiat_charge_type",
    "fiat_currency",
];
const EXCLUSIVE: usize = 8;

/// `POST /v1/workspace/analytics/query/usage-by-product-over-time`.
pub async fn get_usage_by_product_over_time(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    const MEASURES: [Measure; 2] = [TOTAL_USAGE, USAGE_COUNT];
    let mut fields = Fields::new(&body.object);
    let (from, to) = reading::range(&mut fields, ["start_time", "end_time"]);
    let interval = fields.number("interval_seconds", 1, LONGEST).unwrap_or(60);
    let zone = reading::zone(&mut fields, "time_zone");
    let group_by = reading::columns(&mut fields, "group_by", |_| true);
    let is_own = |name: &str| name == "timestamp" || MEASURES.iter().any(|(measure, ..)| *measure == name);
    let is_known = |name: &str| is_own(name) || Column::find(name).is_some();
    let filters = reading::filters(&mut fields, "filters", is_known, &FilterOperation::ALL);
    fields.finish(())?;
    let (own, filters): (Vec<_>, Vec<_>) = filters.into_iter().partition(|filter| is_own(&filter.column));
    let question = Question {
        workspace: workspace(&caller)?,
        from,
        to,
        step: Step::Every(interval, zone),
        group_by: group_by.unwrap_or_else(|| Column::find("product_type").into_iter().collect()),
        filters: on_columns(filters),
        owner: None,
        most: MOST_CELLS,
        blame: ["body", "interval_seconds"],
    };
    let work =
        move |_: &App, tx: &mut Tx<'_>, unflushed: &Unflushed| report::table(tx, unflushed, &question, &MEASURES, &own);
    json(&report::ask(&app, &workspace(&caller)?, work).await?)
}

fn on_columns(filters: Vec<ColumnFilter>) -> Vec<(Column, ColumnFilter)> {
    filters.into_iter().filter_map(|filter| Some((Column::find(&filter.column)?, filter))).collect()
}

/// `POST /v1/workspace/analytics/usage`.
pub async fn get_usage(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    use FilterOperation::{Eq, In, Neq, NotIn};
    let mut fields = Fields::new(&body.object);
    let (from, to) = reading::range(&mut fields, ["start_time", "end_time"]);
    reading::required(&mut fields, "interval_seconds");
    let interval = fields.number("interval_seconds", 1, LONGEST);
    if interval.is_some_and(|seconds| seconds % DAY != 0) {
        fields.mistake("interval_seconds", "multiple_of", "Input should be whole days: a multiple of 86400");
    }
    let is_known = |name: &str| COST_COLUMNS.contains(&name);
    let group_by = reading::columns(&mut fields, "group_by", is_known).unwrap_or_default();
    let filters = reading::filters(&mut fields, "filters", is_known, &[Eq, In, Neq, NotIn]);
    check_exclusive(&mut fields, &group_by, &filters);
    fields.finish(())?;
    let question = Question {
        workspace: workspace(&caller)?,
        from,
        to,
        step: Step::Every(interval.unwrap_or(DAY), TimeZone::UTC),
        group_by,
        filters: on_columns(filters),
        owner: None,
        most: MOST_CELLS,
        blame: ["body", "interval_seconds"],
    };
    let measures = [TOTAL_COST, TOTAL_CHARGE_COUNT, TOTAL_USAGE];
    let work =
        move |_: &App, tx: &mut Tx<'_>, unflushed: &Unflushed| report::table(tx, unflushed, &question, &measures, &[]);
    json(&report::ask(&app, &workspace(&caller)?, work).await?)
}

/// At most two of the eight; and grouping by two asks for a choice in one of them.
fn check_exclusive(fields: &mut Fields<'_>, group_by: &[Column], filters: &[ColumnFilter]) {
    let is_grouped = |name: &&str| group_by.iter().any(|column| *column.name == **name);
    let is_filtered = |name: &&str| filters.iter().any(|filter| *filter.column == **name);
    let exclusive = &COST_COLUMNS[..EXCLUSIVE];
    let named = exclusive.iter().filter(|name| is_grouped(name) || is_filtered(name)).count();
    if named > 2 {
        let message = format!("at most two of {} can be grouped or filtered by", exclusive.join(", "));
        fields.mistake("group_by", "value_error", message);
    }
    let is_chosen = |name: &str| {
        let choices = [FilterOperation::Eq, FilterOperation::In];
        filters.iter().any(|filter| filter.column == name && choices.contains(&filter.operation))
    };
    let grouped: Vec<_> = exclusive.iter().filter(|name| is_grouped(name)).collect();
    if grouped.len() == 2 && !grouped.iter().any(|name| is_chosen(name)) {
        let message = "grouping by two of these needs a filter on one of them with eq or in";
        fields.mistake("group_by", "value_error", message);
    }
}

/// `POST /v1/workspace/analytics/requests`.
pub async fn get_requests(State(app): State<Arc<App>>, caller: Caller, body: JsonObject) -> Answer {
    let mut fields = Fields::new(&body.object);
    let (from, to) = (reading::time(&mut fields, "start_time"), reading::time(&mut fields, "end_time"));
    if fields.value("start_time").is_none() && fields.value("end_time").is_none() {
        fields.mistake("start_time", "missing", "start_time or end_time is required");
    }
    if from.zip(to).is_some_and(|(from, to)| from >= to) {
        fields.mistake("end_time", "value_error", "must be later than start_time");
    }
    let limit = fields.number("limit", 1, 1000).unwrap_or(100);
    let sort = reading::choice(&mut fields, "sort", &["asc", "desc"]);
    let is_known = |name: &str| recent::COLUMNS.iter().any(|(column, _, _)| *column == name);
    let filters = reading::filters(&mut fields, "filters", is_known, &FilterOperation::ALL);
    let search = fields.text("search", 0, 200).map(|text| text.to_lowercase());
    fields.finish(())?;
    let asked = RecentQuestion {
        from,
        to,
        limit: usize::try_from(limit).unwrap_or(100),
        newest_first: sort.map_or(to.is_some(), |sort| sort == "desc"),
        filters,
        search,
    };
    json(&recent::requests(&app, workspace(&caller)?, asked).await?)
}

/// The first of each pair.
const BREAKDOWN_NAMES: [&str; BREAKDOWNS.len()] = {
    let mut names = [""; BREAKDOWNS.len()];
    let mut place = 0;
    while place < names.len() {
        names[place] = BREAKDOWNS[place].0;
        place += 1;
    }
    names
};

/// Wire §15.6.
const INTERVALS: &[&str] = &["hour", "day", "week", "month", "cumulative"];

/// The query of [`get_character_stats`].
pub const CHARACTER_STATS: &[Parameter] = &[
    Parameter::number("start_unix", "Milliseconds since the epoch, from 2020 on", EARLIEST, LATEST).required(),
    Parameter::number(
        "end_unix",
        "Milliseconds since the epoch, the first instant that is not meant any more",
        EARLIEST,
        LATEST,
    )
    .required(),
    Parameter::flag("include_workspace_metrics", "`true`: of all keys of the workspace; else of the caller's own"),
    Parameter::words(
        "breakdown_type",
        "What the series stand for, `none` if absent; `user` only with workspace metrics",
        &BREAKDOWN_NAMES,
    ),
    Parameter::words("aggregation_interval", "In UTC; `day` if absent", INTERVALS),
    Parameter::number("aggregation_bucket_size", "Seconds of a bucket, in place of the interval", 1, LONGEST),
    Parameter::words("metric", "`credits` (if absent) or `request_count`; the wire's others are 0", &METRICS),
];

/// `GET /v1/usage/character-stats`.
pub async fn get_character_stats(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let query = reading::typed(query, &["breakdown_type", "aggregation_interval", "metric"]);
    let mut fields = Fields::new(&query);
    let asked = series(&mut fields);
    let asked = fields.finish(asked).map_err(reading::of_query)?;
    json(&stats::character_stats(&app, &caller, workspace(&caller)?, asked).await?)
}

fn series(fields: &mut Fields<'_>) -> SeriesQuestion {
    let range = reading::range(fields, ["start_unix", "end_unix"]);
    let include_workspace = fields.boolean("include_workspace_metrics").unwrap_or(false);
    let breakdown = reading::choice(fields, "breakdown_type", &BREAKDOWN_NAMES).unwrap_or("none");
    if breakdown == "user" && !include_workspace {
        fields.mistake("breakdown_type", "value_error", "user needs include_workspace_metrics=true");
    }
    let interval = reading::choice(fields, "aggregation_interval", INTERVALS).unwrap_or("day");
    let size = fields.number("aggregation_bucket_size", 1, LONGEST);
    let step = match (size, interval) {
        (Some(seconds), _) => Step::Every(seconds, TimeZone::UTC),
        (None, "hour") => Step::Every(HOUR, TimeZone::UTC),
        (None, "week") => Step::Every(WEEK, TimeZone::UTC),
        (None, "month") => Step::Months(TimeZone::UTC),
        (None, "cumulative") => Step::Whole,
        (None, _) => Step::Every(DAY, TimeZone::UTC),
    };
    let metric = reading::choice(fields, "metric", &METRICS).unwrap_or("credits");
    SeriesQuestion { range, step, include_workspace, breakdown, metric }
}

/// The query of [`get_api_keys_usage`].
pub const API_KEYS_USAGE: &[Parameter] =
    &[Parameter::number("days", "How many days, 1–90, today among them; 30 if absent", 1, 90)];

/// `GET /v1/workspace/usage/api-keys`.
pub async fn get_api_keys_usage(State(app): State<Arc<App>>, caller: Caller, Query(query): Query) -> Answer {
    let query = reading::typed(query, &[]);
    let mut fields = Fields::new(&query);
    let days = fields.number("days", 1, 90).unwrap_or(30);
    let days = fields.finish(days).map_err(reading::of_query)?;
    json(&stats::keys(&app, &caller, workspace(&caller)?, days).await?)
}
