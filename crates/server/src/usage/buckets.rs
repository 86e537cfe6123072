//! Spans of time as people count them (wire §12.2): weeks from Monday and days from midnight in a zone, hours from the
//! zone's midnight, all else from the epoch. Pure.

use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Unit};

/// Most buckets of an answer.
pub const MOST: usize = 10_000;

const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;

/// How time is cut.
#[derive(Clone, Debug)]
pub enum Step {
    /// So many seconds.
    Every(i64, TimeZone),
    /// Months of the calendar.
    Months(TimeZone),
    /// Not at all.
    Whole,
}

/// When each bucket begins that holds a part of `from..to`, in seconds, without a gap: the first holds `from`, and the
/// last ends at `to` or later. `None` if there are more than [`MOST`].
pub fn buckets(from: i64, to: i64, step: &Step) -> Option<Vec<i64>> {
    let shortest = match step {
        Step::Every(seconds, _) => *seconds,
        Step::Months(_) => 28 * DAY,
        Step::Whole => return Some(vec![from]),
    };
    let most = i64::try_from(MOST).unwrap_or(i64::MAX);
    if (to - from) / shortest > most {
        return None;
    }
    let starts: Vec<i64> = match step {
        Step::Every(seconds, zone) if seconds % WEEK == 0 => days(seconds / DAY, date(1970, 1, 5), from, to, zone),
        Step::Every(seconds, zone) if seconds % DAY == 0 => days(seconds / DAY, date(1970, 1, 1), from, to, zone),
        Step::Every(seconds, zone) if seconds % HOUR == 0 && *seconds < DAY => hours(seconds / HOUR, from, to, zone),
        Step::Every(seconds, _) => evenly(*seconds, from - from.rem_euclid(*seconds), to),
        Step::Months(zone) => months(from, to, zone),
        Step::Whole => vec![from],
    };
    (starts.len() <= MOST).then_some(starts)
}

/// Every so many seconds.
fn evenly(seconds: i64, from: i64, to: i64) -> Vec<i64> {
    std::iter::successors(Some(from), |at| at.checked_add(seconds)).take_while(|at| *at < to).collect()
}

/// Every so many days, counted from an anchor, at midnight.
fn days(every: i64, anchor: Date, from: i64, to: i64, zone: &TimeZone) -> Vec<i64> {
    let since = anchor.until((Unit::Day, local(from, zone))).map_or(0, |span| i64::from(span.get_days()));
    let first = since - since.rem_euclid(every);
    // One more before: where the clocks skip midnight, a day may begin later than its date says.
    let dates = (-1..).map_while(|n| anchor.checked_add(Span::new().try_days(first + n * every).ok()?).ok());
    within(from, to, dates.map_while(|date| midnight(date, zone)))
}

/// Every so many hours of each day by the zone's clocks, from midnight.
fn hours(every: i64, from: i64, to: i64, zone: &TimeZone) -> Vec<i64> {
    let dates = std::iter::successors(local(from, zone).yesterday().ok(), |date| date.tomorrow().ok());
    let of_day = |date: Date| {
        let (starts, ends) = (midnight(date, zone)?, midnight(date.tomorrow().ok()?, zone)?);
        let hours: Vec<i64> = if every == 1 {
            // Each hour that passes, also the one that the clocks show twice.
            evenly(HOUR, starts, ends)
        } else {
            let shown = (0..24_i8).step_by(usize::try_from(every).unwrap_or(1));
            let at = shown
                .map_while(|hour| Some(date.at(hour, 0, 0, 0).to_zoned(zone.clone()).ok()?.timestamp().as_second()));
            at.filter(|at| (starts..ends).contains(at)).collect()
        };
        Some(hours)
    };
    within(from, to, dates.map_while(of_day).flatten())
}

fn months(from: i64, to: i64, zone: &TimeZone) -> Vec<i64> {
    let first = local(from, zone).first_of_month();
    let begins = first.yesterday().map_or(first, Date::first_of_month);
    let next = |date: &Date| date.last_of_month().tomorrow().ok();
    within(from, to, std::iter::successors(Some(begins), next).map_while(|date| midnight(date, zone)))
}

/// The day by the zone's calendar.
fn local(at: i64, zone: &TimeZone) -> Date {
    Timestamp::from_second(at).unwrap_or_default().to_zoned(zone.clone()).date()
}

/// When a day begins: where the clocks skip midnight, the instant after.
fn midnight(date: Date, zone: &TimeZone) -> Option<i64> {
    Some(date.to_zoned(zone.clone()).ok()?.timestamp().as_second())
}

