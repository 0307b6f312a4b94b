//! The checkpoint as text, and back.
//!
//! ```text
//! tus-checkpoint 1
//! endpoint https://example.org/files/
//! identity 1048576-1732300000-42
//! url https://example.org/files/24e533
//! length 1048576
//! spoke yes
//! expires 1732400000
//! ending refused 422 checksum%20wrong
//! end 8c2f1d0e5a7b9c34
//! ```
//!
//! An upload that the caller knew by its URL alone has the line `upload` with that URL in place of
//! `endpoint`. A length that the server was not told yet has no line. An upload in parts has, in
//! place of the lines from `url` to `ending`:
//!
//! ```text
//! parts 2
//! joining yes
//! whole https://example.org/files/9a8b7c
//! part 524288
//! url https://example.org/files/24e533
//! spoke yes
//! part 524288
//! ```
//!
//! where `joining` says whether the concatenation was begun, `whole` where it is, if that is known,
//! and `part` begins a part with its length; one without a `url` was not created yet, but not all are
//! without.
//!
//! A line is a name, a space and a value, in this order, each at most once. Bytes of free text that
//! are not visible ASCII, and `%`, are percent-encoded. The last line holds the FNV-1a hash of all
//! bytes before it, so that a damaged or truncated text is not taken for another upload.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use http::{StatusCode, Uri};

use super::{Checkpoint, CheckpointError, Ending, Kept, Pieces, Saved, Start};
use crate::config::MAX_PARTS;
use crate::wire::{date::Date, integer, reference};

const HEADER: &str = "tus-checkpoint 1";
/// No checkpoint is longer than this, in bytes (1 MiB).
const LIMIT: usize = 1 << 20;

impl Checkpoint {
    /// The checkpoint as text, which [`FromStr`] reads. It holds the whole URLs of the endpoint and
    /// the upload, with their queries.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Text(format!("{HEADER}\n"));
        match &self.start {
            Start::Endpoint(endpoint) => text.line("endpoint", endpoint),
            Start::Upload(upload) => text.line("upload", upload),
        }
        if let Some(identity) = &self.identity {
            text.line("identity", encode(identity));
        }
        match &self.kept {
            Kept::Whole(saved) => {
                text.line("url", &saved.url);
                if let Some(length) = saved.length {
                    text.line("length", length);
                }
                text.state(saved);
            }
            Kept::Parts(pieces) => {
                text.line("parts", pieces.parts.len());
                text.line("joining", yes(pieces.joining));
                if let Some(whole) = &pieces.whole {
                    text.line("whole", whole);
                }
                for (length, saved) in &pieces.parts {
                    text.line("part", length);
                    if let Some(saved) = saved {
                        text.line("url", &saved.url);
                        text.state(saved);
                    }
                }
            }
        }
        let seal = fnv1a(text.0.as_bytes());
        text.line("end", format_args!("{seal:016x}"));
        text.0
    }
}

/// Lines.
struct Text(String);

impl Text {
    fn line(&mut self, name: &str, value: impl fmt::Display) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "{name} {value}");
    }

    /// The lines after URL and length.
    fn state(&mut self, saved: &Saved) {
        self.line("spoke", yes(saved.spoke));
        if let Some(expires) = saved.expires {
            self.line("expires", expires.unix_seconds());
        }
        match &saved.ending {
            Ending::Open => (),
            Ending::Acknowledged => self.line("ending", "acknowledged"),
            Ending::Unsettled => self.line("ending", "unsettled"),
            Ending::Refused(status, words) => self.line(
                "ending",
                format_args!("refused {} {}", status.as_u16(), encode(words)),
            ),
        }
    }
}

fn yes(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > LIMIT {
            return Err(CheckpointError::Damaged);
        }
        let rest = text
            .strip_prefix(HEADER)
            .and_then(|rest| rest.strip_prefix('\n'))
            .ok_or(CheckpointError::Version)?;
        let lines = rest
            .len()
            .checked_sub(SEAL_LINE)
            .and_then(|end| rest.split_at_checked(end));
        let (lines, seal) = lines.ok_or(CheckpointError::Damaged)?;
        let sealed = &text.as_bytes()[..text.len() - SEAL_LINE];
        if seal != format!("end {:016x}\n", fnv1a(sealed)) {
            return Err(CheckpointError::Damaged);
        }

        let mut lines = Lines(lines);
        let checkpoint = Self {
            start: match lines.read("endpoint", url)? {
                Some(endpoint) => Start::Endpoint(endpoint),
                None => {
                    let upload = lines.read("upload", url)?;
                    Start::Upload(upload.ok_or(CheckpointError::Line("endpoint"))?)
                }
            },
            identity: lines.read("identity", decode)?,
            kept: match lines.read("parts", number)? {
                Some(count) => Kept::Parts(lines.pieces(count)?),
                None => {
                    let url = lines.read("url", url)?;
                    let url = url.ok_or(CheckpointError::Line("url"))?;
                    let length = lines.read("length", number)?;
                    Kept::Whole(lines.state(url, length)?)
                }
            },
        };
        if lines.0.is_empty() {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Line("end"))
        }
    }
}

