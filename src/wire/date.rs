//! HTTP dates: `Upload-Expires`, `Retry-After`, `Date`.

use std::{fmt, time::Duration};

use super::integer;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// 9999-12-31 23:59:59, the last second that four digits of a year can name.
const LAST_SECOND: u64 = 253_402_300_799;

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

#[rustfmt::skip]
const LONG_WEEKDAYS: [&str; 7] = [
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
];

#[rustfmt::skip]
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A moment as HTTP writes it: whole seconds, from 1970 to the end of 9999, in UTC.
///
/// It is what a server's `Upload-Expires` says ([tus, Expiration][expires]); comparing it with the
/// present is left to whoever has a clock.
///
/// ```
/// use std::time::Duration;
/// use tus_proto::Date;
///
/// let expires = Date::parse(b"Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
/// assert_eq!(expires.unix_seconds(), 784_111_777);
/// assert_eq!(expires.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
///
/// let now = Date::from_unix_seconds(784_111_700);
/// assert!(now < expires);
/// assert_eq!(expires.saturating_since(now), Duration::from_secs(77));
/// ```
///
/// [expires]: https://tus.io/protocols/resumable-upload#upload-expires
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(u64);

impl Date {
    /// The moment this many seconds after the start of 1970 (UTC, leap seconds not counted).
    ///
    /// What is beyond the year 9999, which HTTP cannot write, becomes that year's last second.
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(if seconds < LAST_SECOND {
            seconds
        } else {
            LAST_SECOND
        })
    }

    /// Seconds since the start of 1970 (UTC, leap seconds not counted).
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0
    }

    /// Reads any of the three forms of [RFC 9110 §5.6.7][dates], all of them case-sensitive; `None`
    /// for anything else.
    ///
    /// - The day must exist, and the weekday must be that day's own: of a date that contradicts
    ///   itself nobody knows which half to believe.
    /// - A leap second, which can only be `23:59:60`, is the second after it, as in Unix time.
    /// - A two-digit year is one of 1970 to 2069. The RFC's rule needs to know the present, which
    ///   this crate does not; the weekday keeps a date of another century from being misread.
    /// - A date before 1970 is refused. It is never a deadline, but somebody's unset field: Go's zero
    ///   time is in the year 1.
    ///
    /// ```
    /// use tus_proto::Date;
    ///
    /// let date = Date::from_unix_seconds(784_111_777);
    /// assert_eq!(Date::parse(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(date));
    /// assert_eq!(Date::parse(b"Sunday, 06-Nov-94 08:49:37 GMT"), Some(date));
    /// assert_eq!(Date::parse(b"Sun Nov  6 08:49:37 1994"), Some(date));
    /// assert_eq!(Date::parse(b"tomorrow"), None);
    /// ```
    ///
    /// [dates]: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        imf_fixdate(text)
            .or_else(|| rfc850(text))
            .or_else(|| asctime(text))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// `month` counts from 0, `day` from 1; `time` is in seconds.
    fn new(weekday: usize, year: u64, month: usize, day: u64, time: u64) -> Option<Self> {
        if year < 1970 {
            return None;
        }
        let lengths = month_lengths(year);
        if !(1..=lengths[month]).contains(&day) {
            return None;
        }
        let days = days_before(year) + lengths[..month].iter().sum::<u64>() + day - 1;
        (weekday_of(days) == weekday).then(|| Self::from_unix_seconds(days * SECONDS_A_DAY + time))
    }
}

/// The preferred form of the RFC (IMF-fixdate), which [`Date::parse`] reads again.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, time) = (self.0 / SECONDS_A_DAY, self.0 % SECONDS_A_DAY);
        // No year is longer than 366 days, so the guess is never too late.
        let mut year = 1970 + days / 366;
        while days_before(year + 1) <= days {
            year += 1;
        }
        let (mut month, mut day) = (0, days - days_before(year));
        for length in month_lengths(year) {
            if day < length {
                break;
            }
            day -= length;
            month += 1;
        }
        write!(
            f,
            "{}, {:02} {} {year} {:02}:{:02}:{:02} GMT",
            WEEKDAYS[weekday_of(days)],
            day + 1,
            MONTHS[month],
            time / 3600,
            time / 60 % 60,
            time % 60,
        )
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_fixdate(text: &[u8]) -> Option<Date> {
    let mut text = Scanner(text);
    let weekday = text.one_of(&WEEKDAYS)?;
    text.literal(", ")?;
    let day = text.digits(2)?;
    text.literal(" ")?;
    let month = text.one_of(&MONTHS)?;
    text.literal(" ")?;
    let year = text.digits(4)?;
    text.literal(" ")?;
    let time = text.time()?;
    text.literal(" GMT")?;
    text.end()?;
    Date::new(weekday, year, month, day, time)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8]) -> Option<Date> {
    let mut text = Scanner(text);
    let weekday = text.one_of(&LONG_WEEKDAYS)?;
    text.literal(", ")?;
    let day = text.digits(2)?;
    text.literal("-")?;
    let month = text.one_of(&MONTHS)?;
    text.literal("-")?;
    let year = text.digits(2)?;
    text.literal(" ")?;
    let time = text.time()?;
    text.literal(" GMT")?;
    text.end()?;
    let century = if year < 70 { 2000 } else { 1900 };
    Date::new(weekday, century + year, month, day, time)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<Date> {
    let mut text = Scanner(text);
    let weekday = text.one_of(&WEEKDAYS)?;
    text.literal(" ")?;
    let month = text.one_of(&MONTHS)?;
    text.literal(" ")?;
    let width = if text.literal(" ").is_some() { 1 } else { 2 };
    let day = text.digits(width)?;
    text.literal(" ")?;
    let time = text.time()?;
    text.literal(" ")?;
    let year = text.digits(4)?;
    text.end()?;
    Date::new(weekday, year, month, day, time)
}

/// What is left to read; a step that does not fit takes nothing.
struct Scanner<'a>(&'a [u8]);

