use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tus_proto::{
    Capabilities, Config, Conflict, Date, Discover, Error, Inspect, Metadata, Role, Upload,
    Violation,
};

use super::ask::{self, Came};

const URL: &str = "https://example.org/files/a";
/// Of the source that is gone on with.
const LENGTH: u64 = 1_000;

/// The fields of an answer mean what they say, and nothing where they are malformed or disagree.
///
/// # Panics
///
/// Where one is read otherwise.
pub fn fields(data: &[u8]) {
    let headers = ask::headers(data);
    let config = Config::default();
    let version = single(&headers, "tus-resumable");
    let other = version.is_some_and(|version| version != b"1.0.0");
    let inspect = Inspect::new(URL, &config).expect("a URL");
    let discover = Discover::new(URL, &config).expect("a URL");
    let upload = Upload::append(URL, LENGTH, &config).expect("a URL");
    if other {
        assert_version(&ask::tell(inspect, StatusCode::OK, &headers));
        assert_version(&ask::tell(discover, StatusCode::OK, &headers));
        assert_version(&ask::tell(upload, StatusCode::OK, &headers));
        return;
    }
    check_inspected(&headers, ask::tell(inspect, StatusCode::OK, &headers));
    match ask::tell(discover, StatusCode::NO_CONTENT, &headers) {
        Came::Done(Ok(capabilities)) => check_capabilities(&headers, capabilities),
        came => panic!("{came:?}"),
    }
    check_upload(&headers, ask::tell(upload, StatusCode::OK, &headers));
    let after = single(&headers, "retry-after");
    // Dates are another target's.
    let wish = after.map(|after| number(after).ok_or(after));
    if let Some(Err(after)) = wish
        && Date::parse(after).is_some()
    {
        return;
    }
    ask::check_wait(&headers, wish.and_then(Result::ok).map(Duration::from_secs));
}

fn assert_version<T: std::fmt::Debug>(came: &Came<T>) {
    let refused = matches!(
        came,
        Came::Done(Err(Error::Protocol {
            violation: Violation::Version(_),
            ..
        }))
    );
    assert!(refused, "another version is taken: {came:?}");
}

fn check_inspected(headers: &HeaderMap, came: Came<tus_proto::Inspected>) {
    let offset = agreed(headers, "upload-offset");
    let role = role(headers);
    let usable = offset.is_some() || matches!(role, Role::Final { .. });
    match came {
        Came::Done(Ok(inspected)) => {
            assert!(usable, "{inspected:?}");
            assert_eq!(inspected.offset, offset);
            assert_eq!(inspected.length, agreed(headers, "upload-length"));
            assert_eq!(
                inspected.deferred,
                agreed(headers, "upload-defer-length") == Some(1)
            );
            assert_eq!(
                inspected.expires,
                single(headers, "upload-expires").and_then(Date::parse)
            );
            assert_eq!(inspected.role, role);
            let lines: Vec<_> = lines(headers, "upload-metadata").collect();
            assert_eq!(
                inspected.metadata,
                Metadata::decode(&lines.join(&b','.to_owned()))
            );
        }
        came => assert!(!usable, "{came:?}"),
    }
}

fn role(headers: &HeaderMap) -> Role {
    let Some(value) = single(headers, "upload-concat") else {
        return Role::Whole;
    };
    let value = String::from_utf8_lossy(value);
    match (&*value, value.strip_prefix("final")) {
        ("partial", _) => Role::Partial,
        (_, Some(rest)) => {
            let parts = rest.strip_prefix(';').unwrap_or_default().split(' ');
            let parts = parts.filter(|part| !part.is_empty()).map(str::to_owned);
            Role::Final {
                parts: parts.collect(),
            }
        }
        _ => Role::Whole,
    }
}

fn check_capabilities(headers: &HeaderMap, read: Option<Capabilities>) {
    let names = [
        "tus-resumable",
        "tus-version",
        "tus-extension",
        "tus-max-size",
    ];
    let speaks = names.iter().any(|name| headers.contains_key(*name));
    assert_eq!(read.is_some(), speaks, "{read:?}");
    let Some(read) = read else {
        return;
    };
    let extensions = list(headers, "tus-extension");
    assert_eq!(read.max_size, agreed(headers, "tus-max-size"));
    assert_eq!(read.versions, list(headers, "tus-version"));
    assert_eq!(read.extensions.unwrap_or_default(), extensions);
    let algorithms = read.checksum_algorithms.iter();
    let algorithms: Vec<_> = algorithms.map(|name| name.as_str().to_owned()).collect();
    let mut expected = list(headers, "tus-checksum-algorithm");
    expected.retain(|name| name.len() <= 64 && !name.contains(|c: char| c.is_ascii_uppercase()));
    assert_eq!(algorithms, expected);
}

fn check_upload(headers: &HeaderMap, came: Came<tus_proto::Uploaded>) {
    let offset = agreed(headers, "upload-offset");
    let length = agreed(headers, "upload-length");
    let deferred = agreed(headers, "upload-defer-length") == Some(1);
    let other = length.is_some_and(|length| length != LENGTH);
    match (came, offset) {
        (Came::Again(request, None), Some(offset)) => {
            let from = request.headers()["upload-offset"].as_bytes();
            assert_eq!(number(from), Some(offset));
            assert!(offset < LENGTH || deferred && offset == LENGTH, "{offset}");
            assert_eq!(*request.body(), offset..LENGTH);
            assert!(!other, "its length is {length:?}");
        }
        (Came::Done(Ok(_)), offset) => {
            assert_eq!(offset, Some(LENGTH));
            assert!(!other, "its length is {length:?}");
        }
        (Came::Done(Err(Error::Conflict { conflict, .. })), Some(offset)) => match conflict {
            Conflict::Length { server, .. } => assert!(other && length == Some(server)),
            _ => assert!(offset > LENGTH),
        },
        (Came::Done(Err(Error::Protocol { .. })), None) => (),
        (came, offset) => panic!("{offset:?}: {came:?}"),
    }
}

fn lines<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .into_iter()
        .map(http::HeaderValue::as_bytes)
}

/// Digits that fit, in no more room than anyone needs.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let mut number = 0_u128;
    for byte in text {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = (number * 10 + u128::from(byte - b'0')).min(1 << 100);
    }
    u64::try_from(number).ok()
}

/// What all members of all lines say.
fn agreed(headers: &HeaderMap, name: &str) -> Option<u64> {
    let members = lines(headers, name).flat_map(|line| line.split(|byte| *byte == b','));
    let numbers: Vec<_> = members.map(|member| number(member.trim_ascii())).collect();
    let first = (*numbers.first()?)?;
    numbers
        .iter()
        .all(|number| *number == Some(first))
        .then_some(first)
}

/// What all lines say.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines: Vec<_> = lines(headers, name).map(<[u8]>::trim_ascii).collect();
    let first = *lines.first()?;
    (!first.is_empty() && lines.iter().all(|line| *line == first)).then_some(first)
}

/// The names in a list: no more than anyone has, those that are none left out.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let members = lines(headers, name).flat_map(|line| line.split(|byte| *byte == b','));
    let members = members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty());
    members
        .take(128)
        .filter(|member| member.iter().all(|byte| (0x21..=0x7E).contains(byte)))
        .map(|member| String::from_utf8_lossy(member).into_owned())
        .collect()
}
