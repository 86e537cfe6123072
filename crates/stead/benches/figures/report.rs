//! The table.

use crate::method::METHOD;
use std::time::Duration;

/// Figures in the order they were taken.
pub(crate) struct Report {
    machine: Vec<(&'static str, String)>,
    rows: Vec<[String; 5]>,
}

/// A figure whose yardstick, ratio or goal there is none of.
pub(crate) const NONE: &str = "–";

impl Report {
    pub(crate) fn new(machine: Vec<(&'static str, String)>) -> Self {
        Self { machine, rows: Vec::new() }
    }

    /// Adds a row: what, Stead's figure, the yardstick's, their ratio, the goal. Told at once, too: a run takes
    /// minutes.
    pub(crate) fn row(&mut self, what: &str, stead: String, yardstick: String, ratio: String, goal: &str) {
        let row = [what.to_owned(), stead, yardstick, ratio, goal.to_owned()];
        eprintln!("{}", row.join(" | "));
        self.rows.push(row);
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        text.extend(self.machine.iter().map(|(name, fact)| format!("- {name}: {fact}\n")));
        text += "\n| what | Stead | beside it | ratio | goal |\n| --- | ---: | ---: | ---: | ---: |\n";
        text.extend(self.rows.iter().map(|row| format!("| {} |\n", row.join(" | "))));
        text + METHOD
    }
}

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask bench`. Each figure stands beside its yardstick, taken in the same run on the same machine: the
ratio is what can be compared elsewhere, and only on a quiet machine. No test fails by a figure.

";

/// The middle one, or the mean of the middle two.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The median of ratios, with the smallest and the largest.
pub(crate) fn spread(ratios: &[f64]) -> String {
    let smallest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let middle = median(ratios.iter().copied());
    let digits = if middle < 0.1 { 3 } else { 2 };
    format!("{middle:.digits$} ({smallest:.digits$}–{largest:.digits$})")
}

/// `12345.6` as `12,346`.
pub(crate) fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn millis(times: impl IntoIterator<Item = Duration>) -> String {
    format!("{:.1} ms", median(times.into_iter().map(|time| time.as_secs_f64() * 1e3)))
}

pub(crate) fn mebibytes(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / 1024.0 / 1024.0)
}
