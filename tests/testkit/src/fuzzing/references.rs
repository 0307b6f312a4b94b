use std::net::Ipv6Addr;

use fluent_uri::{Uri, UriRef};
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use tus_proto::{Config, Create, Duty, Error, Machine, Output, Refusal, Tick, Violation};

use super::ask::{self, Came};

/// A reference leads where others say that it does, or is refused: never to another host, in the clear, or
/// with a password.
///
/// # Panics
///
/// Where that is not so.
pub fn references(data: &[u8]) {
    let (base, reference) = match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (&b"https://example.org/files/"[..], data),
    };
    let Ok(base) = std::str::from_utf8(base) else {
        return;
    };
    let config = Config::default();
    let Some(base) = begin(base, &config) else {
        return;
    };
    let Ok(location) = HeaderValue::from_bytes(reference) else {
        return;
    };
    let create = Create::new(&base, 1, &config).expect("a URL");
    let headers = HeaderMap::from_iter([(LOCATION, location)]);
    let resolved = resolve(&base, reference.trim_ascii());
    match ask::tell(create, StatusCode::CREATED, &headers) {
        Came::Done(Ok(url)) => {
            let url = url.expose();
            check(&url);
            assert!(
                !base.starts_with("https:") || url.starts_with("https:"),
                "{base} -> {url}"
            );
            assert_ne!(url, base);
            if let Some(resolved) = resolved {
                check_same(&base, reference, &url, &resolved);
            }
        }
        Came::Done(Err(error)) => {
            assert!(!error.to_string().is_empty());
            if let Some(resolved) = resolved {
                check_refused(&base, &resolved, &error);
            }
        }
        came @ Came::Again(..) => panic!("{came:?}"),
    }
}

/// The URL of the first request, if this can be an endpoint.
fn begin(base: &str, config: &Config) -> Option<String> {
    let mut create = Create::new(base, 1, config).ok()?;
    let Output::Begin(_, Duty::Exchange(request, _)) = create.poll(Tick::default()) else {
        panic!("no request");
    };
    let url = request.uri().to_string();
    check(&url);
    Some(url)
}

/// Whatever is requested is a plain URL of http's, and everybody sees the same host in it.
fn check(url: &str) {
    assert!(
        url.bytes().all(|byte| matches!(byte, 0x21..=0x7E)),
        "{url:?}"
    );
    assert!(
        !url.contains(['"', '<', '>', '\\', '^', '`', '{', '|', '}', '#']),
        "{url}"
    );
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let rest = rest.unwrap_or_else(|| panic!("{url}"));
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    assert!(!authority.contains('@'), "{url}");
    let path = rest.split('?').next().unwrap_or_default();
    assert!(
        !path
            .split('/')
            .any(|segment| segment == "." || segment == ".."),
        "{url}"
    );

    let strict = Uri::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let place = strict
        .authority()
        .map(|authority| authority.as_str().to_owned());
    assert_eq!(place.as_deref(), Some(authority), "{url}");

    let browser = match url::Url::parse(url) {
        Ok(browser) => browser,
        // A browser knows which names cannot be; elsewhere nobody answers by them.
        Err(url::ParseError::IdnaError) if authority.contains("xn--") => return,
        Err(error) => panic!("{url}: {error}"),
    };
    assert_eq!(browser.username(), "", "{url}");
    assert_eq!(browser.password(), None, "{url}");
    assert!(
        url.starts_with(&format!("{}://", browser.scheme())),
        "{url}"
    );
    let place = Place::read(browser.authority(), browser.scheme());
    assert_eq!(place, Place::read(authority, browser.scheme()), "{url}");
}

