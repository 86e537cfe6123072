//! The text format that Prometheus reads, version 0.0.4. A family's samples stand together behind one HELP and one TYPE;
//! label values come from closed sets of ours, so nothing has to be escaped, and what does is left out.

use std::fmt::{Display, Write};
use std::time::Duration;

/// What the answer says it is.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A text under way.
#[derive(Default)]
pub(super) struct Text(String);

/// One family, to which samples are added.
pub(super) struct Family<'a> {
    name: &'static str,
    out: &'a mut String,
}

/// Names with values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

impl Text {
    /// What only grows, from the start of the process on.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "counter", help)
    }

    /// What goes up and down.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help)
    }

    /// How long things took.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help)
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        self.0.extend(["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"]);
        Family { name, out: &mut self.0 }
    }

    /// The whole text.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// A sample.
    pub(super) fn sample(&mut self, labels: Labels<'_>, value: impl Display) -> &mut Self {
        self.line("", labels, None, value);
        self
    }

    /// A histogram, as [`super::sharded::Histogram::read`] gives it.
    pub(super) fn buckets(
        &mut self,
        labels: Labels<'_>,
        (up_to, count, sum): (Vec<(u64, u64)>, u64, Duration),
    ) -> &mut Self {
        for (bound, count) in up_to {
            self.line("_bucket", labels, Some(&Duration::from_micros(bound).as_secs_f64().to_string()), count);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, sum.as_secs_f64());
        self.line("_count", labels, None, count);
        self
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.out.extend([self.name, suffix]);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let value = if value.contains(['"', '\\', '\n']) { "" } else { value };
            self.out.push(separator);
            self.out.extend([name, "=\"", value, "\""]);
            separator = ',';
        }
        if separator == ',' {
            self.out.push('}');
        }
        // Writing to a string can't fail.
        let _: std::fmt::Result = writeln!(self.out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_as_prometheus_has_it() {
        let mut text = Text::default();
        text.counter("a_total", "Things.").sample(&[("x", "1"), ("y", "b\"\n")], 3).sample(&[], 4);
        let read = (vec![(1, 1), (10_000, 3)], 4, Duration::from_millis(22));
        text.histogram("b_seconds", "Spans.").buckets(&[("z", "w")], read);
        let wanted = "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"1\",y=\"\"} 3\na_total 4\n\
            # HELP b_seconds Spans.\n# TYPE b_seconds histogram\n\
            b_seconds_bucket{z=\"w\",le=\"0.000001\"} 1\nb_seconds_bucket{z=\"w\",le=\"0.01\"} 3\n\
            b_seconds_bucket{z=\"w\",le=\"+Inf\"} 4\nb_seconds_sum{z=\"w\"} 0.022\nb_seconds_count{z=\"w\"} 4\n";
        assert_eq!(text.finish(), wanted);
    }
}