/// `end `, sixteen digits, a newline.
const SEAL_LINE: usize = 4 + 16 + 1;

/// The lines that are left.
struct Lines<'a>(&'a str);

impl Lines<'_> {
    /// The next line's value, if the line has this name.
    fn read<T>(
        &mut self,
        name: &'static str,
        value: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, CheckpointError> {
        let Some(rest) = self
            .0
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix(' '))
        else {
            return Ok(None);
        };
        let (line, rest) = rest.split_once('\n').ok_or(CheckpointError::Line(name))?;
        self.0 = rest;
        value(line).map(Some).ok_or(CheckpointError::Line(name))
    }

    /// The lines after URL and length.
    fn state(&mut self, url: Uri, length: Option<u64>) -> Result<Saved, CheckpointError> {
        Ok(Saved {
            url,
            length,
            spoke: self
                .read("spoke", yes_or_no)?
                .ok_or(CheckpointError::Line("spoke"))?,
            expires: self.read("expires", date)?,
            ending: self.read("ending", ending)?.unwrap_or_default(),
        })
    }

    /// The lines after the number of parts.
    fn pieces(&mut self, count: u64) -> Result<Pieces, CheckpointError> {
        if !(1..=MAX_PARTS as u64).contains(&count) {
            return Err(CheckpointError::Line("parts"));
        }
        let joining = self.read("joining", yes_or_no)?;
        let joining = joining.ok_or(CheckpointError::Line("joining"))?;
        let whole = self.read("whole", url)?;
        let mut parts = Vec::new();
        let mut total = 0_u64;
        for _ in 0..count {
            let length = self.read("part", number)?;
            let length = length.ok_or(CheckpointError::Line("part"))?;
            total = total
                .checked_add(length)
                .ok_or(CheckpointError::Line("part"))?;
            let saved = match self.read("url", url)? {
                Some(url) => Some(self.state(url, Some(length))?),
                None => None,
            };
            parts.push((length, saved));
        }
        if parts.iter().all(|(_, saved)| saved.is_none()) {
            // There would be nothing to go on from.
            return Err(CheckpointError::Line("url"));
        }
        Ok(Pieces {
            parts,
            joining,
            whole,
        })
    }
}

fn url(value: &str) -> Option<Uri> {
    match reference::endpoint(value) {
        // As it was printed and no other way: a checkpoint is no place for new spellings.
        Ok((uri, None)) => {
            let text = uri.to_string();
            (text == value).then_some(uri)
        }
        _ => None,
    }
}

fn number(value: &str) -> Option<u64> {
    integer::parse(value.as_bytes()).filter(|n| n.to_string() == value)
}

/// A date that HTTP can write: another would not be printed as it was read.
fn date(value: &str) -> Option<Date> {
    let seconds = number(value)?;
    let date = Date::from_unix_seconds(seconds);
    (date.unix_seconds() == seconds).then_some(date)
}

fn yes_or_no(value: &str) -> Option<bool> {
    match value {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

fn ending(value: &str) -> Option<Ending> {
    match value {
        "acknowledged" => return Some(Ending::Acknowledged),
        "unsettled" => return Some(Ending::Unsettled),
        _ => (),
    }
    let (status, words) = value.strip_prefix("refused ")?.split_once(' ')?;
    let status = u16::try_from(number(status)?).ok()?;
    Some(Ending::Refused(
        StatusCode::from_u16(status).ok()?,
        decode(words)?,
    ))
}

/// Percent-encodes what is not visible ASCII.
fn encode(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            line.push(char::from(byte));
        } else {
            let _ = write!(line, "%{byte:02X}");
        }
    }
    line
}

