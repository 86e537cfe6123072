//! Calendar months, UTC: the periods of credits.

use stead_api::time::Timestamp;

/// A month, counted from January 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i64);

impl Month {
    /// The month that holds an instant.
    pub fn containing(now: Timestamp) -> Self {
        let days = now.seconds().div_euclid(86_400);
        // From the day count to the civil date, in eras of 400 years that begin on 1 March (the leap day comes last).
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        Self((era * 400 + year_of_era - 1970) * 12 + march_month + 2)
    }

    /// Its first instant.
    pub fn starts(self) -> Timestamp {
        let from_march = self.0 - 2 + 1970 * 12;
        let (year, month) = (from_march.div_euclid(12), from_march.rem_euclid(12));
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * month + 2) / 5;
        let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
        Timestamp::from_seconds(days * 86_400)
    }

    /// The first instant after it.
    pub fn ends(self) -> Timestamp {
        Self(self.0 + 1).starts()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_begin_where_the_calendar_says() {
        for (month, starts) in
            [(0, 0), (1, 2_678_400), (2, 5_097_600), (682, 1_793_491_200), (649, 1_706_745_600), (650, 1_709_251_200)]
        {
            assert_eq!(Month(month).starts(), Timestamp::from_seconds(starts), "{month}");
        }
    }

    #[test]
    fn every_instant_lies_in_its_month_and_months_follow_each_other() {
        for month in -24_000..24_000 {
            let month = Month(month);
            assert_eq!(Month::containing(month.starts()), month);
            assert_eq!(Month::containing(Timestamp(month.ends().0 - 1)), month);
            let days = (month.ends().seconds() - month.starts().seconds()) / 86_400;
            assert!((28..=31).contains(&days));
        }
    }
}
