use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tus_proto::{Config, Date, Inspect};

use super::ask::{self, Came};
use crate::date::{self, Form};

/// A date is read as somebody else reads it, is printed as it is read, and is what a machine waits for.
///
/// # Panics
///
/// Where that is not so.
pub fn dates(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let (one, other) = (
        lines.next().unwrap_or_default(),
        lines.next().unwrap_or_default(),
    );
    let first = read(one);
    let second = read(other);
    if let (Some(first), Some(second)) = (first, second) {
        let between = first.unix_seconds().saturating_sub(second.unix_seconds());
        assert_eq!(first.saturating_since(second), Duration::from_secs(between));
        assert_eq!(
            first.cmp(&second),
            first.unix_seconds().cmp(&second.unix_seconds())
        );
    }
    // In a field, spaces around it do not count.
    let (after, now) = (read(one.trim_ascii()), read(other.trim_ascii()));
    let wait = after
        .zip(now)
        .map(|(after, now)| after.saturating_since(now));
    let digits = !one.is_empty() && one.trim_ascii().iter().all(u8::is_ascii_digit);
    if let Some(headers) = headers(&[(RETRY_AFTER, one), (DATE, other)])
        && !digits
    {
        ask::check_wait(&headers, wait);
    }
    let expires = HeaderName::from_static("upload-expires");
    let offset = HeaderName::from_static("upload-offset");
    if let Some(headers) = headers(&[(expires, one), (offset, b"1")]) {
        let inspect =
            Inspect::new("https://example.org/files/a", &Config::default()).expect("a URL");
        match ask::tell(inspect, StatusCode::OK, &headers) {
            Came::Done(Ok(inspected)) => assert_eq!(inspected.expires, after),
            came => panic!("{came:?}"),
        }
    }
}

fn headers(fields: &[(HeaderName, &[u8])]) -> Option<HeaderMap> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| Some((name.clone(), HeaderValue::from_bytes(value).ok()?)))
        .collect()
}

/// The date, which everybody agrees on.
fn read(text: &[u8]) -> Option<Date> {
    let date = Date::parse(text);
    let theirs = std::str::from_utf8(text)
        .ok()
        .and_then(|text| httpdate::parse_http_date(text).ok())
        .and_then(seconds);
    if let Some(theirs) = theirs {
        for form in forms(theirs) {
            let read = Date::parse(form.as_bytes()).map(Date::unix_seconds);
            assert_eq!(read, Some(theirs), "{form}");
        }
        // They do not look at the weekday, nor whether the month has that day.
        assert!(
            date.is_none_or(|date| date.unix_seconds() == theirs),
            "{date:?}, not {theirs}"
        );
    }
    let date = date?;
    let printed = date.to_string();
    assert_eq!(Date::parse(printed.as_bytes()), Some(date), "{printed}");
    assert_eq!(Date::from_unix_seconds(date.unix_seconds()), date);
    let again = httpdate::parse_http_date(&printed).ok().and_then(seconds);
    assert_eq!(again, Some(date.unix_seconds()), "{printed}");
    Some(date)
}

/// The moment in each form that it has.
fn forms(moment: u64) -> Vec<String> {
    /// 2070. Two digits are a year from 1970 on.
    const NO_TWO_DIGITS: u64 = 3_155_760_000;
    let mut forms = vec![Form::ImfFixdate, Form::Asctime];
    forms.extend((moment < NO_TWO_DIGITS).then_some(Form::Rfc850));
    let forms: Vec<_> = forms
        .iter()
        .map(|&form| date::write(moment, form))
        .collect();
    let theirs = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(moment));
    assert_eq!(forms[0], theirs);
    forms
}

fn seconds(time: SystemTime) -> Option<u64> {
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
