//! The months of credits: from a workspace's billing day to the next, in its zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use stead_api::time::Timestamp;

/// When a workspace's months begin: at midnight of a day of the month, in a zone. In a month that has no such day, on its
/// last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Billing {
    day: i8,
    zone: TimeZone,
}

impl Default for Billing {
    fn default() -> Self {
        Self { day: 1, zone: TimeZone::UTC }
    }
}

/// A month of credits. It is known by its first instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    /// Its first instant.
    pub starts: Timestamp,
    /// The first instant after it.
    pub ends: Timestamp,
}

impl Period {
    /// Whether it holds an instant.
    pub fn contains(self, now: Timestamp) -> bool {
        (self.starts..self.ends).contains(&now)
    }
}

impl Billing {
    /// A day from 1 to 31 and the IANA name of a zone; `None` if there is no such day or zone.
    pub fn new(day: i64, zone: &str) -> Option<Self> {
        let day = i8::try_from(day).ok().filter(|day| (1..=31).contains(day))?;
        Some(Self { day, zone: TimeZone::get(zone).ok()? })
    }

    /// The month that holds an instant.
    pub fn period(&self, now: Timestamp) -> Period {
        let instant = jiff::Timestamp::from_microsecond(now.0).unwrap_or(jiff::Timestamp::MIN);
        let today = instant.to_zoned(self.zone.clone()).date();
        let this_month = today.first_of_month();
        let begins = self.begins_in(this_month);
        let (starts, ends) = if now < begins {
            (self.begins_in(before(this_month)), begins)
        } else {
            (begins, self.begins_in(after(this_month)))
        };
        Period { starts, ends }
    }

    /// The billing day's midnight in the month that `first` begins. Where the clocks skip midnight, the instant after.
    fn begins_in(&self, first: Date) -> Timestamp {
        let day = self.day.min(first.days_in_month());
        let date = Date::new(first.year(), first.month(), day).unwrap_or(first);
        let zoned = date.to_zoned(self.zone.clone());
        Timestamp(zoned.map_or(i64::MAX, |zoned| zoned.timestamp().as_microsecond()))
    }
}

fn before(first: Date) -> Date {
    first.yesterday().map_or(first, Date::first_of_month)
}

fn after(first: Date) -> Date {
    first.last_of_month().tomorrow().unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn a_month_runs_from_billing_day_to_billing_day() {
        for (day, zone, now, starts, ends) in [
            (1, "UTC", "2026-11-22T12:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"),
            (22, "UTC", "2026-11-22T00:00:00Z", "2026-11-22T00:00:00Z", "2026-12-22T00:00:00Z"),
            (23, "UTC", "2026-11-22T23:59:59Z", "2026-10-23T00:00:00Z", "2026-11-23T00:00:00Z"),
            // No 31 February, and no 31 April.
            (31, "UTC", "2027-02-28T12:00:00Z", "2027-02-28T00:00:00Z", "2027-03-31T00:00:00Z"),
            (31, "UTC", "2028-02-28T12:00:00Z", "2028-01-31T00:00:00Z", "2028-02-29T00:00:00Z"),
            (31, "UTC", "2027-04-29T12:00:00Z", "2027-03-31T00:00:00Z", "2027-04-30T00:00:00Z"),
            // Over a change of the clocks; the day begins in the zone, not in UTC.
            (1, "Europe/Berlin", "2026-10-31T23:30:00Z", "2026-10-31T23:00:00Z", "2026-11-30T23:00:00Z"),
            (1, "Europe/Berlin", "2026-03-15T00:00:00Z", "2026-02-28T23:00:00Z", "2026-03-31T22:00:00Z"),
            (1, "Pacific/Auckland", "2026-12-31T11:00:00Z", "2026-12-31T11:00:00Z", "2027-01-31T11:00:00Z"),
        ] {
            let period = Billing::new(day, zone).unwrap().period(at(now));
            assert_eq!((period.starts, period.ends), (at(starts), at(ends)), "{day} {zone} {now}");
        }
        assert!(Billing::new(0, "UTC").is_none() && Billing::new(32, "UTC").is_none());
        assert!(Billing::new(1, "Mars/Olympus").is_none());
    }

    #[test]
    fn every_instant_lies_in_its_month_and_months_follow_each_other() {
        for day in [1, 15, 28, 29, 30, 31] {
            for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"] {
                let billing = Billing::new(day, zone).unwrap();
                let mut period = billing.period(at("2019-01-01T00:00:00Z"));
                for _ in 0..120 {
                    assert_eq!(billing.period(period.starts), period);
                    assert_eq!(billing.period(Timestamp(period.ends.0 - 1)), period);
                    let next = billing.period(period.ends);
                    assert_eq!(next.starts, period.ends, "{day} {zone}");
                    period = next;
                }
            }
        }
    }
}
