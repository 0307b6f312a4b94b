//! Which headers may go where, and which `Location` may be followed.
//!
//! One rule: what the user gave for their endpoint goes to their endpoint's origin, and whoever
//! answers there cannot send it elsewhere, nor in the clear.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;

use crate::wire::reference::{self, ReferenceError, Scheme, UserInfo};

pub use crate::wire::reference::Origin;

/// What to do when a server names an upload URL on another origin than the endpoint's, or
/// redirects there.
///
/// Whatever is chosen, https never becomes http.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Foreign {
    /// End with an error. The file goes to the endpoint's origin or nowhere.
    Refuse,
    /// Go there with the protocol's own headers alone. The file goes there; the user's headers,
    /// cookies and passwords do not.
    #[default]
    Bare,
    /// As [`Bare`](Self::Bare), but these origins are sent the user's headers too.
    Trust(Vec<Origin>),
}

/// The user's headers, and where they may go.
///
/// `Debug` names them and shows no value: every value is marked as sensitive on the way in.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    home: Origin,
    headers: HeaderMap,
    /// Fresh ones, each for the origin that asked.
    obtained: BTreeMap<Origin, HeaderMap>,
    foreign: Foreign,
}

/// A `Location` that may be followed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Admitted {
    pub(crate) uri: Uri,
    /// Where it leads, if that is not home: an event is due, for the file goes there too.
    pub(crate) foreign: Option<Origin>,
    /// The server said http, and https it is.
    pub(crate) upgraded: bool,
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("uri", &format_args!("{}", reference::redacted(&self.uri)))
            .field("foreign", &self.foreign)
            .field("upgraded", &self.upgraded)
            .finish()
    }
}

/// Why a `Location` may not be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no URL that can be requested.
    #[error("the server's Location cannot be used")]
    Unusable(#[from] ReferenceError),
    /// It would go on in the clear what began on https.
    #[error("the server's Location would leave https for {0}")]
    Downgrade(Origin),
    /// It is on another origin, and [`Foreign::Refuse`] was chosen.
    #[error("the server's Location is on another origin, {0}")]
    ForeignRefused(Origin),
}

/// The framing or the protocol sets this header itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned(pub(crate) HeaderName);

/// The headers of the framing and of the protocol, which are not the user's to set.
static OWNED: [HeaderName; 10] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("x-http-method-override"),
];

/// The same, by family.
static OWNED_PREFIXES: [&str; 2] = ["tus-", "upload-"];

/// Whether a header is the framing's or the protocol's own: it is not for users, nor for what
/// changes requests on their way.
#[must_use]
pub fn is_protocol_field(name: &HeaderName) -> bool {
    OWNED.contains(name)
        || OWNED_PREFIXES
            .iter()
            .any(|prefix| name.as_str().starts_with(prefix))
}

impl Credentials {
    /// `home` and `user_info` are those of the endpoint. The user information becomes
    /// `Authorization: Basic`, unless `headers` has an `Authorization`: a header is set on purpose, a
    /// URL may have been pasted.
    pub(crate) fn new(
        home: Origin,
        user_info: Option<&UserInfo>,
        headers: HeaderMap,
        foreign: Foreign,
    ) -> Result<Self, Owned> {
        let mut headers = confidential(headers)?;
        if let Some(user_info) = user_info
            && !headers.contains_key(header::AUTHORIZATION)
        {
            put(
                &HeaderMap::from_iter([(header::AUTHORIZATION, basic(user_info))]),
                &mut headers,
            );
        }
        Ok(Self {
            home,
            headers,
            obtained: BTreeMap::new(),
            foreign,
        })
    }

    /// Adds to `headers` what may go to `uri`, and says whether its origin is trusted: the user's
    /// own, or one that they named.
    pub(crate) fn dress(&self, uri: &Uri, headers: &mut HeaderMap) -> bool {
        let Ok(origin) = Origin::of(uri) else {
            return false;
        };
        let trusted = self.is_home(&origin)
            || matches!(&self.foreign, Foreign::Trust(trusted) if trusted.contains(&origin));
        if trusted {
            put(&self.headers, headers);
        }
        if let Some(obtained) = self.obtained.get(&origin) {
            put(obtained, headers);
        }
        trusted
    }