/// Of ascending starts those from the last one up to `from` to the last one before `to`, each once.
fn within(from: i64, to: i64, starts: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut kept: Vec<i64> = Vec::new();
    for at in starts.take_while(|at| *at < to) {
        if kept.last().is_some_and(|last| at <= *last) {
            continue;
        }
        if at <= from {
            kept.clear();
        }
        kept.push(at);
        if kept.len() > MOST {
            break;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    fn cut(from: &str, to: &str, seconds: i64, zone: &str) -> Vec<String> {
        let step = Step::Every(seconds, TimeZone::get(zone).unwrap());
        told(buckets(at(from), at(to), &step).unwrap())
    }

    fn told(starts: Vec<i64>) -> Vec<String> {
        starts.into_iter().map(|at| Timestamp::from_second(at).unwrap().to_string()).collect()
    }

    #[test]
    fn weeks_begin_on_monday_at_local_midnight() {
        assert_eq!(
            cut("2026-11-01T12:00:00Z", "2026-11-16T00:00:00Z", WEEK, "UTC"),
            ["2026-10-26T00:00:00Z", "2026-11-02T00:00:00Z", "2026-11-09T00:00:00Z"]
        );
        // The clocks go back on 1 November.
        assert_eq!(
            cut("2026-10-27T00:00:00Z", "2026-11-10T00:00:00Z", WEEK, "America/New_York"),
            ["2026-10-26T04:00:00Z", "2026-11-02T05:00:00Z", "2026-11-09T05:00:00Z"]
        );
        // Sunday evening in New York is Monday in UTC.
        assert_eq!(
            cut("2026-11-09T04:59:59Z", "2026-11-09T05:00:00Z", WEEK, "America/New_York"),
            ["2026-11-02T05:00:00Z"]
        );
        let fortnights = cut("2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", 2 * WEEK, "UTC");
        assert_eq!(fortnights.len(), 27);
        // Wherever one begins to look, they are the same.
        for from in &fortnights {
            assert_eq!(cut(from, "2026-12-31T00:00:00Z", 2 * WEEK, "UTC")[0], *from);
        }
    }

    #[test]
    fn days_begin_at_local_midnight_also_when_the_clocks_change() {
        assert_eq!(
            cut("2026-10-24T10:00:00Z", "2026-10-26T12:00:00Z", DAY, "Europe/Berlin"),
            ["2026-10-23T22:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"]
        );
        assert_eq!(
            cut("2026-11-22T18:29:59Z", "2026-11-23T18:30:01Z", DAY, "Asia/Kolkata"),
            ["2026-11-21T18:30:00Z", "2026-11-22T18:30:00Z", "2026-11-23T18:30:00Z"]
        );
        // Cairo skips the hour after midnight on 24 April 2026.
        assert_eq!(
            cut("2026-04-23T12:00:00Z", "2026-04-24T12:00:00Z", DAY, "Africa/Cairo"),
            ["2026-04-22T22:00:00Z", "2026-04-23T22:00:00Z"]
        );
        assert_eq!(
            cut("2026-01-05T00:00:00Z", "2026-01-08T00:00:00Z", 3 * DAY, "UTC"),
            ["2026-01-04T00:00:00Z", "2026-01-07T00:00:00Z"]
        );
    }

    #[test]
    fn hours_are_the_zones_own() {
        assert_eq!(
            cut("2026-11-22T12:00:00Z", "2026-11-22T14:00:00Z", HOUR, "Asia/Kolkata"),
            ["2026-11-22T11:30:00Z", "2026-11-22T12:30:00Z", "2026-11-22T13:30:00Z"]
        );
        // 25 hours, one of which is shown twice.
        let fall = cut("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", HOUR, "Europe/Berlin");
        assert_eq!((fall.len(), fall.last().unwrap().as_str()), (25, "2026-10-25T22:00:00Z"));
        assert_eq!(cut("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", HOUR, "Europe/Berlin").len(), 23);
        assert_eq!(
            cut("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 6 * HOUR, "Europe/Berlin"),
            ["2026-10-24T22:00:00Z", "2026-10-25T05:00:00Z", "2026-10-25T11:00:00Z", "2026-10-25T17:00:00Z"]
        );
        // Seven don't make a day: the last is short.
        assert_eq!(
            cut("2026-11-22T20:00:00Z", "2026-11-23T01:00:00Z", 7 * HOUR, "UTC"),
            ["2026-11-22T14:00:00Z", "2026-11-22T21:00:00Z", "2026-11-23T00:00:00Z"]
        );
    }

    #[test]
    fn all_else_goes_by_the_epoch() {
        for zone in ["UTC", "Asia/Kolkata"] {
            assert_eq!(
                cut("2026-11-22T12:00:30Z", "2026-11-22T12:02:00Z", 60, zone),
                ["2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z"]
            );
            assert_eq!(cut("2026-11-22T12:00:00Z", "2026-11-22T12:01:00Z", 90, zone), ["2026-11-22T12:00:00Z"]);
            assert_eq!(cut("2026-11-22T12:00:00Z", "2026-11-22T13:00:00Z", 25 * HOUR, zone).len(), 1);
        }
    }

    #[test]
    fn months_and_the_whole() {
        let months = Step::Months(TimeZone::get("Europe/Berlin").unwrap());
        let starts = buckets(at("2026-03-15T00:00:00Z"), at("2026-04-30T23:00:00Z"), &months).unwrap();
        assert_eq!(told(starts), ["2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z", "2026-04-30T22:00:00Z"]);
        assert_eq!(buckets(7, 9, &Step::Whole), Some(vec![7]));
    }

    #[test]
    fn too_many_are_none() {
        let step = |seconds| Step::Every(seconds, TimeZone::UTC);
        assert_eq!(buckets(0, 10_000, &step(1)).map(|starts| starts.len()), Some(10_000));
        assert_eq!(buckets(0, 10_001, &step(1)), None);
        assert_eq!(buckets(0, 400 * 366 * DAY, &step(DAY)), None);
    }

    #[test]
    fn buckets_have_no_gap_and_cover_the_range() {
        for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
        {
            let zone = TimeZone::get(zone).unwrap();
            for seconds in [HOUR, 2 * HOUR, 5 * HOUR, 12 * HOUR, DAY, 2 * DAY, WEEK, 3 * WEEK] {
                for day in (0..800).step_by(97) {
                    let from = at("2010-11-01T07:31:00Z") + day * DAY;
                    let starts = buckets(from, from + 3 * DAY, &Step::Every(seconds, zone.clone())).unwrap();
                    assert!(starts[0] <= from, "{zone:?} {seconds}");
                    assert!(starts.is_sorted_by(|a, b| a < b));
                    let longest = starts.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
                    assert!(longest <= seconds + HOUR, "{zone:?} {seconds} {longest}");
                    assert!(from + 3 * DAY - starts[starts.len() - 1] <= seconds + HOUR);
                }
            }
        }
    }
}
