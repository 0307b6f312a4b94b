//! What a Location looks like, and which request target it comes down to.

use http::Uri;

/// The form in which a server writes the `Location` of a new upload (RFC 3986 section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// `/files/1234`
    PathAbsolute,
    /// `1234`
    Relative,
    /// `https://host:port/files/1234`, with the scheme, host and port that the request was sent to.
    Absolute,
    /// `//host:port/files/1234`
    ProtocolRelative,
    /// `http://host:port/files/1234` whatever the scheme of the request: a server that does not know
    /// of the TLS in front of it.
    Http,
    /// No Location at all.
    Missing,
    /// This text, in which `{id}` becomes the upload's name, `{scheme}`, `{authority}` and `{host}`
    /// what the request was sent to, and `{endpoint}` the path it was sent to. For example
    /// `?upload={id}` or `http:///files/{id}`.
    Template(String),
}

/// Where a creation request went: what a Location is resolved against.
pub(crate) struct Base<'a> {
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    pub(crate) path: &'a str,
}

impl Location {
    /// The header's value, unless there is to be none.
    pub(crate) fn write(&self, base: &Base<'_>, id: &str) -> Option<String> {
        let template = match self {
            Self::PathAbsolute => "{endpoint}{id}",
            Self::Relative => "{id}",
            Self::Absolute => "{scheme}://{authority}{endpoint}{id}",
            Self::ProtocolRelative => "//{authority}{endpoint}{id}",
            Self::Http => "http://{authority}{endpoint}{id}",
            Self::Missing => return None,
            Self::Template(template) => template,
        };
        let host = base
            .authority
            .rsplit_once(':')
            .filter(|(_, port)| !port.contains(']'))
            .map_or(base.authority, |(host, _)| host);
        let filled = template
            .replace("{scheme}", base.scheme)
            .replace("{authority}", base.authority)
            .replace("{host}", host)
            .replace("{endpoint}", base.path)
            .replace("{id}", id);
        Some(filled)
    }
}

/// The request target, path and query, that `reference` names to whoever read it at `base`.
pub(crate) fn resolve(base: &str, reference: &str) -> String {
    let reference = reference.split('#').next().unwrap_or_default();
    let base = base.split('?').next().unwrap_or_default();
    let after_scheme = match reference.split_once(':') {
        Some((scheme, rest))
            if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(is_scheme_char) =>
        {
            rest
        }
        _ => reference,
    };
    let target = if let Some(rest) = after_scheme.strip_prefix("//") {
        match rest.find(['/', '?']) {
            Some(at) => rest[at..].to_owned(),
            None => "/".to_owned(),
        }
    } else if after_scheme.starts_with('/') {
        after_scheme.to_owned()
    } else if after_scheme.is_empty() || after_scheme.starts_with('?') {
        format!("{base}{after_scheme}")
    } else {
        let folder = base.rfind('/').map_or("/", |at| &base[..=at]);
        format!("{folder}{after_scheme}")
    };
    without_dots(&target)
}

fn is_scheme_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// RFC 3986 section 5.2.4.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}{query}", kept.join("/"))
}

/// The target of `url`, which may be a whole URL or a target already, in the one spelling that
/// targets are compared in: percent-encoding undone.
pub(crate) fn key(url: &str) -> Vec<u8> {
    let target = resolve("/", url);
    let mut decoded = Vec::with_capacity(target.len());
    let mut rest = target.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match after {
            [high, low, after @ ..]
                if *byte == b'%' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                decoded.push(nibble(*high) << 4 | nibble(*low));
                rest = after;
            }
            _ => decoded.push(*byte),
        }
    }
    decoded
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Path and query, as on a request line.
pub(crate) fn target(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |target| target.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Base<'_> = Base {
        scheme: "https",
        authority: "[::1]:8443",
        path: "/a/files/",
    };

    #[test]
    fn every_form_names_the_same_target() {
        let forms = [
            (Location::PathAbsolute, "/a/files/7"),
            (Location::Relative, "7"),
            (Location::Absolute, "https://[::1]:8443/a/files/7"),
            (Location::ProtocolRelative, "//[::1]:8443/a/files/7"),
            (Location::Http, "http://[::1]:8443/a/files/7"),
            (
                Location::Template("http://{host}/x/../a/files/{id}".into()),
                "http://[::1]/x/../a/files/7",
            ),
        ];
        for (form, text) in forms {
            let written = form.write(&BASE, "7").unwrap();
            assert_eq!(written, text);
            assert_eq!(resolve(BASE.path, &written), "/a/files/7", "{form:?}");
        }
        assert_eq!(Location::Missing.write(&BASE, "7"), None);
    }

    #[test]
    fn references_resolve_as_rfc_3986_says() {
        for (reference, target) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("..", "/b/"),
            ("../../../g", "/g"),
            ("?y", "/b/c/d?y"),
            ("", "/b/c/d"),
            ("g?y/../x", "/b/c/g?y/../x"),
            ("http:///p", "/p"),
            ("http://h?q", "/?q"),
            ("g#s", "/b/c/g"),
        ] {
            assert_eq!(resolve("/b/c/d?q", reference), target, "{reference}");
        }
    }

    #[test]
    fn targets_are_compared_decoded() {
        assert_eq!(key("http://h:1/a%20b%2C%zz"), b"/a b,%zz");
        assert_eq!(key("/f/1?x=%41"), key("/f/1?x=A"));
    }
}
