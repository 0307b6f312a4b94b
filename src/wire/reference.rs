//! URI references: resolved, checked, and only then a [`Uri`] (RFC 3986 §5.2).
//!
//! Servers send more in a `Location` than [`Uri`] takes, and it takes more than is safe. So a
//! reference is split and resolved as bytes, its parts are checked, and the outcome has one form:
//! scheme and host in lower case, no default port, no dot segments, no fragment, and each byte that
//! the grammar does not know percent-encoded. Escapes that are there stay: `%2F` is not `/`.
//!
//! A host that two parsers could read as two machines is refused, for the one that decides who gets
//! the user's headers is here, and the one that connects is in somebody else's HTTP stack.

use core::net::{Ipv4Addr, Ipv6Addr};
use std::fmt::{self, Write};
use std::str::FromStr;

use http::Uri;

/// The longest reference that is read, and the longest URI that is made, in bytes.
const MAX_LENGTH: usize = 8 * 1024;

/// Why a URI reference cannot be used.
///
/// The message says what is wrong with "it", and shows nothing of the reference: it may hold a
/// password, or be the key to an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceError {
    /// Nothing is there, or nothing but a fragment.
    #[error("it is empty")]
    Empty,
    /// More than 8 KiB, as it came or once it was resolved.
    #[error("it is longer than {MAX_LENGTH} bytes")]
    TooLong,
    /// A control character, such as a line end.
    #[error("it contains a control character")]
    Control,
    /// A backslash before the query: some parsers read it as a slash.
    #[error("it contains a backslash")]
    Backslash,
    /// Another scheme, or none where an absolute URL is due.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// A user name or password where none may be, or one that cannot be sent.
    #[error("its user information {0}")]
    UserInfo(&'static str),
    /// No host at all.
    #[error("it names no host")]
    NoHost,
    /// A host that is no host, or one that parsers read differently.
    #[error("its host {0}")]
    Host(&'static str),
    /// A port that is no port.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// More than scheme, host and port, where only an origin is due.
    #[error("it is more than an origin (scheme, host and port)")]
    NotOrigin,
    /// Refused by [`Uri`] although it passed every check here.
    #[error("it cannot be written as a URI")]
    Malformed,
}

/// Resolves `reference`, the raw value of a `Location` header, against `base`, the URL that
/// answered.
///
/// An empty authority (`http:///files/1`, sent by servers that do not know their own name) stands
/// for the base's own, if the scheme is the base's too; with another scheme it names nobody.
pub(crate) fn resolve(base: &Uri, reference: &[u8]) -> Result<Uri, ReferenceError> {
    let base = base.to_string();
    let base = Parts::split(base.as_bytes());
    let reference = Parts::split(screened(reference)?);

    let merged;
    let at_base = |path| Parts {
        path,
        query: reference.query,
        ..base
    };
    let target = match (reference.scheme, reference.authority, reference.path) {
        (Some(_), _, _) => reference,
        (None, Some(_), _) => Parts {
            scheme: base.scheme,
            ..reference
        },
        (None, None, b"") => at_base(base.path),
        (None, None, path @ [b'/', ..]) => at_base(path),
        (None, None, path) => {
            merged = merge(base.path, path);
            at_base(&merged)
        }
    };

    let scheme = Scheme::parse(target.scheme)?;
    let authority = match target.authority {
        Some(b"") if Scheme::parse(base.scheme) == Ok(scheme) => base.authority,
        named => named,
    };
    match split_user_info(authority.unwrap_or_default()) {
        (Some(_), _) => Err(ReferenceError::UserInfo("is not for a server to choose")),
        (None, place) => Origin::parse(scheme, place)?.with_path(target.path, target.query),
    }
}

/// Reads what a user typed as the URL of an endpoint or of an upload: absolute, and held to the
/// same checks as a server's words. User information leaves the URL and comes back beside it.
pub(crate) fn endpoint(text: &str) -> Result<(Uri, Option<UserInfo>), ReferenceError> {
    let parts = Parts::split(screened(text.as_bytes())?);
    let scheme = Scheme::parse(parts.scheme)?;
    let (user_info, place) = split_user_info(parts.authority.unwrap_or_default());
    let uri = Origin::parse(scheme, place)?.with_path(parts.path, parts.query)?;
    let user_info = match user_info {
        None | Some(b"") => None,
        Some(text) => Some(UserInfo::parse(text)?),
    };
    Ok((uri, user_info))
}

/// Shows a URI without user information and without its query, in printable ASCII but for the
/// ellipsis that marks where a query was.
pub(crate) fn redacted(uri: &Uri) -> impl fmt::Display {
    Redacted(uri)
}

struct Redacted<'a>(&'a Uri);

