//! Usage as series: `GET /v1/usage/character-stats` (wire §12.5), and the days of each key for the dashboard.

use super::buckets::Step;
use super::columns::{Column, Labels};
use super::flush::Unflushed;
use super::report::{self, MOST_NUMBERS, Question, Sum};
use super::{GRANTED, outcome};
use crate::app::App;
use crate::error::Failure;
use crate::members::{self, Authority, Caller};
use crate::store::{Error, Tx};
use crate::{accounts, workspaces};
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use stead_api::id::{KeyId, PrincipalId, WorkspaceId};
use stead_api::permission::WORKSPACE_ANALYTICS_FULL_READ;
use stead_api::usage::{CharacterStats, KeyUsage, KeysUsage};

const DAY: i64 = 86_400;
/// Most numbers of [`keys`]: three lists of days for each of some ten thousand keys.
const MOST_OF_KEYS: usize = 2_000_000;

/// What a series can stand for (wire §15.6), and the column that tells it apart. Of those without one Stead has no data:
/// all is in one series with an empty label.
pub const BREAKDOWNS: [(&str, Option<&str>); 16] = [
    ("none", None),
    ("voice", None),
    ("voice_multiplier", None),
    ("user", Some("user_id")),
    ("groups", None),
    ("api_keys", Some("key_id")),
    ("all_api_keys", Some("key_id")),
    ("product_type", Some("product_type")),
    ("model", None),
    ("resource", None),
    ("request_queue", None),
    ("region", Some("region")),
    ("subresource_id", None),
    ("reporting_workspace_id", Some("reporting_workspace_id")),
    ("has_api_key", Some("has_api_key")),
    ("request_source", Some("request_source")),
];

/// What can be told of each bucket (wire §15.6). What Stead doesn't measure is 0.
pub const METRICS: [&str; 9] = [
    "credits",
    "tts_characters",
    "minutes_used",
    "request_count",
    "ttfb_avg",
    "ttfb_p95",
    "fiat_units_spent",
    "concurrency",
    "concurrency_average",
];

/// What is asked for series.
#[derive(Clone, Debug)]
pub struct SeriesQuestion {
    /// Milliseconds since the epoch.
    pub range: (i64, i64),
    /// How time is cut.
    pub step: Step,
    /// Of all keys of the workspace, and not of the caller's own.
    pub include_workspace: bool,
    /// One of [`BREAKDOWNS`].
    pub breakdown: &'static str,
    /// One of [`METRICS`].
    pub metric: &'static str,
}

/// Series without gaps.
pub async fn character_stats(
    app: &Arc<App>,
    caller: &Caller,
    workspace: WorkspaceId,
    asked: SeriesQuestion,
) -> Result<CharacterStats, Failure> {
    let (caller, of) = (caller.clone(), workspace.clone());
    let work = move |app: &App, tx: &mut Tx<'_>, unflushed: &Unflushed| {
        let authority = authorize(app, tx, &caller, &workspace)?;
        if asked.include_workspace {
            check_may_read_all(&authority)?;
        }
        let column = BREAKDOWNS.iter().find(|(name, _)| *name == asked.breakdown).and_then(|(_, column)| *column);
        let column = column.and_then(Column::find);
        let question = Question {
            workspace: workspace.clone(),
            from: asked.range.0,
            to: asked.range.1,
            step: asked.step.clone(),
            group_by: column.into_iter().collect(),
            filters: Vec::new(),
            owner: if asked.include_workspace { None } else { own(&caller) },
            most: MOST_NUMBERS,
            blame: ["query", "aggregation_interval"],
        };
        let mut report = report::read(tx, unflushed, &question, 1)?;
        let time = report.starts.iter().map(|at| at * 1000).collect();
        let mut usage = BTreeMap::new();
        if asked.breakdown == "none" {
            // There is always one series, also of nothing.
            usage.insert("All".to_owned(), vec![0.0; report.starts.len()]);
        }
        let mut labels = Labels::new(&workspace, report.keys.take());
        for group in report.groups {
            let series = group.sums.iter().map(|sum| metric(asked.metric, sum)).collect();
            let label = match (column, group.values.first()) {
                (Some(column), Some(value)) => label(&mut labels, tx, column, value, &usage)?,
                _ if asked.breakdown == "none" => "All".to_owned(),
                _ => String::new(),
            };
            usage.insert(label, series);
        }
        Ok(CharacterStats { time, usage })
    };
    report::ask(app, &of, work).await
}

#[allow(clippy::cast_precision_loss, reason = "the wire's numbers are exact up to 2^53")]
fn metric(name: &str, sum: &Sum) -> f64 {
    match name {
        "credits" => sum.credits as f64,
        "request_count" => sum.count as f64,
        _ => 0.0,
    }
}