    /// From now on sends `headers` to `origin` and to no other, in place of those of the same name.
    pub(crate) fn renew(&mut self, origin: Origin, headers: HeaderMap) -> Result<(), Owned> {
        let headers = confidential(headers)?;
        put(&headers, self.obtained.entry(origin).or_default());
        Ok(())
    }

    /// Reads `location`, the raw value of the header in the answer of `base`, and decides whether
    /// it may be followed.
    pub(crate) fn admit(&self, base: &Uri, location: &[u8]) -> Result<Admitted, Refusal> {
        let mut uri = reference::resolve(base, location)?;
        let mut origin = Origin::of(&uri)?;
        let base = Origin::of(base)?;
        let secure = self.secure(&base, &origin)?;
        if let Some(secure) = secure {
            uri = secure.instead_of(&uri)?;
            origin = secure.clone();
        }
        let foreign = (!self.is_home(&origin)).then_some(origin);
        match (foreign, &self.foreign) {
            (Some(origin), Foreign::Refuse) => Err(Refusal::ForeignRefused(origin)),
            (foreign, _) => Ok(Admitted {
                uri,
                foreign,
                upgraded: secure.is_some(),
            }),
        }
    }

    /// The origin to go to in place of `named`, where that would be a step down from https.
    ///
    /// A proxy that ends TLS and does not tell the server makes it name itself with http and either
    /// no port or the public one. This much is a mistake and can be put right; any other http after
    /// https is refused.
    fn secure<'a>(
        &'a self,
        base: &'a Origin,
        named: &Origin,
    ) -> Result<Option<&'a Origin>, Refusal> {
        // The endpoint counts even if the answer came from elsewhere: by way of a third party, too,
        // https does not become http.
        let known = [&self.home, base];
        if named.scheme == Scheme::Https || known.iter().all(|origin| origin.scheme == Scheme::Http)
        {
            return Ok(None);
        }
        let misnamed = |origin: &&Origin| {
            origin.scheme == Scheme::Https
                && self.is_home(origin)
                && origin.host == named.host
                && [Scheme::Http.default_port(), origin.port].contains(&named.port)
        };
        match known.into_iter().find(misnamed) {
            Some(origin) => Ok(Some(origin)),
            None => Err(Refusal::Downgrade(named.clone())),
        }
    }

    /// Whether `origin` is the endpoint's. Where a host serves both schemes on their default ports,
    /// the step from http to https stays at home.
    fn is_home(&self, origin: &Origin) -> bool {
        let at_default = |origin: &Origin, scheme: Scheme| {
            origin.scheme == scheme && origin.port == scheme.default_port()
        };
        *origin == self.home
            || origin.host == self.home.host
                && at_default(&self.home, Scheme::Http)
                && at_default(origin, Scheme::Https)
    }
}

/// Marks every value as sensitive, so that neither `Debug` shows it nor HTTP/2 indexes it.
fn confidential(mut headers: HeaderMap) -> Result<HeaderMap, Owned> {
    if let Some(owned) = headers.keys().find(|name| is_protocol_field(name)) {
        return Err(Owned(owned.clone()));
    }
    for value in headers.values_mut() {
        value.set_sensitive(true);
    }
    Ok(headers)
}

fn basic(user_info: &UserInfo) -> HeaderValue {
    let pair = [&user_info.user[..], b":", &user_info.password[..]].concat();
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
        .expect("base64 is visible ASCII");
    value.set_sensitive(true);
    value
}