impl fmt::Display for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(f, "{scheme}://")?;
        }
        if let Some(authority) = self.0.authority() {
            let (_, place) = split_user_info(authority.as_str().as_bytes());
            write!(f, "{}", place.escape_ascii())?;
        }
        encode(f, self.0.path().as_bytes())?;
        f.write_str(if self.0.query().is_some() { "?…" } else { "" })
    }
}

/// A user name and password, percent-decoded: fit for `Authorization: Basic` (RFC 7617 §2).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct UserInfo {
    pub(crate) user: Vec<u8>,
    pub(crate) password: Vec<u8>,
}

impl UserInfo {
    fn parse(text: &[u8]) -> Result<Self, ReferenceError> {
        // A second `@` is where parsers disagree on which of them ends the user information.
        if text.contains(&b'@') {
            return Err(ReferenceError::UserInfo(
                "contains an @, which is written %40",
            ));
        }
        let colon = position(text, b':').unwrap_or(text.len());
        let user = decode(&text[..colon]);
        let password = decode(text.get(colon + 1..).unwrap_or_default());
        if user.contains(&b':') {
            return Err(ReferenceError::UserInfo("has a colon in the user name"));
        }
        if user.iter().chain(&password).any(u8::is_ascii_control) {
            return Err(ReferenceError::UserInfo("contains a control character"));
        }
        Ok(Self { user, password })
    }
}

impl fmt::Debug for UserInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserInfo").finish_non_exhaustive()
    }
}

/// Where a URL leads: scheme, host and effective port (RFC 6454 §4).
///
/// Written and read as `https://host` or `https://host:port`. Scheme and host are in lower case,
/// and a port that is the scheme's default is not written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub(crate) scheme: Scheme,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The two schemes that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn parse(text: Option<&[u8]>) -> Result<Self, ReferenceError> {
        match text {
            Some(text) if text.eq_ignore_ascii_case(b"http") => Ok(Self::Http),
            Some(text) if text.eq_ignore_ascii_case(b"https") => Ok(Self::Https),
            _ => Err(ReferenceError::Scheme),
        }
    }

    pub(crate) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// The origin of `uri`; its user information, path and query do not matter.
    ///
    /// # Errors
    /// The scheme is neither http nor https, or the host is missing or one that parsers read
    /// differently.
    pub fn of(uri: &Uri) -> Result<Self, ReferenceError> {
        let scheme = Scheme::parse(uri.scheme_str().map(str::as_bytes))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        Self::parse(scheme, split_user_info(authority.as_bytes()).1)
    }

    /// The same path and query as `uri`, at this origin.
    pub(crate) fn instead_of(&self, uri: &Uri) -> Result<Uri, ReferenceError> {
        self.with_path(uri.path().as_bytes(), uri.query().map(str::as_bytes))
    }

    /// Reads `host`, `host:` or `host:port`.
    fn parse(scheme: Scheme, place: &[u8]) -> Result<Self, ReferenceError> {
        // The colons of an IPv6 address are inside its brackets.
        let end = match place {
            [b'[', ..] => position(place, b']').map(|at| at + 1),
            _ => position(place, b':'),
        };
        let (host, port) = place.split_at(end.unwrap_or(place.len()));
        let host = canonical_host(host)?;
        let port = match port {
            [] | [b':'] => scheme.default_port(),
            // `u16` would take a sign.
            [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
                std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.parse().ok())
                    .filter(|&port| port != 0)
                    .ok_or(ReferenceError::Port)?
            }
            _ => return Err(ReferenceError::Port),
        };
        Ok(Self { scheme, host, port })
    }

    fn with_path(&self, path: &[u8], query: Option<&[u8]>) -> Result<Uri, ReferenceError> {
        let mut text = self.to_string();
        // To a `String` nothing fails to be written.
        let _ = encode(&mut text, &without_dot_segments(path));
        if let Some(query) = query {
            text.push('?');
            let _ = encode(&mut text, query);
        }
        if text.len() > MAX_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        Uri::try_from(text).map_err(|_| ReferenceError::Malformed)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

impl FromStr for Origin {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (uri, user_info) = endpoint(text)?;
        // Whoever trusts `https://host/folder` would trust more than they wrote.
        if user_info.is_some() || uri.path() != "/" || uri.query().is_some() {
            return Err(ReferenceError::NotOrigin);
        }
        Self::of(&uri)
    }
}

