//! Days of the calendar in UTC.

use std::fmt;

use crate::time::{Civil, Timestamp};

/// A day in UTC, counted from 1970-01-01. Dates of the policy are days, judged at packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i64);

impl Day {
    /// The day that a packet time falls on.
    pub fn of(time: Timestamp) -> Self {
        Self(time.seconds().div_euclid(86_400))
    }

    /// The day of a calendar date.
    pub fn of_date(year: u16, month: u8, day: u8) -> Self {
        let midnight = Civil { year: i64::from(year), month, day, hour: 0, minute: 0, second: 0 };
        Self(midnight.seconds().div_euclid(86_400))
    }
}

impl fmt::Display for Day {
    /// `2027-03-01`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = Civil::of(self.0.saturating_mul(86_400));
        write!(f, "{:04}-{:02}-{:02}", civil.year, civil.month, civil.day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_in_utc() {
        let day = Day::of_date(2027, 3, 1);
        assert_eq!(day.to_string(), "2027-03-01");
        let midnight = day.0 * 86_400;
        assert_eq!(Day::of(Timestamp::new(midnight, 0)), day);
        assert_eq!(Day::of(Timestamp(midnight * 1_000_000_000 - 1)), Day(day.0 - 1));
        assert_eq!(Day::of(Timestamp::new(-1, 0)), Day(-1));
    }
}
