//! Packet time, validity time, and the place of everything in the capture.

use std::fmt;

/// Nanoseconds of one second.
pub const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Packet time: nanoseconds since 1970-01-01 00:00:00 UTC, leap seconds not counted.
///
/// Covers the years 1678 to 2262; a capture that claims more is clamped by its reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest representable time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable time: the watermark of a source that has ended.
    pub const MAX: Self = Self(i64::MAX);

    /// The time `seconds` and `nanos` after the epoch; clamped to what fits.
    pub fn new(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND).saturating_add(i64::from(nanos)))
    }

    /// Reads a time as a user writes it: RFC 3339, `YYYY-MM-DD[ HH:MM[:SS[.fraction]]]` in UTC, or seconds since the
    /// epoch with an optional fraction. Digits behind the ninth of a fraction are dropped.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (text, negative) = text.strip_prefix('-').map_or((text, false), |rest| (rest, true));
        if let Some((seconds, nanos)) = fraction(text).and_then(|(whole, nanos)| Some((digits(whole)?, nanos))) {
            let total = Self::new(seconds, nanos);
            return Some(if negative { Self(total.0.saturating_neg()) } else { total });
        }
        if negative {
            return None;
        }
        let (date, rest) = text.split_at_checked(10)?;
        let small = |value: i64| u8::try_from(value).ok();
        let [year, month, day] = split(date, '-')?;
        let mut civil = Civil { year, month: small(month)?, day: small(day)?, hour: 0, minute: 0, second: 0 };
        let mut nanos = 0;
        let mut offset = 0;
        if let Some(clock) = rest.strip_prefix(['T', 't', ' ']) {
            let (clock, zone) = zone(clock)?;
            offset = zone;
            let (clock, part) = fraction(clock)?;
            nanos = part;
            let [hour, minute, second] =
                if clock.len() == 5 { split(&format!("{clock}:00"), ':')? } else { split(clock, ':')? };
            (civil.hour, civil.minute, civil.second) = (small(hour)?, small(minute)?, small(second)?);
        } else if !rest.is_empty() {
            return None;
        }
        // A leap second counts as the next one.
        let leap = i64::from(civil.second == 60);
        civil.second -= u8::from(leap == 1);
        let seconds = civil.seconds();
        (Civil::of(seconds) == civil).then(|| Self::new(seconds.saturating_add(leap).saturating_sub(offset), nanos))
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(NANOS_PER_SECOND)
    }

    /// This time plus `span`, clamped.
    #[must_use]
    pub fn plus(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// Nanoseconds from `earlier` to this time; negative when this is the earlier one, clamped.
    pub fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 with nine digits and `Z`, as events carry it.
    pub fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }
}

/// A length of packet time in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Span {
    /// A span of whole seconds, clamped.
    pub const fn seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(NANOS_PER_SECOND))
    }

    /// A span of milliseconds, clamped.
    pub const fn millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds.
    pub fn nanos(self) -> i64 {
        self.0
    }
}

/// The place of everything that leaves the pipeline: first by clock, then by frame, then by ordinal.
///
/// The clock is the running maximum of packet times, so it never goes back even where packet times do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order {
    /// The capture's clock at this place.
    pub clock: Timestamp,
    /// Number of the frame in the whole run, from 1 (over all files).
    pub frame: u64,
    /// Distinguishes what one frame gave.
    pub ordinal: u32,
}

/// When and where in the capture something was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Place in the order of the run.
    pub order: Order,
    /// Time of the packet itself (the clock in `order` may be ahead of it).
    pub timestamp: Timestamp,
    /// `false` when the packet carries no time, or one that was rejected as a jump: no rule about time may use it.
    pub time_known: bool,
    /// Number of the frame in its own file, from 1, as Wireshark counts.
    pub frame: u64,
    /// Index of the file in the run.
    pub file: u32,
    /// Index of the interface inside the file (pcapng), else 0.
    pub interface: u32,
}

/// Displays a [`Timestamp`] as `2024-06-01T05:55:05.298706000Z`.
#[derive(Clone, Copy, Debug)]
pub struct Rfc3339(Timestamp);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let civil = Civil::of(self.0.seconds());
        let nanos = self.0.0.rem_euclid(NANOS_PER_SECOND);
        write!(f, "{civil}.{nanos:09}Z")
    }
}

impl Rfc3339 {
    /// Appends the 30 characters to `out` without the formatting machinery: this runs several times per event.
    pub fn append_to(self, out: &mut Vec<u8>) {
        SecondText::default().append(out, self.0);
    }
}

/// Writes times as [`Rfc3339`] does, and keeps the text of the last second: most times that follow lie in it too.
#[derive(Clone, Debug)]
pub struct SecondText {
    /// Where that second begins, in nanoseconds.
    start: i64,
    text: [u8; 20],
}