/// What RFC 3986 makes of it, where it is a reference at all once what is no character of a URI's is
/// percent-encoded.
fn resolve(base: &str, reference: &[u8]) -> Option<Uri<String>> {
    let base = Uri::parse(base).ok()?.to_owned();
    // A control character, or a backslash, is read in more than one way.
    if reference
        .iter()
        .any(|byte| byte.is_ascii_control() || *byte == b'\\')
    {
        return None;
    }
    let reference = reference.split(|byte| *byte == b'#').next()?.trim_ascii();
    if reference.is_empty() {
        return None;
    }
    let encode = |(at, byte): (usize, &u8)| {
        let escape = reference.get(at + 1..at + 3);
        let escaped = escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let legal = byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=[]".contains(byte);
        if legal || *byte == b'%' && escaped {
            char::from(*byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    };
    let text: String = reference.iter().enumerate().map(encode).collect();
    let reference = UriRef::parse(text.as_str()).ok()?;
    reference.resolve_against(&base).ok()
}

/// Host, or address, and port; none where the port is the scheme's own.
#[derive(Debug, PartialEq)]
struct Place {
    host: String,
    address: Option<Ipv6Addr>,
    port: Option<u64>,
}

impl Place {
    fn read(authority: &str, scheme: &str) -> Self {
        let authority = authority.to_ascii_lowercase();
        let colon = authority
            .rfind(':')
            .filter(|at| !authority[*at..].contains(']'));
        let (host, port) = authority.split_at(colon.unwrap_or(authority.len()));
        let own = if scheme == "https" { 443 } else { 80 };
        let port = port.get(1..).filter(|port| !port.is_empty());
        let port = port.map(|port| port.parse().unwrap_or(u64::MAX));
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let address = bare.and_then(|address| address.parse().ok());
        Self {
            host: if address.is_some() {
                String::new()
            } else {
                host.to_owned()
            },
            address,
            port: port.filter(|port| *port != own),
        }
    }
}

/// The parts of a URI.
struct Split {
    scheme: String,
    /// `None`: it names nobody.
    place: Option<Place>,
    path: String,
    query: Option<String>,
}

fn split(uri: &Uri<String>) -> Split {
    let scheme = uri.scheme().as_str().to_ascii_lowercase();
    let authority = uri.authority().map(|authority| authority.as_str());
    let place = authority.filter(|authority| !authority.is_empty());
    let path = uri.path().as_str();
    Split {
        place: place.map(|authority| Place::read(authority, &scheme)),
        path: if path.is_empty() { "/" } else { path }.to_owned(),
        query: uri.query().map(|query| query.as_str().to_owned()),
        scheme,
    }
}

fn check_same(base: &str, reference: &[u8], url: &str, resolved: &Uri<String>) {
    let ours = split(&Uri::parse(url).expect("checked").to_owned());
    let theirs = split(resolved);
    let seen = format!("{base}: {url}, not {resolved}");
    // A step down to the clear is put right, and another port with it.
    let upgraded = base.starts_with("https:") && theirs.scheme == "http";
    assert!(ours.scheme == theirs.scheme || upgraded, "{seen}");
    // `http:///a` has the host of the base.
    if let Some(place) = theirs.place {
        let ours = ours.place.expect("checked");
        assert_eq!(
            (&ours.host, ours.address),
            (&place.host, place.address),
            "{seen}"
        );
        assert!(ours.port == place.port || upgraded, "{seen}");
    }
    // An escaped dot is a dot to them, and to the core a name that stays as it was sent.
    let named = [base.as_bytes(), reference].concat().to_ascii_lowercase();
    if !named.windows(3).any(|escape| escape == b"%2e") {
        assert_eq!(ours.path, theirs.path, "{seen}");
    }
    assert_eq!(ours.query, theirs.query, "{seen}");
}

/// A plain reference that is not a step down is not refused.
fn check_refused(base: &str, resolved: &Uri<String>, error: &Error) {
    let theirs = split(resolved);
    let Some(Place { host, port, .. }) = theirs.place else {
        return;
    };
    let plain = host.split('.').all(|label| {
        label.starts_with(|c: char| c.is_ascii_lowercase())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    let port = port.is_none_or(|port| (1..=65_535).contains(&port));
    let down = base.starts_with("https:") && theirs.scheme == "http";
    if !plain || !port || down || !["http", "https"].contains(&theirs.scheme.as_str()) {
        return;
    }
    let endpoint = matches!(
        error,
        Error::Protocol {
            violation: Violation::LocationIsEndpoint,
            ..
        }
    );
    let long = matches!(
        error,
        Error::Location {
            refusal: Refusal::Unusable(tus_proto::ReferenceError::TooLong),
            ..
        }
    );
    assert!(endpoint || long, "{base}: {resolved} is refused: {error}");
}
