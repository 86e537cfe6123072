//! Single decisions (wire §12.3). There is no row for each: that would be dearer than the decision. What there is are the
//! recent ones that this node keeps to be asked about, all denials and a sample of the grants, until newer ones come.

use super::columns::{Column, Keys, Labels, PRODUCT, SOURCE};
use super::report::all_pass;
use super::{number, outcome};
use crate::app::App;
use crate::error::Failure;
use crate::store::Tx;
use crate::verify::Verdict;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use stead_api::id::WorkspaceId;
use stead_api::usage::{ColumnFilter, Table};
use stead_api::verify::DecisionCode;
use stead_verify::index::KeyRecord;

/// The columns with their types and units.
pub const COLUMNS: [(&str, &str, Option<&str>); 12] = [
    ("timestamp", "DateTime", None),
    ("request_id", "String", None),
    ("product_type", "String", None),
    ("request_source", "String", None),
    ("outcome", "String", None),
    ("user_id", "String", None),
    ("key_id", "String", None),
    ("hashed_xi_api_key", "String", None),
    ("credits", "Float", Some("credits")),
    ("ip", "String", None),
    ("user_label", "String", None),
    ("api_key_name", "String", None),
];

/// What is asked.
#[derive(Clone, Debug)]
pub struct RecentQuestion {
    /// Milliseconds since the epoch.
    pub from: Option<i64>,
    /// The first instant that is not meant any more.
    pub to: Option<i64>,
    /// Most rows.
    pub limit: usize,
    /// The newest first.
    pub newest_first: bool,
    /// On the columns.
    pub filters: Vec<ColumnFilter>,
    /// Must be found in one of the texts; in lower case.
    pub search: Option<String>,
}

/// The decisions, as a table.
pub async fn requests(app: &Arc<App>, workspace: WorkspaceId, asked: RecentQuestion) -> Result<Table, Failure> {
    let worker = app.clone();
    let kept = app.decisions.latest(&workspace, usize::MAX);
    let mut verdicts: Vec<_> = kept.into_iter().map(|decision| decision.verdict).collect();
    verdicts.retain(|verdict| {
        let at = verdict.at.0.div_euclid(1000);
        asked.from.is_none_or(|from| from <= at) && asked.to.is_none_or(|to| at < to)
    });
    verdicts.sort_by_key(|verdict| verdict.at);
    if asked.newest_first {
        verdicts.reverse();
    }
    let work = move |tx: &mut Tx<'_>| {
        let mut table = Table {
            columns: COLUMNS.iter().map(|(name, _, _)| (*name).to_owned()).collect(),
            column_types: COLUMNS.iter().map(|(_, kind, _)| (*kind).to_owned()).collect(),
            column_units: COLUMNS.iter().map(|(_, _, unit)| unit.map(str::to_owned)).collect(),
            rows: Vec::new(),
        };
        // A few, of a workspace that may have very many.
        let ids = verdicts.iter().filter_map(|verdict| Some(verdict.key.as_ref()?.id())).collect();
        let keys = Keys::find(tx, &workspace, &ids)?;
        let mut labels = Labels::new(&workspace, Some(keys.clone()));
        for verdict in &verdicts {
            if table.rows.len() == asked.limit {
                break;
            }
            let row = row(&worker, tx, &workspace, (&keys, &mut labels), verdict)?;
            let is_found = asked.search.as_ref().is_none_or(|text| {
                row.iter().filter_map(Value::as_str).any(|cell| cell.to_lowercase().contains(text.as_str()))
            });
            if is_found && all_pass(&asked.filters, &table.columns, &row) {
                table.rows.push(row);
            }
        }
        Ok(table)
    };
    app.store.read(work).await
}

fn row(
    app: &App,
    tx: &mut Tx<'_>,
    workspace: &WorkspaceId,
    (keys, labels): (&Keys, &mut Labels<'_>),
    verdict: &Verdict,
) -> Result<Vec<Value>, Failure> {
    let key = verdict.key.as_ref();
    let owner: Value = key.map(|key| app.index.principal(key).id.as_str()).into();
    let id: Value = key.map(|key| key.id().to_string()).into();
    let bits = key.map_or(super::counter::UNKNOWN, KeyRecord::bits);
    let column = |name: &str| Column::find(name).ok_or_else(|| Failure::Defect(format!("no column {name}")));
    let credits = if verdict.code == DecisionCode::Valid { verdict.ask.cost } else { 0 };
    let at = Timestamp::from_microsecond(verdict.at.0).map_or(Value::Null, |at| format!("{at:.3}").into());
    let number = number(verdict.code);
    let hash = column("hashed_xi_api_key")?.value(workspace, keys, bits, number);
    let (user_label, key_name) = (labels.of(tx, column("user_id")?, &owner)?, labels.of(tx, column("key_id")?, &id)?);
    #[allow(clippy::cast_precision_loss, reason = "the wire's numbers are exact up to 2^53")]
    let credits = Value::from(credits as f64);
    Ok(vec![
        at,
        verdict.decision_id().to_string().into(),
        PRODUCT.into(),
        SOURCE.into(),
        outcome(number).into(),
        owner,
        id,
        hash,
        credits,
        verdict.ask.ip.map(|ip| ip.to_string()).into(),
        user_label,
        key_name,
    ])
}
