//! Questions about usage and their answers: counts by bucket of time and by group, from the store and from what this node
//! has not told it yet. Blocks outside the range are not read. A count lies where its minute begins; of what has become
//! hours or days, where the middle of the hour or day lies, so that a zone that parts them gets the nearest whole ones.

use super::Resolution;
use super::block::{self, Cell};
use super::buckets::{MOST, Step, buckets};
use super::columns::{Column, Keys, Labels};
use super::filter::passes;
use super::flush::Unflushed;
use super::{GRANTED, queries};
use crate::app::App;
use crate::error::Failure;
use crate::store::Tx;
use crate::workspaces;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use stead_api::id::{PrincipalId, WorkspaceId};
use stead_api::usage::{ColumnFilter, Table};

/// Most numbers of an answer: buckets times groups.
pub const MOST_NUMBERS: usize = 100_000;
/// Most cells of a table: buckets times groups times columns.
pub const MOST_CELLS: usize = 400_000;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// Whose counts.
    pub workspace: WorkspaceId,
    /// Milliseconds since the epoch.
    pub from: i64,
    /// The first instant that is not meant any more.
    pub to: i64,
    /// How time is cut.
    pub step: Step,
    /// What is told apart.
    pub group_by: Vec<Column>,
    /// What is let through.
    pub filters: Vec<(Column, ColumnFilter)>,
    /// Only keys of this owner.
    pub owner: Option<PrincipalId>,
    /// Most values of the answer: numbers of series, or cells of a table.
    pub most: usize,
    /// The field to blame where there would be more.
    pub blame: [&'static str; 2],
}

/// What was counted in a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Decisions.
    pub count: u64,
    /// Those that said yes.
    pub granted: u64,
    /// Credits that were charged.
    pub credits: u64,
}

/// The counts of a group.
#[derive(Clone, Debug)]
pub struct Group {
    /// What it has in the columns it was told apart by.
    pub values: Vec<Value>,
    /// For each bucket.
    pub sums: Vec<Sum>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Report {
    /// When each bucket begins, in seconds.
    pub starts: Vec<i64>,
    /// In the order of their values.
    pub groups: Vec<Group>,
    /// The workspace's keys, if they had to be read.
    pub keys: Option<Keys>,
}

/// Runs `work`, which asks [`read`], with what was in memory of a workspace at the instant that the store is seen at.
/// Only between these two no count may move; a long answer holds no flush up.
pub(super) async fn ask<T: Send + 'static>(
    app: &Arc<App>,
    workspace: &WorkspaceId,
    work: impl Fn(&App, &mut Tx<'_>, &Unflushed) -> Result<T, Failure> + Send + Sync + 'static,
) -> Result<T, Failure> {
    let work = Arc::new(work);
    loop {
        // Waited for here: there are few threads that read.
        drop(app.usage.turn.read().await);
        let (worker, workspace, work) = (app.clone(), workspace.clone(), work.clone());
        let read = move |tx: &mut Tx<'_>| -> Result<Option<T>, Failure> {
            let Ok(turn) = worker.usage.turn.try_read() else { return Ok(None) };
            let unflushed = worker.usage.unflushed(&worker.index, &workspace);
            // The first look fixes what all further ones see.
            workspaces::find(tx, &workspace)?;
            drop(turn);
            work(&worker, tx, &unflushed).map(Some)
        };
        if let Some(answer) = app.store.read(read).await? {
            return Ok(answer);
        }
    }
}