/// What a series is called. Two of the same name are told apart by their ids.
fn label(
    labels: &mut Labels<'_>,
    tx: &mut Tx<'_>,
    column: Column,
    value: &Value,
    taken: &BTreeMap<String, Vec<f64>>,
) -> Result<String, Error> {
    let plain = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let name = if column.label().is_some() { labels.of(tx, column, value)? } else { Value::Null };
    Ok(match name {
        Value::String(name) if taken.contains_key(&name) => format!("{name} ({plain})"),
        Value::String(name) => name,
        _ => plain,
    })
}

fn own(caller: &Caller) -> Option<PrincipalId> {
    caller.key().map(|key| key.principal_id.clone())
}

fn authorize(app: &App, tx: &mut Tx<'_>, caller: &Caller, workspace: &WorkspaceId) -> Result<Authority, Failure> {
    let row = workspaces::find(tx, workspace)?.ok_or_else(|| Failure::Defect("a key without a workspace".into()))?;
    members::authorize(tx, &app.ring, caller, &row, app.clock.now())
}

/// The workspace's usage is for who could ask the analytics, too.
fn check_may_read_all(authority: &Authority) -> Result<(), Failure> {
    let permission = WORKSPACE_ANALYTICS_FULL_READ;
    if authority.key.as_ref().is_some_and(|key| !key.holds(permission)) {
        return Err(members::lacks_permission(permission));
    }
    if authority.is_admin || authority.group_permissions.contains(permission) {
        return Ok(());
    }
    let message =
        format!("Only workspace admins and members of a group with the permission `{permission}` may do this.");
    Err(Failure::lacks(message, vec![permission.into()]))
}

/// The last days of each key that was asked about. Who is no admin sees the keys of service accounts and their own.
pub async fn keys(app: &Arc<App>, caller: &Caller, workspace: WorkspaceId, days: i64) -> Result<KeysUsage, Failure> {
    let (caller, of) = (caller.clone(), workspace.clone());
    let work = move |app: &App, tx: &mut Tx<'_>, unflushed: &Unflushed| {
        let authority = authorize(app, tx, &caller, &workspace)?;
        let today = app.clock.now().seconds().div_euclid(DAY) * DAY;
        let column = |name| Column::find(name).ok_or_else(|| Failure::Defect(format!("no column {name}")));
        let question = Question {
            workspace: workspace.clone(),
            from: (today - (days - 1) * DAY) * 1000,
            to: (today + DAY) * 1000,
            step: Step::Every(DAY, TimeZone::UTC),
            group_by: vec![column("key_id")?, column("service_account_user_id")?, column("outcome")?],
            filters: Vec::new(),
            owner: None,
            most: MOST_OF_KEYS,
            blame: ["query", "days"],
        };
        let report = report::read(tx, unflushed, &question, 1)?;
        let mut keys: BTreeMap<String, KeyUsage> = BTreeMap::new();
        let mut is_shown = HashMap::new();
        for group in report.groups {
            let [Value::String(key), Value::String(owner), Value::String(code)] = group.values.as_slice() else {
                continue;
            };
            if !authority.is_admin && !shown(tx, &caller, &workspace, owner, &mut is_shown)? {
                continue;
            }
            let nothing = || vec![0; report.starts.len()];
            let usage = keys.entry(key.clone()).or_insert_with(|| KeyUsage {
                key_id: KeyId::from(key.as_str()),
                service_account_user_id: owner.as_str().into(),
                granted: nothing(),
                denied: nothing(),
                credits: nothing(),
                denials: BTreeMap::new(),
            });
            let is_granted = code == outcome(GRANTED);
            for (day, sum) in group.sums.iter().enumerate() {
                let counts = if is_granted { &mut usage.granted } else { &mut usage.denied };
                counts[day] += number(sum.count);
                usage.credits[day] += number(sum.credits);
            }
            if !is_granted {
                let count = group.sums.iter().map(|sum| number(sum.count)).sum();
                usage.denials.insert(code.clone(), count);
            }
        }
        Ok(KeysUsage { days: report.starts, api_keys: keys.into_values().collect() })
    };
    report::ask(app, &of, work).await
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Whether a member who is no admin may see keys of this owner.
fn shown(
    tx: &mut Tx<'_>,
    caller: &Caller,
    workspace: &WorkspaceId,
    owner: &str,
    known: &mut HashMap<String, bool>,
) -> Result<bool, Error> {
    if let Some(shown) = known.get(owner) {
        return Ok(*shown);
    }
    let owner_id = PrincipalId::from(owner);
    let shown = own(caller).as_ref() == Some(&owner_id) || accounts::find(tx, workspace, &owner_id)?.is_some();
    known.insert(owner.to_owned(), shown);
    Ok(shown)
}