/// What can be judged of a reference before it is resolved. Returns it without spaces around it and
/// without its fragment, which is never sent.
fn screened(text: &[u8]) -> Result<&[u8], ReferenceError> {
    if text.len() > MAX_LENGTH {
        return Err(ReferenceError::TooLong);
    }
    if text.iter().any(u8::is_ascii_control) {
        return Err(ReferenceError::Control);
    }
    let text = before(text, b'#').trim_ascii();
    if text.is_empty() {
        return Err(ReferenceError::Empty);
    }
    if before(text, b'?').contains(&b'\\') {
        return Err(ReferenceError::Backslash);
    }
    Ok(text)
}

/// A reference without fragment, split as in RFC 3986 appendix B. Nothing is checked.
#[derive(Clone, Copy)]
struct Parts<'a> {
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: &'a [u8],
    query: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn split(text: &'a [u8]) -> Self {
        let rest = before(text, b'?');
        let query = text.get(rest.len() + 1..);
        // `1:2` can be no scheme, so it is a path: some upload ids look like that.
        let (scheme, rest) = match position(rest, b':') {
            Some(at) if is_scheme(&rest[..at]) => (Some(&rest[..at]), &rest[at + 1..]),
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix(b"//") {
            Some(rest) => {
                let authority = before(rest, b'/');
                (Some(authority), &rest[authority.len()..])
            }
            None => (None, rest),
        };
        Self {
            scheme,
            authority,
            path,
            query,
        }
    }
}

fn is_scheme(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// RFC 3986 §5.2.3: the reference's path takes the place of the base's last segment.
fn merge(base: &[u8], path: &[u8]) -> Vec<u8> {
    match base.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => [&base[..=slash], path].concat(),
        None => [b"/", path].concat(),
    }
}

/// RFC 3986 §5.2.4, of a path that begins with a slash, or is empty: then [`Uri`] adds the slash.
fn without_dot_segments(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = vec![b""];
    for segment in path.split(|&byte| byte == b'/').skip(1) {
        match segment {
            b"." => {}
            b".." => kept.truncate((kept.len() - 1).max(1)),
            _ => kept.push(segment),
        }
    }
    // A dot segment at the end leaves its slash.
    if path.ends_with(b"/.") || path.ends_with(b"/..") {
        kept.push(b"");
    }
    kept.join(&b'/')
}

/// What may be before the last `@` of an authority, and the host and port.
fn split_user_info(authority: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match authority.iter().rposition(|&byte| byte == b'@') {
        Some(at) => (Some(&authority[..at]), &authority[at + 1..]),
        None => (None, authority),
    }
}