impl Default for SecondText {
    fn default() -> Self {
        Self { start: 0, text: *b"1970-01-01T00:00:00." }
    }
}

impl SecondText {
    /// Appends the 30 characters to `out`.
    pub fn append(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        out.extend_from_slice(&self.text(time));
    }

    /// The 30 characters.
    #[inline]
    pub fn text(&mut self, time: Timestamp) -> [u8; 30] {
        match time.0.checked_sub(self.start) {
            Some(nanos @ 0..NANOS_PER_SECOND) => Self::joined(&self.text, nanos),
            _ => self.text_of_another_second(time),
        }
    }

    fn text_of_another_second(&mut self, time: Timestamp) -> [u8; 30] {
        let (second, nanos) = (time.seconds(), time.0.rem_euclid(NANOS_PER_SECOND));
        let text = Civil::of(second).text();
        // The earliest second of all begins before the first time that there is: it is not kept.
        if let Some(start) = time.0.checked_sub(nanos) {
            *self = Self { start, text };
        }
        Self::joined(&text, nanos)
    }

    #[inline]
    fn joined(second: &[u8; 20], nanos: i64) -> [u8; 30] {
        let mut text = [b'Z'; 30];
        let nanos = nanos.unsigned_abs();
        if let Some((start, rest)) = text.split_first_chunk_mut()
            && let Some((first, rest)) = rest.split_first_chunk_mut()
            && let Some(last) = rest.first_mut()
        {
            *start = *second;
            *first = eight_digits(nanos / 10);
            *last = b'0' + u8::try_from(nanos % 10).unwrap_or(0);
        }
        text
    }
}

/// The last eight decimal digits of `value`, with leading zeros.
#[inline]
pub(crate) fn eight_digits(value: u64) -> [u8; 8] {
    // All digits at once: a number is split into halves, each in a lane of its own of one word, until every lane is a
    // digit. The multiplications divide by 100 and by 10; their quotients are exact for what a lane can hold. The first
    // digit comes to lie in the lowest byte.
    let value = value % 100_000_000;
    let fours = (value / 10_000) | ((value % 10_000) << 32);
    let hundreds = (fours.wrapping_mul(10_486) >> 20) & 0x7f_0000_007f;
    let pairs = hundreds | (fours.wrapping_sub(hundreds.wrapping_mul(100)) << 16);
    let tens = (pairs.wrapping_mul(103) >> 10) & 0x000f_000f_000f_000f;
    let digits = tens | (pairs.wrapping_sub(tens.wrapping_mul(10)) << 8);
    (digits | 0x3030_3030_3030_3030).to_le_bytes()
}

/// A moment of certificate validity: seconds since the epoch, years 0 to 9999 (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValidityTime(pub i64);

impl ValidityTime {
    /// Seconds since the epoch.
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl fmt::Display for ValidityTime {
    /// `2024-11-21T11:42:33.000Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.000Z", Civil::of(self.0))
    }
}

/// Calendar date and time of day in the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year; may be negative.
    pub year: i64,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 59.
    pub second: u8,
}

impl Civil {
    /// The calendar date of `seconds` since the epoch (Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
    pub fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let day_of_era = z.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let small = |value: i64| u8::try_from(value).unwrap_or(0);
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: small(month),
            day: small(day),
            hour: small(of_day / 3_600),
            minute: small(of_day / 60 % 60),
            second: small(of_day % 60),
        }
    }

    /// Seconds since the epoch of this date (`days_from_civil` of the same paper).
    pub fn seconds(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let month = i64::from(self.month);
        let shifted = if month > 2 { month - 3 } else { month + 9 };
        let day_of_year = (153 * shifted + 2) / 5 + i64::from(self.day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * 86_400 + i64::from(self.hour) * 3_600 + i64::from(self.minute) * 60 + i64::from(self.second)
    }

    /// `2024-06-01T05:55:05.`, with the point before a fraction.
    fn text(self) -> [u8; 20] {
        let mut text = *b"0000-00-00T00:00:00.";
        let (year, rest) = text.split_at_mut(4);
        write_digits(year, self.year.clamp(0, 9_999).unsigned_abs());
        // Each of the others has a separator before it.
        for (place, value) in
            rest.as_chunks_mut::<3>().0.iter_mut().zip([self.month, self.day, self.hour, self.minute, self.second])
        {
            let [_, digits @ ..] = place;
            write_digits(digits, value.into());
        }
        text
    }
}

impl fmt::Display for Civil {
    /// `2024-06-01T05:55:05`; years before 0 are shown as 0000, which no capture and no certificate holds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let year = self.year.clamp(0, 9_999);
        write!(f, "{year:04}-{:02}-{:02}T{:02}:{:02}:{:02}", self.month, self.day, self.hour, self.minute, self.second)
    }
}