/// Adds up what was counted. `width` is how many values the answer has of a bucket and a group.
pub(super) fn read(
    tx: &mut Tx<'_>,
    (pending, counted): &Unflushed,
    question: &Question,
    width: usize,
) -> Result<Report, Failure> {
    let from = question.from.div_euclid(60_000) * 60;
    let to = question.to.div_euclid(1000) + i64::from(question.to.rem_euclid(1000) > 0);
    let starts = buckets(from, to, &question.step).ok_or_else(|| {
        let message = format!("this would be more than {MOST} buckets: ask for a shorter time or longer buckets");
        Failure::invalid(&question.blame, "value_error", message)
    })?;
    let columns = question.group_by.iter().copied().chain(question.filters.iter().map(|(column, _)| *column));
    let needs_keys = question.owner.is_some() || columns.into_iter().any(Column::needs_keys);
    let keys = if needs_keys { Keys::read(tx, &question.workspace, question.owner.as_ref())? } else { Keys::default() };
    let mut adding = Adding {
        question,
        width,
        keys,
        range: (from, to),
        starts,
        places: (None, Vec::new()),
        of_key: HashMap::new(),
        numbers: HashMap::new(),
        groups: Vec::new(),
    };
    let mut waiting: HashMap<_, _> = pending.iter().map(|pending| (&pending.name, &pending.body)).collect();
    let mut cells = Vec::new();
    for resolution in Resolution::ALL {
        queries::each(tx, &question.workspace, resolution, (resolution.start_of(from), to), |name, body| {
            if resolution == Resolution::Minutes {
                // Stored after all, although the store's answer got lost.
                waiting.remove(&name);
            }
            adding.block(resolution, name.starts_at, &body, &mut cells)
        })?;
    }
    for (name, body) in waiting {
        adding.block(Resolution::Minutes, name.starts_at, body, &mut cells)?;
    }
    for (starts_at, cells) in counted {
        adding.cells(Resolution::Minutes, *starts_at, cells)?;
    }
    let Adding { starts, mut groups, keys, .. } = adding;
    groups.sort_by_cached_key(|group| group.values.iter().map(ToString::to_string).collect::<Vec<_>>());
    Ok(Report { starts, groups, keys: needs_keys.then_some(keys) })
}

/// An answer in the making.
struct Adding<'a> {
    question: &'a Question,
    width: usize,
    keys: Keys,
    range: (i64, i64),
    starts: Vec<i64>,
    /// The bucket of each unit of the span that was met last.
    places: (Option<(Resolution, i64)>, Vec<Option<usize>>),
    /// The group of each outcome of a key; `None` where filters don't let it through.
    of_key: HashMap<u128, Vec<(u8, Option<usize>)>>,
    /// The group of values.
    numbers: HashMap<Vec<Value>, usize>,
    groups: Vec<Group>,
}

impl Adding<'_> {
    fn block(
        &mut self,
        resolution: Resolution,
        starts_at: i64,
        body: &[u8],
        cells: &mut Vec<Cell>,
    ) -> Result<(), Failure> {
        cells.clear();
        if block::decode(body, resolution.units(), cells).is_err() {
            // The rest is still worth telling.
            let workspace = self.question.workspace.as_str();
            tracing::error!(workspace, starts_at, "a block of usage is corrupt; it is left out");
            return Ok(());
        }
        self.cells(resolution, starts_at, cells)
    }

    /// Takes in the cells of a span, in order.
    fn cells(&mut self, resolution: Resolution, starts_at: i64, cells: &[Cell]) -> Result<(), Failure> {
        if self.places.0 != Some((resolution, starts_at)) {
            let units = (0..resolution.units()).map(|unit| self.place(resolution, starts_at, unit)).collect();
            self.places = (Some((resolution, starts_at)), units);
        }
        for run in cells.chunk_by(|a, b| a.key == b.key) {
            if !run.iter().any(|cell| self.places.1[usize::from(cell.unit)].is_some()) {
                continue;
            }
            let mut groups = self.of_key.remove(&run[0].key).unwrap_or_default();
            for cell in run {
                let Some(bucket) = self.places.1[usize::from(cell.unit)] else { continue };
                let known = groups.iter().find(|(outcome, _)| *outcome == cell.outcome).map(|(_, group)| *group);
                let group = if let Some(group) = known {
                    group
                } else {
                    let group = self.group(cell.key, cell.outcome)?;
                    groups.push((cell.outcome, group));
                    group
                };
                let Some(group) = group else { continue };
                let sum = &mut self.groups[group].sums[bucket];
                sum.count = sum.count.saturating_add(cell.totals.count);
                sum.credits = sum.credits.saturating_add(cell.totals.credits);
                if cell.outcome == GRANTED {
                    sum.granted = sum.granted.saturating_add(cell.totals.count);
                }
            }
            self.of_key.insert(run[0].key, groups);
        }
        Ok(())
    }

    /// The bucket of a unit, if it is in the range.
    fn place(&self, resolution: Resolution, starts_at: i64, unit: u16) -> Option<usize> {
        let begins = starts_at + i64::from(unit) * resolution.unit();
        let at = if resolution == Resolution::Minutes { begins } else { begins + resolution.unit() / 2 };
        let is_meant = self.range.0 <= at && at < self.range.1;
        is_meant.then(|| self.starts.partition_point(|start| *start <= at)).and_then(|place| place.checked_sub(1))
    }

    fn group(&mut self, key: u128, outcome: u8) -> Result<Option<usize>, Failure> {
        let question = self.question;
        if question.owner.as_ref().is_some_and(|owner| self.keys.owner(key) != Some(owner)) {
            return Ok(None);
        }
        let value = |column: Column| column.value(&question.workspace, &self.keys, key, outcome);
        if !question.filters.iter().all(|(column, filter)| passes(filter, &value(*column))) {
            return Ok(None);
        }
        let values: Vec<_> = question.group_by.iter().map(|column| value(*column)).collect();
        if let Some(number) = self.numbers.get(&values) {
            return Ok(Some(*number));
        }
        let number = self.groups.len();
        if (number + 1) * self.starts.len() * self.width > question.most {
            let message = format!(
                "this would be more than {} values: ask for a shorter time, longer buckets, or fewer groups by a filter",
                question.most
            );
            return Err(Failure::invalid(&question.blame, "value_error", message));
        }
        self.groups.push(Group { values: values.clone(), sums: vec![Sum::default(); self.starts.len()] });
        self.numbers.insert(values, number);
        Ok(Some(number))
    }
}

