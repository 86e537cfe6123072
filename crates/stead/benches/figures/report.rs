//! The table.

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

const METHOD: &str = "
How they are taken:

- *Ready*: from just before the process is made until it prints its address; the median of several starts.
- *Memory*: `VmRSS` of a server that has just been started again on the filled store and answered nothing yet.
- *Key creations*: `POST /v1/service-accounts/{id}/api-keys` over kept-alive HTTP/1.1, each acknowledged after its
  commit with its audit and change-log rows. Beside it the engine alone: one connection, one `INSERT` of a row of about
  the same size in each transaction, same settings, same filesystem. Turns of all of them follow each other; the ratio
  is the median of the turns' ratios.
- *Verifications*: `POST /v1/api-keys/verify` with the owner's key as the caller, about each of the 100,000 keys in a
  scattered order, one permission asked; 32 kept-alive connections, each with one request under way. Beside it a bare
  hyper server with as many workers and the same allocator, which parses the same question with the same types and
  serialises the same answer. Both answer the same load in turns of 2 s; the ratio is the median of the pairs' ratios
  (smallest–largest in parentheses). *On one half* means that the server has half of the cores to itself and the load
  the other half, so that the ratio is the server's own; with *shared cores* the load's own work stands in both sides
  and draws the ratio to 1.
- *Processor time* is user and system time of the server's process, write-behind of last uses included.
- *Busy* says how much of its cores the server got: below about 95 % the load, or something else that ran on the
  machine, was what limited the rate, and the ratio of processor times says more.
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
    format!("{:.2} ({smallest:.2}–{largest:.2})", median(ratios.iter().copied()))
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