fn canonical_host(text: &[u8]) -> Result<String, ReferenceError> {
    let flaw = |words| Err(ReferenceError::Host(words));
    let host = match std::str::from_utf8(text) {
        Ok("") => return Err(ReferenceError::NoHost),
        Ok(host) if host.is_ascii() => host.to_ascii_lowercase(),
        _ => return flaw("is not ASCII; such a name is written in its xn-- form"),
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let address = bracketed.strip_suffix(']').unwrap_or_default();
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(format!("[{address}]")),
            Err(_) if address.contains('%') => flaw("has a zone id"),
            Err(_) => flaw("is not an IPv6 address"),
        };
    }
    if host.contains('%') {
        return flaw("is percent-encoded");
    }
    if !host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
    {
        return flaw("contains a character that no host name has");
    }
    // A dot at the end is DNS's root, and no label.
    let mut labels = host.strip_suffix('.').unwrap_or(&host).rsplit('.');
    let last = labels.clone().next().unwrap_or_default();
    if labels.any(str::is_empty) {
        return flaw("has an empty label");
    }
    // The WHATWG's parser and inet_aton read `127.1`, `0x7f.1`, `017.0.0.1` and `2130706433` as
    // addresses, others look them up as names; `Ipv4Addr` reads the one form all agree on.
    if is_number(last) && host.parse::<Ipv4Addr>().is_err() {
        return flaw("ends in a number, but is not an IPv4 address of four plain decimals");
    }
    Ok(host)
}

fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Percent-encodes what RFC 3986 knows neither in a path nor in a query. A `%` that begins no
/// escape is such a byte: it was data.
fn encode(out: &mut impl Write, bytes: &[u8]) -> fmt::Result {
    for (at, &byte) in bytes.iter().enumerate() {
        let stays = match byte {
            b'%' => escaped(&bytes[at..]).is_some(),
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte),
        };
        if stays {
            out.write_char(char::from(byte))?;
        } else {
            write!(out, "%{byte:02X}")?;
        }
    }
    Ok(())
}

/// Undoes percent-encoding; as in [`encode`], a `%` that begins no escape is data.
fn decode(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    while let [first, rest @ ..] = bytes {
        let (byte, rest) = match escaped(bytes) {
            Some(byte) => (byte, &bytes[3..]),
            None => (*first, rest),
        };
        out.push(byte);
        bytes = rest;
    }
    out
}

/// The byte whose escape `bytes` begins with.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let &[b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    bytes.iter().position(|&byte| byte == wanted)
}

/// All of `bytes` that comes before the first `end`.
fn before(bytes: &[u8], end: u8) -> &[u8] {
    &bytes[..position(bytes, end).unwrap_or(bytes.len())]
}

#[cfg(test)]
mod tests {
    use super::ReferenceError as E;
    use super::*;

    const BASE: &str = "http://a.test:1080/files/b;p?q";
    const NUMBER: E =
        E::Host("ends in a number, but is not an IPv4 address of four plain decimals");
    const BY_SERVER: E = E::UserInfo("is not for a server to choose");

    fn resolved(base: &str, reference: &[u8]) -> Result<String, ReferenceError> {
        resolve(&base.parse().unwrap(), reference).map(|uri| uri.to_string())
    }