/// A column of numbers: its name, type and unit, and how it is told.
pub type Measure = (&'static str, &'static str, Option<&'static str>, fn(&Sum) -> Value);

/// Credits that were charged.
pub const TOTAL_USAGE: Measure = ("total_usage", "Float", Some("credits"), |sum| float(sum.credits));
/// Decisions.
pub const USAGE_COUNT: Measure = ("usage_count", "Int", None, |sum| sum.count.into());
/// Stead sells nothing.
pub const TOTAL_COST: Measure = ("total_cost", "Float", Some("usd"), |_| float(0));
/// Decisions that said yes: each is one charge of its cost.
pub const TOTAL_CHARGE_COUNT: Measure = ("total_charge_count", "Int", None, |sum| sum.granted.into());

#[allow(clippy::cast_precision_loss, reason = "the wire's numbers are exact up to 2^53, and so are credits")]
fn float(number: u64) -> Value {
    (number as f64).into()
}

/// A report as a table: a row for each bucket and group in which something was counted, those that `filters`, on the
/// table's own columns, let through.
pub(super) fn table(
    tx: &mut Tx<'_>,
    unflushed: &Unflushed,
    question: &Question,
    measures: &[Measure],
    filters: &[ColumnFilter],
) -> Result<Table, Failure> {
    let mut table = Table::default();
    let mut column = |name: &str, kind: &str, unit: Option<&str>| {
        table.columns.push(name.to_owned());
        table.column_types.push(kind.to_owned());
        table.column_units.push(unit.map(str::to_owned));
    };
    column("timestamp", "DateTime", None);
    for group in &question.group_by {
        column(group.name, group.kind(), None);
    }
    for (name, kind, unit, _) in measures {
        column(name, kind, *unit);
    }
    let mut labelled: Vec<(usize, Column, &str)> = Vec::new();
    for (place, group) in question.group_by.iter().enumerate() {
        // The same name once, also if a key is told by its id and by its hash.
        if let Some(label) = group.label().filter(|label| labelled.iter().all(|(_, _, other)| other != label)) {
            labelled.push((place, *group, label));
            column(label, "String", None);
        }
    }
    let mut report = read(tx, unflushed, question, table.columns.len())?;
    let mut labels = Labels::new(&question.workspace, report.keys.take());
    let mut names = Vec::with_capacity(report.groups.len());
    for group in &report.groups {
        let of_group = labelled.iter().map(|(place, column, _)| labels.of(tx, *column, &group.values[*place]));
        names.push(of_group.collect::<Result<Vec<_>, _>>()?);
    }
    for (bucket, starts) in report.starts.iter().enumerate() {
        for (group, names) in report.groups.iter().zip(&names).filter(|(group, _)| group.sums[bucket].count > 0) {
            let mut row = vec![instant(*starts)];
            row.extend(group.values.iter().cloned());
            row.extend(measures.iter().map(|(_, _, _, tell)| tell(&group.sums[bucket])));
            row.extend(names.iter().cloned());
            if all_pass(filters, &table.columns, &row) {
                table.rows.push(row);
            }
        }
    }
    Ok(table)
}

/// Whether a row's cells pass the filters on its columns.
pub fn all_pass(filters: &[ColumnFilter], columns: &[String], row: &[Value]) -> bool {
    filters.iter().all(|filter| {
        let place = columns.iter().position(|column| *column == filter.column);
        place.and_then(|place| row.get(place)).is_some_and(|cell| passes(filter, cell))
    })
}

/// An instant as a cell.
pub fn instant(seconds: i64) -> Value {
    Timestamp::from_second(seconds).map_or(Value::Null, |at| at.to_string().into())
}