impl Scanner<'_> {
    fn literal(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text.as_bytes())?;
        Some(())
    }

    fn digits(&mut self, width: usize) -> Option<u64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        let number = integer::parse(digits)?;
        self.0 = rest;
        Some(number)
    }

    fn one_of(&mut self, names: &[&str]) -> Option<usize> {
        names.iter().position(|name| self.literal(name).is_some())
    }

    /// `08:49:37`, in seconds.
    fn time(&mut self) -> Option<u64> {
        let hour = self.digits(2)?;
        self.literal(":")?;
        let minute = self.digits(2)?;
        self.literal(":")?;
        let second = self.digits(2)?;
        let legal = match (hour, minute, second) {
            (23, 59, 60) => true,
            _ => hour < 24 && minute < 60 && second < 60,
        };
        legal.then_some(hour * 3600 + minute * 60 + second)
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// Days from the start of 1970 to the start of `year`, which is not before 1970.
fn days_before(year: u64) -> u64 {
    let whole = year - 1;
    let since_year_one = whole * 365 + whole / 4 - whole / 100 + whole / 400;
    since_year_one - 719_162
}

fn month_lengths(year: u64) -> [u64; 12] {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if leap { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

/// 1970 began on a Thursday.
fn weekday_of(days: u64) -> usize {
    ((days + 4) % 7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<u64> {
        Date::parse(text.as_bytes()).map(Date::unix_seconds)
    }

    // PROTOCOL §1, E1. Seconds by `date -u -d … +%s`.
    #[test]
    fn all_three_forms_are_read() {
        for (text, seconds) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thursday, 01-Jan-70 00:00:00 GMT", 0),
            ("Thu Jan  1 00:00:00 1970", 0),
            ("Wed Nov 16 08:49:37 1994", 784_975_777),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Fri, 31 Dec 9999 23:59:59 GMT", LAST_SECOND),
        ] {
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn two_digits_are_a_year_from_1970_to_2069() {
        assert_eq!(
            parse("Tuesday, 31-Dec-69 00:00:00 GMT"),
            Some(3_155_673_600)
        );
        // 2070 has other weekdays than 1970: refused, not misread.
        assert_eq!(parse("Wednesday, 01-Jan-70 00:00:00 GMT"), None);
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        let midnight = parse("Sun, 01 Jan 2017 00:00:00 GMT");
        assert!(midnight.is_some());
        assert_eq!(parse("Sat, 31 Dec 2016 23:59:60 GMT"), midnight);
        assert_eq!(parse("Sat, 31 Dec 2016 23:58:60 GMT"), None);
        assert_eq!(parse("Sat, 31 Dec 2016 22:59:60 GMT"), None);
        assert_eq!(parse("Sat, 31 Dec 2016 23:59:61 GMT"), None);
        assert_eq!(parse("Fri, 31 Dec 9999 23:59:60 GMT"), Some(LAST_SECOND));
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            "0",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            " Sun, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 +0000",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "sun, 06 nov 1994 08:49:37 gmt",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:00 GMT",
            "Sun, 06 Nov 1994 +8:49:37 GMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994 GMT",
            "1994-11-06T08:49:37Z",
            // Days that do not exist, with the weekday they would have.
            "Mon, 00 Nov 1994 08:49:37 GMT",
            "Wed, 00 Jan 1970 00:00:00 GMT",
            "Thu, 31 Nov 1994 08:49:37 GMT",
            "Wed, 29 Feb 2023 00:00:00 GMT",
            "Mon, 29 Feb 2100 00:00:00 GMT",
            "Sat, 32 Dec 1999 00:00:00 GMT",
            // Before 1970.
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Mon, 01 Jan 0001 00:00:00 GMT",
            "Sat, 01 Jan 0000 00:00:00 GMT",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_prefix_is_refused_without_a_panic() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            for end in 0..text.len() {
                assert_eq!(parse(&text[..end]), None, "{:?}", &text[..end]);
            }
        }
    }

    #[test]
    fn every_day_is_printed_as_it_is_read() {
        // Each day of the years that matter, then a sample: a debug build takes seconds for all.
        let (near, last) = (150 * 365, LAST_SECOND / SECONDS_A_DAY);
        for day in (0..near).chain((near..=last).step_by(61)) {
            let date = Date(day * SECONDS_A_DAY + day % SECONDS_A_DAY);
            let text = date.to_string();
            assert_eq!(Date::parse(text.as_bytes()), Some(date), "{text}");
        }
    }

    #[test]
    fn what_http_cannot_write_is_the_last_second_it_can() {
        let last = Date::from_unix_seconds(u64::MAX);
        assert_eq!(last.to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(last, Date::from_unix_seconds(LAST_SECOND));
        assert!(Date::from_unix_seconds(LAST_SECOND - 1) < last);
    }

    #[test]
    fn differences_saturate() {
        let (early, late) = (Date(5), Date(8));
        assert_eq!(late.saturating_since(early), Duration::from_secs(3));
        assert_eq!(early.saturating_since(late), Duration::ZERO);
    }
}