    #[test]
    fn no_28_every_form_of_a_location() {
        // Left: what the server says. Right: what follows `http://a.test:1080`, or all of it.
        let table: &[(&str, &str)] = &[
            // absolute
            ("http://b.test/files/1", "http://b.test/files/1"),
            ("https://b.test:8443/1", "https://b.test:8443/1"),
            ("HTTP://B.Test/Files/A", "http://b.test/Files/A"),
            ("http://b.test:80/1", "http://b.test/1"),
            ("http://b.test:/1", "http://b.test/1"),
            ("HTTPS://b.test:0443/1", "https://b.test/1"),
            ("https://b.test:80/1", "https://b.test:80/1"),
            ("http://b.test?x", "http://b.test/?x"),
            // path-absolute
            ("/files/1", "/files/1"),
            ("/files/@1", "/files/@1"),
            // relative; `Uri` would take `abc123` for an authority
            ("1", "/files/1"),
            ("x/1?k=v", "/files/x/1?k=v"),
            ("abc123", "/files/abc123"),
            ("24:abc", "/files/24:abc"),
            // query
            ("?id=1", "/files/b;p?id=1"),
            ("?", "/files/b;p?"),
            // with a comma
            ("/files/1,2", "/files/1,2"),
            // //host/path
            ("//b.test/files/1", "http://b.test/files/1"),
            ("//b.test", "http://b.test/"),
            // http:///path
            ("http:///files/1", "/files/1"),
            ("HTTP:///files/1", "/files/1"),
            ("///files/1", "/files/1"),
            // percent-encoded, as it is
            ("/files/a%2Fb%2e%2E%20", "/files/a%2Fb%2e%2E%20"),
            ("/100%/%zz/%4", "/100%25/%25zz/%254"),
            // to be percent-encoded
            ("  /a b?c d ", "/a%20b?c%20d"),
            ("/\"a\"?\"b\"", "/%22a%22?%22b%22"),
            ("/\u{e4}?\u{202e}", "/%C3%A4?%E2%80%AE"),
            ("/<>[]^`{|}?\\", "/%3C%3E%5B%5D%5E%60%7B%7C%7D?%5C"),
            // fragment
            ("/files/1?a#b?c#d", "/files/1?a"),
        ];
        for (reference, expected) in table {
            let expected = match expected.strip_prefix('/') {
                Some(path) => format!("http://a.test:1080/{path}"),
                None => (*expected).to_owned(),
            };
            assert_eq!(
                resolved(BASE, reference.as_bytes()),
                Ok(expected),
                "{reference}"
            );
        }
        // A POST that was redirected has another base.
        assert_eq!(
            resolved("https://b.test/up/", b"1").unwrap(),
            "https://b.test/up/1"
        );
        assert_eq!(resolved("http://b.test", b"1").unwrap(), "http://b.test/1");
        assert_eq!(
            resolved("http://b.test?x", b"?y").unwrap(),
            "http://b.test/?y"
        );
        assert_eq!(
            resolved("http://b.test/\u{e4}/", b"1").unwrap(),
            "http://b.test/%C3%A4/1"
        );
        // Bytes need not be UTF-8.
        assert_eq!(
            resolved("http://b.test", b"/\xff").unwrap(),
            "http://b.test/%FF"
        );
    }