/// What [`encode`] made, and nothing else.
fn decode(line: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(line.len());
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| encode(text) == line)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        Saved {
            url: Uri::from_static("https://example.org/files/24e533?key=a,b"),
            length: Some(u64::MAX),
            spoke: true,
            expires: Some(Date::from_unix_seconds(1_700_000_000)),
            ending: Ending::Refused(StatusCode::UNPROCESSABLE_ENTITY, "no\r\ngood".to_owned()),
        }
    }

    fn whole(saved: Saved) -> Checkpoint {
        Checkpoint {
            start: Start::Endpoint(Uri::from_static("https://example.org/files/")),
            identity: Some("5 bytes\nend 0\u{202e}%".to_owned()),
            kept: Kept::Whole(saved),
        }
    }

    fn full() -> Checkpoint {
        whole(saved())
    }

    fn saved_of(length: u64) -> Saved {
        Saved {
            length: Some(length),
            expires: None,
            ending: Ending::Unsettled,
            ..saved()
        }
    }

    fn in_parts() -> Checkpoint {
        let part = saved_of;
        let pieces = Pieces {
            parts: vec![
                (3, Some(part(3))),
                (0, None),
                (u64::MAX - 3, Some(part(u64::MAX - 3))),
            ],
            joining: true,
            whole: Some(Uri::from_static("https://example.org/files/9")),
        };
        Checkpoint {
            kept: Kept::Parts(pieces),
            ..full()
        }
    }

    fn sealed(body: &str) -> String {
        format!("{body}end {:016x}\n", fnv1a(body.as_bytes()))
    }

    // I9.
    #[test]
    fn what_is_printed_is_parsed_to_the_same() {
        let bare = Checkpoint {
            start: Start::Upload(Uri::from_static("https://example.org/files/5")),
            identity: None,
            kept: Kept::Whole(Saved {
                length: None,
                spoke: false,
                expires: None,
                ending: Ending::Open,
                ..saved()
            }),
        };
        let ended = |ending| whole(Saved { ending, ..saved() });
        let empty_words = Checkpoint {
            identity: Some(String::new()),
            ..ended(Ending::Refused(StatusCode::BAD_REQUEST, String::new()))
        };
        let unsettled = ended(Ending::Unsettled);
        let acknowledged = ended(Ending::Acknowledged);
        let one_part = Checkpoint {
            kept: Kept::Parts(Pieces {
                parts: vec![(5, Some(saved_of(5)))],
                joining: false,
                whole: None,
            }),
            ..full()
        };
        for checkpoint in [
            full(),
            bare,
            empty_words,
            unsettled,
            acknowledged,
            in_parts(),
            one_part,
        ] {
            let text = checkpoint.to_text();
            assert_eq!(text.parse(), Ok(checkpoint), "{text}");
        }
    }

    #[test]
    fn the_text_is_as_documented() {
        let seal = |text: &str| {
            format!("end {:016x}", {
                fnv1a(&text.as_bytes()[..text.len() - SEAL_LINE])
            })
        };
        let text = full().to_text();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "tus-checkpoint 1",
                "endpoint https://example.org/files/",
                "identity 5%20bytes%0Aend%200%E2%80%AE%25",
                "url https://example.org/files/24e533?key=a,b",
                "length 18446744073709551615",
                "spoke yes",
                "expires 1700000000",
                "ending refused 422 no%0D%0Agood",
                &seal(&text),
            ]
        );
        let text = in_parts().to_text();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "tus-checkpoint 1",
                "endpoint https://example.org/files/",
                "identity 5%20bytes%0Aend%200%E2%80%AE%25",
                "parts 3",
                "joining yes",
                "whole https://example.org/files/9",
                "part 3",
                "url https://example.org/files/24e533?key=a,b",
                "spoke yes",
                "ending unsettled",
                "part 0",
                "part 18446744073709551612",
                "url https://example.org/files/24e533?key=a,b",
                "spoke yes",
                "ending unsettled",
                &seal(&text),
            ]
        );
    }

    #[test]
    fn an_upload_in_parts_is_known_as_one() {
        let checkpoint = in_parts();
        assert!(checkpoint.in_parts() && !full().in_parts());
        assert_eq!(checkpoint.length(), Some(u64::MAX));
        assert_eq!(checkpoint.expires(), None);
        let url = checkpoint.url().map(|url| url.expose());
        assert_eq!(url.as_deref(), Some("https://example.org/files/9"));
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_seen() {
        let text = full().to_text();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Checkpoint>().is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            for new in [b'0', b'z', b'\n', b' '] {
                let mut bytes = text.clone().into_bytes();
                if bytes[at] != new {
                    bytes[at] = new;
                    let changed = String::from_utf8(bytes).unwrap();
                    assert!(changed.parse::<Checkpoint>().is_err(), "{changed}");
                }
            }
        }
        assert!(format!("{text}x").parse::<Checkpoint>().is_err());
        assert!("".parse::<Checkpoint>().is_err());
        assert!(
            "tus-checkpoint 1\né"
                .repeat(3)
                .parse::<Checkpoint>()
                .is_err()
        );
    }

    /// Each of these lines, under a right seal, and the line that makes no sense.
    fn refused(rows: &[(&str, &'static str)]) {
        for (lines, line) in rows {
            assert_eq!(
                sealed(&format!("{HEADER}\n{lines}")).parse::<Checkpoint>(),
                Err(CheckpointError::Line(line)),
                "{lines}"
            );
        }
    }

    // A text with a right seal is still not trusted: S2, S3, S5.
    #[test]
    fn sealed_nonsense_is_refused() {
        refused(&[
            ("endpoint http://h/\nlength 5\nspoke no\n", "url"),
            ("endpoint http://h/\nurl http://h/a\nlength 5\n", "spoke"),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke no\nexpires 253402300800\n",
                "expires",
            ),
            (
                "endpoint http://h/\nurl http://u:p@h/a\nlength 5\nspoke no\n",
                "url",
            ),
            (
                "endpoint http://h/\nurl ftp://h/a\nlength 5\nspoke no\n",
                "url",
            ),
            (
                "endpoint http://h/\nurl http://127.1/a\nlength 5\nspoke no\n",
                "url",
            ),
            (
                "endpoint http://h/\nurl http://h/a b\nlength 5\nspoke no\n",
                "url",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength +5\nspoke no\n",
                "length",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 05\nspoke no\n",
                "length",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke maybe\n",
                "spoke",
            ),
            (
                "endpoint http://h/\nidentity %\nurl http://h/a\nlength 5\nspoke no\n",
                "identity",
            ),
            (
                "endpoint http://h/\nidentity a b\nurl http://h/a\nlength 5\nspoke no\n",
                "identity",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke no\nending refused 99 x\n",
                "ending",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke no\nending done\n",
                "ending",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke no\nspoke no\n",
                "end",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nurl http://h/b\nlength 5\nspoke no\n",
                "spoke",
            ),
            (
                "endpoint http://h/\nurl http://h/a\nlength 5\nspoke no\nfuture 1\n",
                "end",
            ),
            ("url http://h/a\nlength 5\nspoke no\n", "endpoint"),
            (
                "upload http://h/?a b\nurl http://h/a\nlength 5\nspoke no\n",
                "upload",
            ),
            (
                "endpoint http://h/\nupload http://h/a\nurl http://h/a\nlength 5\nspoke no\n",
                "url",
            ),
        ]);
        assert_eq!(
            sealed("tus-checkpoint 2\n").parse::<Checkpoint>(),
            Err(CheckpointError::Version)
        );
    }

    #[test]
    fn sealed_nonsense_of_parts_is_refused() {
        refused(&[
            ("endpoint http://h/\nparts 0\njoining no\n", "parts"),
            ("endpoint http://h/\nparts 4097\njoining no\n", "parts"),
            ("endpoint http://h/\nparts 2\npart 5\npart 5\n", "joining"),
            ("endpoint http://h/\nparts 2\njoining no\npart 5\n", "part"),
            (
                "endpoint http://h/\nparts 2\njoining no\npart 18446744073709551615\npart 1\n",
                "part",
            ),
            (
                "endpoint http://h/\nparts 1\njoining no\npart 5\nurl http://h/a\n",
                "spoke",
            ),
            (
                "endpoint http://h/\nparts 1\njoining no\npart 5\nurl http://h/a\nspoke no\npart 5\n",
                "end",
            ),
            (
                "endpoint http://h/\nparts 2\njoining no\npart 5\npart 5\n",
                "url",
            ),
            (
                "endpoint http://h/\nparts 1\njoining no\nwhole h\npart 5\n",
                "whole",
            ),
        ]);
    }

    // S4.
    #[test]
    fn a_mebibyte_is_read_and_no_more() {
        let of = |size: usize| {
            let text = |identity: &str| {
                let lines = format!(
                    "endpoint http://h/\nidentity {identity}\nurl http://h/a\nlength 5\nspoke no\n"
                );
                sealed(&format!("{HEADER}\n{lines}"))
            };
            text(&"x".repeat(size - text("").len()))
        };
        assert!(of(1 << 20).parse::<Checkpoint>().is_ok());
        assert_eq!(
            of((1 << 20) + 1).parse::<Checkpoint>(),
            Err(CheckpointError::Damaged)
        );
    }

    // S3.
    #[test]
    fn debug_keeps_the_capability() {
        let shown = format!("{:?}", full());
        assert!(!shown.contains("key"), "{shown}");
        assert!(!shown.contains("5 bytes"), "{shown}");
    }
}
