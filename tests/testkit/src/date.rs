//! Dates as HTTP writes them (RFC 9110 section 5.6.7).

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// How a date is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// `Sun, 06 Nov 1994 08:49:37 GMT`
    ImfFixdate,
    /// `Sunday, 06-Nov-94 08:49:37 GMT`
    Rfc850,
    /// `Sun Nov  6 08:49:37 1994`
    Asctime,
}

/// This many seconds after the beginning of 1970, in UTC.
pub(crate) fn write(unix_seconds: u64, form: Form) -> String {
    let days = unix_seconds / 86_400;
    let (year, month, day) = civil(days);
    let name = DAYS[index((days + 4) % 7)];
    let short = &name[..3];
    let month = MONTHS[index(month - 1)];
    let [hour, minute, second] =
        [(24, 3600), (60, 60), (60, 1)].map(|(most, unit)| unix_seconds / unit % most);
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match form {
        Form::ImfFixdate => format!("{short}, {day:02} {month} {year:04} {time} GMT"),
        Form::Rfc850 => format!("{name}, {day:02}-{month}-{:02} {time} GMT", year % 100),
        Form::Asctime => format!("{short} {month} {day:>2} {time} {year:04}"),
    }
}

/// Year, month and day of the Gregorian calendar. Years begin in March here, which puts the leap day
/// last, and the months' lengths then follow a line.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468; // from 0000-03-01
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + DAYS_TO_1970;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (era * 400 + year + later, month, day)
}

fn index(small: u64) -> usize {
    usize::try_from(small).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_three_forms() {
        let at = |form| write(784_111_777, form);
        assert_eq!(at(Form::ImfFixdate), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(Form::Rfc850), "Sunday, 06-Nov-94 08:49:37 GMT");
        assert_eq!(at(Form::Asctime), "Sun Nov  6 08:49:37 1994");
    }

    #[test]
    fn the_calendar_has_its_leap_days() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (86_399, "Thu, 01 Jan 1970 23:59:59 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(write(seconds, Form::ImfFixdate), date);
        }
        assert!(write(u64::MAX, Form::Asctime).len() > 24);
    }
}