/// All lines of `from`, in place of those of the same name. A map that is full (32,768 lines) takes
/// no more, instead of the panic that `append` has for that.
fn put(from: &HeaderMap, into: &mut HeaderMap) {
    for name in from.keys() {
        into.remove(name);
        for value in from.get_all(name) {
            let _ = into.try_append(name, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = [(&'static str, &'static str)];

    fn origin(text: &str) -> Origin {
        text.parse().unwrap()
    }

    fn headers(lines: &Lines) -> HeaderMap {
        let mut map = HeaderMap::new();
        for &(name, value) in lines {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    fn credentials(endpoint: &str, lines: &Lines, foreign: Foreign) -> Credentials {
        let (uri, user_info) = reference::endpoint(endpoint).unwrap();
        Credentials::new(
            Origin::of(&uri).unwrap(),
            user_info.as_ref(),
            headers(lines),
            foreign,
        )
        .unwrap()
    }

    /// What a request to `uri` would carry, sorted, and whether it is trusted.
    fn dressed(credentials: &Credentials, uri: &str) -> (String, bool) {
        let mut map = HeaderMap::new();
        let trusted = credentials.dress(&uri.parse().unwrap(), &mut map);
        let line = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut lines: Vec<String> = map.iter().map(line).collect();
        lines.sort();
        (lines.join("; "), trusted)
    }

    #[test]
    fn s1_headers_go_to_the_origin_they_are_for() {
        let lines = [
            ("authorization", "Bearer t"),
            ("cookie", "a"),
            ("cookie", "b"),
        ];
        let all = "authorization: Bearer t; cookie: a; cookie: b";
        let trust = Foreign::Trust(vec![origin("https://cdn.test")]);
        // The endpoint, where a request goes, and under which policies the headers go along.
        let table = "
            https://a.test/f/    https://a.test/f/                  always
            https://a.test/f/    https://A.TEST:443/elsewhere       always
            https://a.test/f/    http://a.test/f/                   never
            https://a.test/f/    http://a.test:443/f/               never
            https://a.test/f/    https://a.test:8443/f/             never
            https://a.test/f/    https://b.a.test/f/                never
            https://a.test/f/    https://a.test./f/                 never
            https://a.test/f/    https://a.test.b/f/                never
            https://a.test/f/    https://b.test/https://a.test/     never
            https://a.test/f/    https://a.test@b.test/             never
            https://a.test/f/    /f/                                never
            https://a.test/f/    https://cdn.test/                  trust
            https://a.test/f/    https://cdn.test:81/               never
            https://a.test/f/    http://cdn.test/                   never
            http://a.test/f/     https://a.test/f/                  always
            http://a.test/f/     https://a.test:81/f/               never
            http://a.test/f/     http://a.test:443/f/               never
            http://a.test/f/     https://b.test/f/                  never
            http://a.test:81/f/  https://a.test/f/                  never
            http://a.test:81/f/  https://a.test:81/f/               never";
        for row in rows(table) {
            let [home, uri, when] = row[..] else {
                panic!("{row:?}")
            };
            for foreign in [Foreign::Refuse, Foreign::Bare, trust.clone()] {
                let trusted = when == "always" || when == "trust" && foreign == trust;
                let expected = if trusted { all } else { "" };
                let credentials = credentials(home, &lines, foreign);
                let outcome = dressed(&credentials, uri);
                assert_eq!(outcome, (expected.to_owned(), trusted), "{row:?}");
            }
        }
    }

    #[test]
    fn s1_every_value_is_sensitive() {
        let home = origin("http://a.test");
        let lines = [("x-key", "secret")];
        let mut all = credentials("http://user:secret@a.test/", &lines, Foreign::Bare);
        all.renew(home, headers(&[("x-fresh", "secret")])).unwrap();
        let mut map = HeaderMap::new();
        all.dress(&"http://a.test/".parse().unwrap(), &mut map);
        assert_eq!(map.len(), 3);
        assert!(map.values().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn dressing_replaces_a_header_and_leaves_the_others() {
        let credentials = credentials("http://a.test/", &[("user-agent", "mine")], Foreign::Bare);
        let mut map = headers(&[("user-agent", "default"), ("tus-resumable", "1.0.0")]);
        credentials.dress(&"http://a.test/1".parse().unwrap(), &mut map);
        assert_eq!(
            map,
            headers(&[("user-agent", "mine"), ("tus-resumable", "1.0.0")])
        );
    }

    #[test]
    fn s3_user_information_becomes_basic_credentials_of_home() {
        let bearer: &Lines = &[("authorization", "Bearer t")];
        // The pair of RFC 7617 §2 among them.
        let table: &[(&str, &Lines, &str)] = &[
            ("https://a.test/", &[], ""),
            ("https://u@a.test/", &[], "authorization: Basic dTo="),
            (
                "https://Aladdin:open%20sesame@a.test/",
                &[],
                "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            ("https://u:p@a.test/", bearer, "authorization: Bearer t"),
        ];
        for (endpoint, lines, expected) in table {
            let credentials = credentials(endpoint, lines, Foreign::Bare);
            assert_eq!(
                dressed(&credentials, "https://a.test/1").0,
                *expected,
                "{endpoint}"
            );
            assert_eq!(
                dressed(&credentials, "https://b.test/1").0,
                "",
                "{endpoint}"
            );
        }
    }

    #[test]
    fn s3_debug_and_errors_show_no_secret() {
        let endpoint = "https://hidden:hidden@a.test/?hidden";
        let mut all = credentials(endpoint, &[("x-key", "hidden")], Foreign::Refuse);
        all.renew(origin("https://b.test"), headers(&[("cookie", "hidden")]))
            .unwrap();
        let shown = format!("{all:?}");
        for name in ["x-key", "authorization", "cookie"] {
            assert!(shown.contains(name), "{shown}");
        }
        for secret in ["hidden", "aGlkZGVu"] {
            assert!(!shown.contains(secret), "{shown}");
        }

        let base = "https://a.test/".parse().unwrap();
        let locations = [
            "http://b.test/?hidden",
            "https://b.test/?hidden",
            "//u:hidden@a.test/",
        ];
        for location in locations {
            let error = all.admit(&base, location.as_bytes()).unwrap_err();
            let source = std::error::Error::source(&error).map(ToString::to_string);
            assert!(
                !format!("{error} {error:?} {source:?}").contains("hidden"),
                "{error:?}"
            );
        }
        let admitted = all.admit(&base, b"/1?hidden").unwrap();
        let shown = format!("{admitted:?}");
        assert!(shown.contains("/1") && !shown.contains("hidden"), "{shown}");
        let renewed = all.renew(origin("https://b.test"), headers(&[("te", "hidden")]));
        let error = renewed.unwrap_err();
        assert!(!format!("{error:?}").contains("hidden"));
    }

    #[test]
    fn s7_headers_of_the_protocol_are_not_the_users() {
        let build = |name: &'static str| {
            let headers = headers(&[("x-key", "k"), (name, "v")]);
            Credentials::new(origin("https://a.test"), None, headers, Foreign::Bare)
        };
        let owned = [
            "connection",
            "content-length",
            "content-type",
            "expect",
            "host",
            "te",
            "trailer",
            "transfer-encoding",
            "tus-anything",
            "tus-resumable",
            "upgrade",
            "upload-anything",
            "upload-metadata",
            "upload-offset",
            "x-http-method-override",
        ];
        for name in owned {
            let owned = Owned(HeaderName::from_static(name));
            assert_eq!(build(name).unwrap_err(), owned);
            let mut credentials = build("x-fine").unwrap();
            let renewed = credentials.renew(origin("https://a.test"), headers(&[(name, "v")]));
            assert_eq!(renewed, Err(owned));
            assert_eq!(
                dressed(&credentials, "https://a.test/").0,
                "x-fine: v; x-key: k"
            );
        }
        for name in [
            "authorization",
            "cookie",
            "x-tus-resumable",
            "tus",
            "upload",
            "content-range",
        ] {
            assert!(build(name).is_ok(), "{name}");
        }
        let path = "/files".parse().unwrap();
        assert_eq!(Origin::of(&path), Err(ReferenceError::Scheme));
    }

    #[test]
    fn s7_what_was_obtained_for_an_origin_goes_there_only() {
        let user = [("authorization", "old"), ("x-key", "k")];
        let trust = Foreign::Trust(vec![origin("https://cdn.test")]);
        let mut credentials = credentials("https://a.test/", &user, trust);
        let renewals: [(&str, &Lines); 3] = [
            (
                "https://a.test",
                &[("authorization", "home"), ("cookie", "c")],
            ),
            (
                "https://b.test",
                &[("authorization", "b1"), ("cookie", "b")],
            ),
            ("https://b.test", &[("authorization", "b2")]),
        ];
        for (place, lines) in renewals {
            credentials.renew(origin(place), headers(lines)).unwrap();
        }
        let table = [
            (
                "https://a.test/",
                "authorization: home; cookie: c; x-key: k",
                true,
            ),
            ("https://cdn.test/", "authorization: old; x-key: k", true),
            ("https://b.test/", "authorization: b2; cookie: b", false),
            ("https://c.test/", "", false),
            ("http://a.test/", "", false),
            ("http://b.test/", "", false),
        ];
        for (uri, lines, trusted) in table {
            assert_eq!(
                dressed(&credentials, uri),
                (lines.to_owned(), trusted),
                "{uri}"
            );
        }
    }

    fn admit(
        home: &str,
        base: &str,
        location: &str,
        foreign: Foreign,
    ) -> Result<Admitted, Refusal> {
        credentials(home, &[], foreign).admit(&base.parse().unwrap(), location.as_bytes())
    }

    /// The same in a line: where to, ` upgraded`, ` foreign`; or why not.
    fn outcome(home: &str, base: &str, location: &str, foreign: Foreign) -> String {
        match admit(home, base, location, foreign) {
            Ok(Admitted {
                uri,
                foreign,
                upgraded,
            }) => {
                let upgraded = if upgraded { " upgraded" } else { "" };
                if let Some(foreign) = &foreign {
                    assert_eq!(Ok(foreign), Origin::of(&uri).as_ref());
                }
                let foreign = foreign.map_or("", |_| " foreign");
                format!("{uri}{upgraded}{foreign}")
            }
            Err(Refusal::Downgrade(origin)) => format!("{origin} downgrade"),
            Err(Refusal::ForeignRefused(origin)) => format!("{origin} refused"),
            Err(Refusal::Unusable(reason)) => format!("{reason:?}"),
        }
    }

    /// A table of words, with comments; a line each.
    fn rows(table: &str) -> impl Iterator<Item = Vec<&str>> {
        let rows = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.filter(|row| row.first().is_some_and(|word| *word != "#"))
    }

    #[test]
    fn no_28_a_location_is_read_against_the_url_that_answered() {
        let table = "
            http://a.test/files/   1                        http://a.test/files/1
            http://a.test/files/   //a.test/1,2             http://a.test/1,2
            http://a.test/files/   http:///files/1          http://a.test/files/1
            # the POST was redirected: within home, and away from it
            http://a.test/v2/      1                        http://a.test/v2/1
            https://b.test/v2/     1                        https://b.test/v2/1 foreign
            https://b.test/v2/     https:///1               https://b.test/1 foreign
            https://b.test/v2/     https://a.test/1         https://a.test/1";
        for row in rows(table) {
            let [base, location, expected @ ..] = &row[..] else {
                panic!("{row:?}")
            };
            let outcome = outcome("http://a.test/files/", base, location, Foreign::Bare);
            assert_eq!(outcome, expected.join(" "), "{row:?}");
        }
    }

    #[test]
    fn no_30_and_s2_https_never_becomes_http() {
        // The endpoint, the URL that answered (=: the endpoint), what it said, the outcome.
        let table = "
            # the proxy's mistake: http, and the default port or the public one
            https://a/f/      =            http://a/f/1?x      https://a/f/1?x upgraded
            https://a/f/      =            http://A:80/f//1    https://a/f//1 upgraded
            https://a/f/      =            http://a:443/f/1    https://a/f/1 upgraded
            https://a/f/      =            http://a//b         https://a//b upgraded
            https://a:84/     =            http://a/f/1        https://a:84/f/1 upgraded
            https://a:84/     =            http://a:84/f/1     https://a:84/f/1 upgraded
            https://[::1]:84/ =            http://[0::1]/f/1   https://[::1]:84/f/1 upgraded
            # any other step down
            https://a:84/     =            http://a:443/f/1    http://a:443 downgrade
            https://a/f/      =            http://a:8080/f/1   http://a:8080 downgrade
            https://a/f/      =            http://b/f/1        http://b downgrade
            https://a/f/      =            http://a.b/         http://a.b downgrade
            https://a/f/      =            http://a./          http://a. downgrade
            # by way of another: the endpoint counts, and so does the one that answered
            https://a/f/      https://b/   http://b/1          http://b downgrade
            https://a/f/      https://b/   http://c/1          http://c downgrade
            https://a/f/      https://b/   http://a/1          https://a/1 upgraded
            https://a/f/      http://b/    1                   http://b downgrade
            http://a/f/       https://b/   http://a/1          http://a downgrade
            http://a/f/       https://b/   http://b/1          http://b downgrade
            http://a:81/f/    https://a/   http://a/1          http://a downgrade
            # a redirect took an http endpoint to https: home it is, and there it stays
            http://a/f/       =            https://a/f/1       https://a/f/1
            http://a/f/       https://a/   1                   https://a/1
            http://a/f/       https://a/   http://a/1          https://a/1 upgraded
            http://a/f/       https://a/   http://a:81/        http://a:81 downgrade
            # other ports: another origin
            http://a:81/f/    =            https://a/1         https://a/1 foreign
            http://a/f/       =            https://a:81/       https://a:81/ foreign
            http://a/f/       =            http://a:443/       http://a:443/ foreign
            # from http to http there is no step
            http://a/f/       =            http://a/f/1        http://a/f/1
            http://a/f/       =            http://b/1          http://b/1 foreign
            http://a/f/       http://b/    http://a/1          http://a/1";
        for row in rows(table) {
            let [home, answered, location, expected @ ..] = &row[..] else {
                panic!("{row:?}")
            };
            let base = if *answered == "=" { home } else { answered };
            let outcome = outcome(home, base, location, Foreign::Bare);
            assert_eq!(outcome, expected.join(" "), "{row:?}");
        }
    }

    #[test]
    fn s1_the_policy_decides_about_other_origins() {
        let trust = Foreign::Trust(vec![origin("https://b.test"), origin("http://c.test")]);
        // The endpoint is https://a.test. What it says, and the outcome under refusal and without.
        let table = [
            ("/1", "https://a.test/1", "https://a.test/1"),
            (
                "//b.test",
                "https://b.test refused",
                "https://b.test/ foreign",
            ),
            (
                "//c.test",
                "https://c.test refused",
                "https://c.test/ foreign",
            ),
            (
                "//a.test:81",
                "https://a.test:81 refused",
                "https://a.test:81/ foreign",
            ),
            (
                "http://a.test",
                "https://a.test/ upgraded",
                "https://a.test/ upgraded",
            ),
            // S2: trust does not make a downgrade any better.
            (
                "http://c.test",
                "http://c.test downgrade",
                "http://c.test downgrade",
            ),
        ];
        for (location, refusing, going) in table {
            let outcome = |foreign| outcome("https://a.test", "https://a.test", location, foreign);
            assert_eq!(outcome(Foreign::Refuse), refusing);
            assert_eq!(outcome(Foreign::Bare), going);
            assert_eq!(outcome(trust.clone()), going);
        }
        assert_eq!(Foreign::default(), Foreign::Bare);
    }

    #[test]
    fn s5_an_unusable_location_is_refused_with_its_reason() {
        let table = [
            ("", ReferenceError::Empty),
            ("http://a.test:99999/", ReferenceError::Port),
            ("https://a.test\\@b.test/", ReferenceError::Backslash),
            (
                "https://u:p@a.test/",
                ReferenceError::UserInfo("is not for a server to choose"),
            ),
        ];
        for (location, reason) in table {
            let outcome = admit("https://a.test", "https://a.test", location, Foreign::Bare);
            assert_eq!(outcome, Err(Refusal::Unusable(reason)), "{location}");
        }
    }

    /// Over all that a server can say: whatever is admitted is https once https was spoken, and is
    /// dressed only at home.
    #[test]
    fn i7_no_location_carries_a_secret_away() {
        let mut uris = Vec::new();
        for scheme in ["http:", "https:", ""] {
            for host in ["a.test", "b.test", "[::1]", "a.test.", ""] {
                for port in ["", ":", ":80", ":443", ":8443"] {
                    uris.push(format!("{scheme}//{host}{port}/1"));
                }
            }
        }
        let spoken: Vec<&String> = uris
            .iter()
            .filter(|uri| reference::endpoint(uri).is_ok())
            .collect();
        for home in &spoken {
            let credentials = credentials(home, &[("x-key", "k")], Foreign::Bare);
            let home_uri: Uri = home.parse().unwrap();
            for base in &spoken {
                let base_uri = base.parse().unwrap();
                let was_https = home.starts_with("https:") || base.starts_with("https:");
                for location in &uris {
                    let Ok(admitted) = credentials.admit(&base_uri, location.as_bytes()) else {
                        continue;
                    };
                    let seen = format!("{home} {base} {location} -> {admitted:?}");
                    let is_https = admitted.uri.scheme_str() == Some("https");
                    assert!(is_https || !was_https, "{seen}");
                    assert!(is_https || !admitted.upgraded, "{seen}");
                    let mut headers = HeaderMap::new();
                    let trusted = credentials.dress(&admitted.uri, &mut headers);
                    assert_eq!(trusted, admitted.foreign.is_none(), "{seen}");
                    assert_eq!(trusted, !headers.is_empty(), "{seen}");
                    assert!(!trusted || admitted.uri.host() == home_uri.host(), "{seen}");
                }
            }
        }
    }
}