/// Fills `places` with the last decimal digits of `value`.
fn write_digits(places: &mut [u8], mut value: u64) {
    for place in places.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// A number of one to eighteen digits and nothing else.
fn digits(text: &str) -> Option<i64> {
    let plain = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// Splits off a fraction of a second, in nanoseconds.
fn fraction(text: &str) -> Option<(&str, u32)> {
    let Some((whole, part)) = text.split_once('.') else { return Some((text, 0)) };
    if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanos: String = part.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some((whole, nanos.parse().ok()?))
}

/// Three numbers with their usual widths (the first of two or four digits, then two and two).
fn split(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator);
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    let widths = matches!(first.len(), 2 | 4) && second.len() == 2 && third.len() == 2 && parts.next().is_none();
    if !widths {
        return None;
    }
    Some([digits(first)?, digits(second)?, digits(third)?])
}

/// Splits off a time zone (`Z`, `+hh:mm`, `-hh:mm` or none), in seconds east of UTC.
fn zone(text: &str) -> Option<(&str, i64)> {
    if let Some(clock) = text.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = text.find(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at_checked(at)?;
    let east = offset.strip_prefix('+');
    let [hours, minutes, _] = split(&format!("{}:00", east.or_else(|| offset.strip_prefix('-'))?), ':')?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = hours * 3_600 + minutes * 60;
    Some((clock, if east.is_some() { seconds } else { -seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_round_trip() {
        for seconds in [0, -1, 951_782_400, 1_717_221_305, -62_167_219_200, 253_402_300_799, 4_107_542_399] {
            assert_eq!(Civil::of(seconds).seconds(), seconds);
        }
    }

    #[test]
    fn rfc3339_has_nine_digits() {
        let time = Timestamp::new(1_717_221_305, 298_706_000);
        assert_eq!(time.rfc3339().to_string(), "2024-06-01T05:55:05.298706000Z");
        let mut bytes = Vec::new();
        time.rfc3339().append_to(&mut bytes);
        assert_eq!(bytes, b"2024-06-01T05:55:05.298706000Z");
        assert_eq!(Timestamp(-1).rfc3339().to_string(), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn the_text_of_the_last_second_is_only_used_for_it() {
        let mut last = SecondText::default();
        let times = [
            0,
            1,
            -1,
            999_999_999,
            1_000_000_000,
            1_717_221_305_298_706_000,
            0,
            i64::MIN,
            i64::MAX,
            i64::MIN + 1_000_000_000,
        ];
        for time in times.into_iter().flat_map(|time| [Timestamp(time), Timestamp(time ^ 1)]) {
            let mut out = b"x".to_vec();
            last.append(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{}", time.rfc3339()));
        }
    }

    #[test]
    fn eight_digits_of_every_half() {
        for value in 0..10_000 {
            for value in [value, value * 10_000, value * 10_000 + 9_999, 99_990_000 + value, 700_000_000 + value] {
                let text = format!("{:08}", value % 100_000_000);
                assert_eq!(eight_digits(value), text.as_bytes(), "{value}");
            }
        }
    }

    #[test]
    fn times_of_users_are_read() {
        let expected = Timestamp::new(1_717_221_305, 0);
        for text in [
            "2024-06-01T05:55:05Z",
            "2024-06-01 05:55:05",
            "2024-06-01t07:55:05.000+02:00",
            "2024-06-01T00:25:05-05:30",
            "1717221305",
            " 1717221305.0 ",
        ] {
            assert_eq!(Timestamp::parse(text), Some(expected), "{text}");
        }
        assert_eq!(Timestamp::parse("2024-06-01"), Some(Timestamp::new(1_717_200_000, 0)));
        assert_eq!(Timestamp::parse("2024-06-01 05:55"), Some(Timestamp::new(1_717_221_300, 0)));
        assert_eq!(Timestamp::parse("1.5"), Some(Timestamp(1_500_000_000)));
        assert_eq!(Timestamp::parse("-1.5"), Some(Timestamp(-1_500_000_000)));
        assert_eq!(Timestamp::parse("2016-12-31T23:59:60Z"), Timestamp::parse("2017-01-01"));
    }

    #[test]
    fn other_times_are_refused() {
        for text in [
            "",
            "-",
            "1.",
            "x",
            "2024-02-30",
            "2024-13-01",
            "2024-06-01T24:00:00Z",
            "2024-06-01T05",
            "2024-06-01x",
            "2024-6-1",
            "2024-06-01T05:55:05+24:00",
            "-2024-06-01",
            "2024-06-01T05:55:61Z",
            "20240601T055505Z",
            "é024-06-01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn validity_reaches_year_9999() {
        assert_eq!(ValidityTime(253_402_300_799).to_string(), "9999-12-31T23:59:59.000Z");
    }
}