    #[test]
    fn dot_segments_as_in_rfc_3986_section_5_4() {
        let table: &[(&str, &str)] = &[
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y/./x", "/b/c/g?y/./x"),
            (";x", "/b/c/;x"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../g", "/g"),
            ("../../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./g/.", "/b/c/g/"),
            ("g;x=1/../y", "/b/c/y"),
            ("/a//../b", "/a/b"),
            ("/a///b", "/a///b"),
            ("/..//b.test/x", "//b.test/x"),
        ];
        for (reference, expected) in table {
            let expected = format!("http://a{expected}");
            let outcome = resolved("http://a/b/c/d;p?q", reference.as_bytes());
            assert_eq!(outcome, Ok(expected), "{reference}");
        }
    }

    #[test]
    fn s5_a_url_of_the_greatest_length_is_followed() {
        let longest = format!("{:x<MAX_LENGTH$}", "http://b.test/");
        assert_eq!(longest.len(), MAX_LENGTH);
        assert_eq!(resolved(BASE, longest.as_bytes()), Ok(longest.clone()));
        let longer = longest + "x";
        assert_eq!(resolved(BASE, longer.as_bytes()), Err(E::TooLong));
    }

    #[test]
    fn s5_what_is_no_url_is_refused() {
        let long = format!("/{}", "x".repeat(MAX_LENGTH));
        let long_fragment = format!("/#{}", "x".repeat(MAX_LENGTH));
        let grows = format!("/{}", "\"".repeat(MAX_LENGTH / 3));
        let table: &[(&str, E)] = &[
            ("", E::Empty),
            ("   ", E::Empty),
            (" #fragment", E::Empty),
            ("/a\rb", E::Control),
            ("/a\nHost: b.test", E::Control),
            ("/a\n", E::Control),
            ("/a\0", E::Control),
            ("/a\tb", E::Control),
            ("/a\x7f", E::Control),
            ("/\\b.test/", E::Backslash),
            ("http:\\\\b.test/", E::Backslash),
            ("http://b.test\\@a.test/", E::Backslash),
            ("ftp://b.test/", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("javascript:alert(1)", E::Scheme),
            ("b.test:80/1", E::Scheme),
            ("http:", E::NoHost),
            ("http:1", E::NoHost),
            ("http:/1", E::NoHost),
            ("http://:80/1", E::NoHost),
            ("https:///1", E::NoHost),
            (&long, E::TooLong),
            (&long_fragment, E::TooLong),
            (&grows, E::TooLong),
        ];
        for (reference, error) in table {
            assert_eq!(
                resolved(BASE, reference.as_bytes()),
                Err(*error),
                "{reference:?}"
            );
        }
        // A URI that is no http URL is no base.
        assert_eq!(resolved("*", b"1"), Err(E::Scheme));
        assert_eq!(resolved("a.test:80", b"1"), Err(E::Scheme));
    }

    #[test]
    fn s5_hosts_that_parsers_disagree_on_are_refused() {
        let character = E::Host("contains a character that no host name has");
        let address = E::Host("is not an IPv6 address");
        let ascii = E::Host("is not ASCII; such a name is written in its xn-- form");
        let table: &[(&str, E)] = &[
            ("b.test:0", E::Port),
            ("b.test:65536", E::Port),
            ("b.test:99999", E::Port),
            ("b.test:99999999999999999999", E::Port),
            ("b.test:+80", E::Port),
            ("b.test:-1", E::Port),
            ("b.test:8o", E::Port),
            ("b.test:80:80", E::Port),
            ("b.test:80 ", E::Port),
            ("[::1]80", E::Port),
            ("127.1", NUMBER),
            ("0x7f.1", NUMBER),
            ("0X7F.0.0.1", NUMBER),
            ("017.0.0.1", NUMBER),
            ("127.0.0.01", NUMBER),
            ("127.0.0.0x1", NUMBER),
            ("127.0.0.1.", NUMBER),
            ("1.2.3.4.5", NUMBER),
            ("256.0.0.1", NUMBER),
            ("2130706433", NUMBER),
            ("0x7f000001", NUMBER),
            ("b.0x", NUMBER),
            ("b.test.7", NUMBER),
            ("%31", E::Host("is percent-encoded")),
            ("b%2etest", E::Host("is percent-encoded")),
            ("b\u{3002}test", ascii),
            ("m\u{fc}ller.test", ascii),
            ("b test", character),
            ("b,test", character),
            ("b]", character),
            ("::1", E::NoHost),
            ("b..test", E::Host("has an empty label")),
            (".test", E::Host("has an empty label")),
            (".", E::Host("has an empty label")),
            ("[fe80::1%25eth0]", E::Host("has a zone id")),
            ("[fe80::1%eth0]", E::Host("has a zone id")),
            ("[::1", address),
            ("[]", address),
            ("[1.2.3.4]", address),
            ("[v1.x]", address),
            ("[::g]", address),
            ("user@b.test", BY_SERVER),
            ("user:pass@b.test", BY_SERVER),
            ("@b.test", BY_SERVER),
        ];
        for (authority, error) in table {
            for reference in [format!("http://{authority}/1"), format!("//{authority}/1")] {
                assert_eq!(
                    resolved(BASE, reference.as_bytes()),
                    Err(*error),
                    "{reference}"
                );
            }
        }
        let fine: &[(&str, &str)] = &[
            ("127.0.0.1", "127.0.0.1"),
            ("b.test:65535", "b.test:65535"),
            ("b.test.", "b.test."),
            ("my_service", "my_service"),
            ("xn--mller-kva.test", "xn--mller-kva.test"),
            ("1.test", "1.test"),
            ("b.0xg", "b.0xg"),
            ("b.x1", "b.x1"),
            ("[::1]", "[::1]"),
            ("[0:0::FFFF]:81", "[::ffff]:81"),
            ("[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"),
        ];
        for (authority, expected) in fine {
            let reference = format!("http://{authority}/1");
            let expected = format!("http://{expected}/1");
            assert_eq!(resolved(BASE, reference.as_bytes()), Ok(expected));
        }
    }

    #[test]
    fn s3_user_information_leaves_an_endpoint() {
        let table: &[(&str, Option<(&str, &str)>)] = &[
            ("http://a.test/f/", None),
            (" HTTP://A.Test:80/x/../f/#f ", None),
            ("http://@a.test/f/", None),
            ("http://u@a.test/f/", Some(("u", ""))),
            ("http://u:p@a.test/f/", Some(("u", "p"))),
            ("http://:token@a.test/f/", Some(("", "token"))),
            ("http://u:a:b@a.test/f/", Some(("u", "a:b"))),
            ("http://%75%40:%3a%C3%a4%@a.test/f/", Some(("u@", ":ä%"))),
        ];
        for (text, expected) in table {
            let (uri, user_info) = endpoint(text).unwrap();
            assert_eq!(uri.to_string(), "http://a.test/f/", "{text}");
            let expected = expected.map(|(user, password)| UserInfo {
                user: user.into(),
                password: password.into(),
            });
            assert!(user_info == expected, "{text}");
        }
        let (uri, _) = endpoint("https://u:p@a.test:81/f?k").unwrap();
        assert_eq!(uri.to_string(), "https://a.test:81/f?k");

        let at = E::UserInfo("contains an @, which is written %40");
        let colon = E::UserInfo("has a colon in the user name");
        let control = E::UserInfo("contains a control character");
        let refused: &[(&str, E)] = &[
            ("", E::Empty),
            ("a.test/files", E::Scheme),
            ("localhost:1080/files", E::Scheme),
            ("/files", E::Scheme),
            ("//a.test/", E::Scheme),
            ("http:///files", E::NoHost),
            ("http://u:p@/files", E::NoHost),
            ("http://127.1/", NUMBER),
            ("http://u:p/w@a.test/", E::Port),
            ("http://u:p@x@a.test/", at),
            ("http://u%3Av:p@a.test/", colon),
            ("http://u:%0d%0a@a.test/", control),
            ("http://%00:p@a.test/", control),
        ];
        for (text, error) in refused {
            assert_eq!(endpoint(text).map(|(uri, _)| uri), Err(*error), "{text}");
        }
    }

    #[test]
    fn s3_nothing_shows_user_information_or_a_query() {
        let table: &[(&str, &str)] = &[
            ("http://u:secret@a.test:81/f?secret", "http://a.test:81/f?…"),
            ("https://a.test", "https://a.test/"),
            ("/f/1?secret", "/f/1?…"),
            ("a.test:80", "a.test:80"),
            (
                "http://a.test/\u{202e}\u{e4}",
                "http://a.test/%E2%80%AE%C3%A4",
            ),
        ];
        for (uri, expected) in table {
            assert_eq!(redacted(&uri.parse().unwrap()).to_string(), *expected);
        }
        let (_, user_info) = endpoint("http://secret:secret@a.test/").unwrap();
        assert_eq!(format!("{user_info:?}"), "Some(UserInfo { .. })");
        for reference in [
            "//secret@b",
            "//b:secret",
            "secret:",
            "//[secret]",
            "//secret%",
        ] {
            let error = resolved(BASE, reference.as_bytes()).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("secret"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn origins_are_compared_in_one_form() {
        let table: &[(&str, &str)] = &[
            ("https://A.Test", "https://a.test"),
            ("https://a.test:443/", "https://a.test"),
            ("http://a.test:443", "http://a.test:443"),
            ("http://[0::1]:80", "http://[::1]"),
        ];
        for (text, expected) in table {
            let origin: Origin = text.parse().unwrap();
            assert_eq!(origin.to_string(), *expected);
            assert_eq!(origin.to_string().parse(), Ok(origin.clone()));
            assert_eq!(Origin::of(&text.parse().unwrap()), Ok(origin));
        }
        for more in ["/files", "?x", "//"] {
            let text = format!("https://a.test{more}");
            assert_eq!(text.parse::<Origin>(), Err(E::NotOrigin), "{text}");
        }
        let with_user = "https://u@a.test".parse::<Origin>();
        assert_eq!(with_user, Err(E::NotOrigin));

        let of = |uri: &str| Origin::of(&uri.parse().unwrap()).map(|origin| origin.to_string());
        assert_eq!(of("http://u:p@A.test:81/f?q").unwrap(), "http://a.test:81");
        assert_eq!(of("/files"), Err(E::Scheme));
        assert_eq!(of("http://a.test:99999/"), Err(E::Port));
    }

    /// What holds of every reference, however it was made.
    fn judge(base: &Uri, reference: &[u8]) {
        if let Ok(text) = std::str::from_utf8(reference) {
            let _ = endpoint(text);
            let _ = text.parse::<Origin>();
        }
        let Ok(uri) = resolve(base, reference) else {
            return;
        };
        let text = uri.to_string();
        let seen = format!("{} -> {text}", reference.escape_ascii());
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{seen}");
        assert!(uri.host().is_some_and(|host| !host.is_empty()), "{seen}");
        assert!(!uri.authority().unwrap().as_str().contains('@'), "{seen}");
        assert_eq!(resolve(base, text.as_bytes()).as_ref(), Ok(&uri), "{seen}");
        assert_eq!(
            resolved("https://other.test/", text.as_bytes()).as_ref(),
            Ok(&text)
        );
        assert_eq!(endpoint(&text), Ok((uri.clone(), None)), "{seen}");
        let origin = Origin::of(&uri).unwrap();
        assert!(text.starts_with(&format!("{origin}/")), "{seen}");
        assert_eq!(origin.to_string().parse(), Ok(origin), "{seen}");
    }

    const ALPHABET: &[u8] = b"a1xZ0:/?#[]@%.,=+-_ \"\\\t\r\n\0\x7f\x80\xc3\xff";

    #[test]
    fn i10_no_short_reference_panics_or_escapes_the_rules() {
        let bases = ["http://a.test", "https://a.test:81/x/y?z"].map(|base| base.parse().unwrap());
        let prefixes: [&[u8]; 4] = [b"", b"http://", b"//b.", b"http://["];
        for base in &bases {
            for prefix in prefixes {
                for &a in ALPHABET {
                    judge(base, &[prefix, &[a]].concat());
                    for &b in ALPHABET {
                        judge(base, &[prefix, &[a, b]].concat());
                        for &c in ALPHABET {
                            judge(base, &[prefix, &[a, b, c]].concat());
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn i10_no_broken_url_panics_or_escapes_the_rules() {
        let base = BASE.parse().unwrap();
        let good: [&[u8]; 5] = [
            b"http://a.test:1080/files/../1?x=%20#f",
            b"HTTPS://u:p%40@127.0.0.1:443/",
            b"//[::ffff:1.2.3.4]:8080/./x",
            b"http:///files/%C3%A4,1",
            b"../../x y/..",
        ];
        for url in good {
            judge(&base, url);
            for at in 0..url.len() {
                let (head, tail) = (&url[..at], &url[at + 1..]);
                judge(&base, head);
                judge(&base, &url[at..]);
                judge(&base, &[head, tail].concat());
                for byte in 0..=u8::MAX {
                    judge(&base, &[head, &[byte], tail].concat());
                    judge(&base, &[head, &[byte], &url[at..]].concat());
                }
            }
        }
    }
}
