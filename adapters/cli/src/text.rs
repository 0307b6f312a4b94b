//! Text for people: one line, nothing in it that a terminal would obey.

use std::fmt::{self, Write};
use std::time::Duration;

use serde_json::Value;
use tus_proto::Date;

/// Text of others on a line of ours: control, bidirectional and invisible characters are
/// escaped.
pub(crate) struct Line<'a>(pub(crate) &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if commands(character) {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// A line and its end, to be written at once: stderr has no buffer.
pub(crate) fn line(text: &str) -> String {
    format!("{}\n", Line(text))
}

/// Lines of a name and a value, to be read by people.
pub(crate) struct Table {
    pub(crate) text: String,
    width: usize,
}

impl Table {
    /// With values that begin in this column.
    pub(crate) fn new(width: usize) -> Self {
        Self {
            text: String::new(),
            width,
        }
    }

    pub(crate) fn line(&mut self, name: &str, value: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.text,
            "{name:<width$}{}",
            Line(value),
            width = self.width
        );
    }
}

/// Whether a terminal obeys it, or does not show it as what it is: controls, and what the core calls
/// hidden. A test compares the two.
fn commands(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// JSON with the same values, in which a [`Line`]'s escapes are those of JSON.
pub(crate) fn json(value: &Value) -> String {
    let mut text = String::new();
    for character in format!("{value:#}\n").chars() {
        // The line feeds of values are escaped by now; these part the lines.
        if character != '\n' && commands(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// A moment as RFC 3339 writes it, in UTC.
pub(crate) fn rfc3339(date: Date) -> String {
    let seconds = date.unix_seconds();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of so many days after 1970-01-01 (Howard Hinnant's `civil_from_days`, which
/// counts from 0000-03-01 in eras of 400 years).
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// How long something takes, as exactly as people want it.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", span.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use tus_proto::{Failure, FailureKind};

    use super::*;

    #[test]
    fn a_line_is_a_line_and_commands_no_terminal() {
        assert_eq!(
            Line("a\nb\u{1b}[2J\u{202e}c ü").to_string(),
            "a\\u{a}b\\u{1b}[2J\\u{202e}c ü"
        );
    }

    #[test]
    fn what_the_core_escapes_is_escaped_here() {
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            let core = Failure::new(FailureKind::Lost, &*text).to_string();
            assert_eq!(Line(&text).to_string(), core);
        }
    }

    #[test]
    fn dates_are_written_as_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (784_111_777, "1994-11-06T08:49:37Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Date::from_unix_seconds(seconds)), text);
        }
    }

    #[test]
    fn spans_are_told_as_exactly_as_people_want_them() {
        for (milliseconds, text) in [
            (0, "0.0 s"),
            (1540, "1.5 s"),
            (61_900, "61 s"),
            (754_000, "12 min 34 s"),
            (9_000_000, "2 h 30 min"),
        ] {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }
}
