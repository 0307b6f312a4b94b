//! `Upload-Metadata`.

use std::{collections::BTreeSet, fmt, iter};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, HeaderValue};

use super::name::UPLOAD_METADATA;
use super::words::cut;

/// Writes padding, as the protocol's examples do, and reads values without it too: it carries nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an upload says about itself: keys and values, in order, as `Upload-Metadata` carries them
/// ([tus, Creation][spec]).
///
/// The server gives the keys their meaning; `filename` and `filetype` are widely understood. A value
/// may be any bytes. `Debug` prints keys and the lengths of values, never a value.
///
/// ```
/// use tus_proto::Metadata;
///
/// let mut metadata = Metadata::new();
/// metadata.insert("filename", "plan.pdf")?.insert("confidential", "")?;
/// assert_eq!(metadata.get("filename"), Some(&b"plan.pdf"[..]));
/// assert_eq!(metadata.encode().unwrap(), "filename cGxhbi5wZGY=,confidential");
/// # Ok::<(), tus_proto::MetadataError>(())
/// ```
///
/// [spec]: https://tus.io/protocols/resumable-upload#upload-metadata
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Every key is legal and there once; `None` is a key without a value.
    pairs: Vec<(String, Option<Vec<u8>>)>,
}

/// Why metadata cannot be sent, or a server's cannot be read. Of a key that is at fault there are no more
/// than 300 characters, but for those that the caller chose and that are legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// A key is empty.
    #[error("a metadata key is empty")]
    EmptyKey,
    /// A key holds something other than printable ASCII, or a space, or a comma.
    #[error(
        "the metadata key {key:?} must be printable ASCII characters without spaces and commas"
    )]
    IllegalKey {
        /// The key; bytes of a server's that are not UTF-8 are replaced.
        key: String,
    },
    /// A key is there twice.
    #[error("the metadata key {key:?} is there twice")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// The value that a server sent for a key is not base64.
    #[error("the value of the metadata key {key:?} is not base64")]
    IllegalValue {
        /// The key.
        key: String,
    },
    /// With this pair the header would be longer than [`Metadata::MAX_ENCODED_LEN`].
    #[error(
        "with the key {key:?} the metadata would be longer than {} bytes when encoded",
        Metadata::MAX_ENCODED_LEN
    )]
    TooLong {
        /// The key of the pair that did not fit.
        key: String,
    },
}

impl Metadata {
    /// The longest header value, in bytes, that [`insert`](Self::insert) lets grow.
    ///
    /// nginx and Apache refuse a header line of more than 8 KiB, its name included, and not every
    /// server says why; this leaves room for the name and for what a proxy adds.
    pub const MAX_ENCODED_LEN: usize = 7 * 1024;

    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    /// Adds a pair at the end.
    ///
    /// An empty value is sent as the bare key, which the protocol lets stand for it: a space at the
    /// end of a header would not survive HTTP.
    ///
    /// # Errors
    ///
    /// [`EmptyKey`](MetadataError::EmptyKey), [`IllegalKey`](MetadataError::IllegalKey),
    /// [`DuplicateKey`](MetadataError::DuplicateKey), and [`TooLong`](MetadataError::TooLong) if the
    /// header would outgrow [`MAX_ENCODED_LEN`](Self::MAX_ENCODED_LEN). Nothing is added then.
    pub fn insert(
        &mut self,
        key: impl Into<String>,
        value: impl AsRef<[u8]>,
    ) -> Result<&mut Self, MetadataError> {
        let (key, value) = (key.into(), value.as_ref());
        check_key(key.as_bytes())?;
        if self.get(&key).is_some() {
            return Err(MetadataError::DuplicateKey { key });
        }
        let value = Some(value).filter(|value| !value.is_empty());
        let with_comma = self.encoded_len() + usize::from(!self.is_empty());
        if with_comma.saturating_add(pair_len(&key, value)) > Self::MAX_ENCODED_LEN {
            return Err(MetadataError::TooLong { key });
        }
        self.pairs.push((key, value.map(<[u8]>::to_vec)));
        Ok(self)
    }

    /// The value of `key`, empty if the key came without one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// The pairs in order; a value is `None` where the key stands alone, which a server may mean to
    /// differ from an empty value.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&[u8]>)> {
        self.pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
    }

    /// How many pairs there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no pair.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The value of the `Upload-Metadata` header; `None` if there are no pairs, for then there is to be
    /// no header.
    ///
    /// It is marked sensitive, so that `Debug` of a request does not show it.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "keys were checked, and base64 is ASCII"
    )]
    pub fn encode(&self) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let mut text = String::with_capacity(self.encoded_len());
        for (key, value) in self.iter() {
            // A comma alone: some servers take a space before a key for a part of it.
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(key);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                text.push(' ');
                BASE64.encode_string(value, &mut text);
            }
        }
        let mut value = HeaderValue::try_from(text).expect("printable ASCII is a legal value");
        value.set_sensitive(true);
        Some(value)
    }

    /// Reads the value of an `Upload-Metadata` header.
    ///
    /// More is accepted than [`encode`](Self::encode) writes, where nothing is lost by it: spaces
    /// around pairs, empty members of the list, base64 without padding, any length.
    ///
    /// ```
    /// use tus_proto::Metadata;
    ///
    /// let metadata = Metadata::decode(b"filename cGxhbi5wZGY, confidential")?;
    /// assert!(metadata.iter().eq([("filename", Some(&b"plan.pdf"[..])), ("confidential", None)]));
    /// # Ok::<(), tus_proto::MetadataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`IllegalKey`](MetadataError::IllegalKey), [`DuplicateKey`](MetadataError::DuplicateKey) and
    /// [`IllegalValue`](MetadataError::IllegalValue), with the first key that is at fault.
    pub fn decode(header: &[u8]) -> Result<Self, MetadataError> {
        Self::from_lines(iter::once(header))
    }

    /// Reads the metadata of an answer: repeated lines are one list, and no header is no metadata.
    pub(crate) fn from_headers(headers: &HeaderMap) -> Result<Self, MetadataError> {
        Self::from_lines(
            headers
                .get_all(UPLOAD_METADATA)
                .iter()
                .map(HeaderValue::as_bytes),
        )
    }

    fn from_lines<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Result<Self, MetadataError> {
        let mut pairs = Vec::new();
        // A set, because the peer chose how many keys there are.
        let mut seen = BTreeSet::new();
        let members = lines
            .flat_map(|line| line.split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii_start)
            .filter(|member| !member.is_empty());
        for member in members {
            let (key, value) = match member.iter().position(|&byte| byte == b' ') {
                None => (member, None),
                Some(space) => (&member[..space], Some(member[space..].trim_ascii())),
            };
            let key = check_key(key)?;
            if !seen.insert(key) {
                return Err(MetadataError::DuplicateKey { key: cut(key) });
            }
            let value = value
                .map(|value| BASE64.decode(value))
                .transpose()
                .map_err(|_| MetadataError::IllegalValue { key: cut(key) })?;
            pairs.push((key.to_owned(), value));
        }
        Ok(Self { pairs })
    }

    fn encoded_len(&self) -> usize {
        let commas = self.len().saturating_sub(1);
        self.iter()
            .map(|(key, value)| pair_len(key, value))
            .sum::<usize>()
            + commas
    }
}

/// Keys of all pairs; of the values, which may be private, only the length.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (key, value) in self.iter() {
            match value {
                None => map.entry(&key, &format_args!("no value")),
                Some(value) => map.entry(&key, &format_args!("{} bytes", value.len())),
            };
        }
        map.finish()
    }
}

/// What the protocol allows, less the control characters: those would end up in a header.
fn check_key(key: &[u8]) -> Result<&str, MetadataError> {
    let legal = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';
    match str::from_utf8(key) {
        Ok("") => Err(MetadataError::EmptyKey),
        Ok(key) if key.as_bytes().iter().all(legal) => Ok(key),
        _ => Err(MetadataError::IllegalKey {
            key: cut(&String::from_utf8_lossy(key)),
        }),
    }
}

fn pair_len(key: &str, value: Option<&[u8]>) -> usize {
    match value.map_or(0, <[u8]>::len) {
        0 => key.len(),
        len => {
            let encoded = base64::encoded_len(len, true).unwrap_or(usize::MAX);
            key.len().saturating_add(1).saturating_add(encoded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Metadata, MetadataError> {
        Metadata::decode(text.as_bytes())
    }

    fn key(key: &str) -> String {
        key.to_owned()
    }

    // PROTOCOL §1, N4.
    #[test]
    fn pairs_are_encoded_in_order() {
        let mut metadata = Metadata::new();
        assert_eq!(metadata.encode(), None);
        for (key, value) in [
            ("z", &b"a"[..]),
            ("empty", b""),
            ("a", b"\xff\x00\xfe"),
            ("~!=;/\"", b"ab"),
        ] {
            metadata.insert(key, value).expect("a legal pair");
        }
        let header = metadata.encode().expect("there are pairs");
        assert_eq!(header, "z YQ==,empty,a /wD+,~!=;/\" YWI=");
        assert_eq!(Metadata::decode(header.as_bytes()), Ok(metadata));
    }

    // PROTOCOL §4, 31.
    #[test]
    fn illegal_keys_are_refused_before_anything_is_sent() {
        let mut metadata = Metadata::new();
        assert_eq!(metadata.insert("", "v"), Err(MetadataError::EmptyKey));
        for bad in [
            "a b",
            "a,b",
            "é",
            "a\r\nX-Evil: 1",
            "a\t",
            "a\0",
            "a\x7f",
            " ",
            "\u{202e}",
        ] {
            let error = MetadataError::IllegalKey { key: key(bad) };
            assert_eq!(metadata.insert(bad, "v"), Err(error), "{bad:?}");
        }
        assert!(metadata.is_empty());
    }

    #[test]
    fn errors_show_no_control_character() {
        let error = Metadata::new()
            .insert("a\r\u{202e}\u{1b}[2J", "")
            .expect_err("illegal");
        assert!(
            error
                .to_string()
                .chars()
                .all(|c| c.is_ascii_graphic() || c == ' '),
            "{error}"
        );
    }

    // PROTOCOL §4, 31.
    #[test]
    fn a_key_is_there_once() {
        let error = || MetadataError::DuplicateKey { key: key("a") };
        let mut metadata = Metadata::new();
        metadata.insert("a", "1").expect("a legal pair");
        assert_eq!(metadata.insert("a", "2"), Err(error()));
        assert_eq!(metadata.get("a"), Some(&b"1"[..]));
        metadata.insert("A", "2").expect("keys have case");

        assert_eq!(decode("a MQ==,a Mg=="), Err(error()));
        assert_eq!(decode("a,b,a"), Err(error()));
    }

    // PROTOCOL §4, 31.
    #[test]
    fn a_servers_header_is_read_leniently() {
        type Pairs<'a> = &'a [(&'a str, Option<&'a [u8]>)];
        let table: &[(&str, Pairs<'_>)] = &[
            ("", &[]),
            (" ,, ", &[]),
            ("a YQ==", &[("a", Some(b"a"))]),
            ("a YQ", &[("a", Some(b"a"))]),
            ("a YQ=", &[("a", Some(b"a"))]),
            ("a YQ==, b Yg==", &[("a", Some(b"a")), ("b", Some(b"b"))]),
            (
                " a  YQ== \t,\tb Yg==,",
                &[("a", Some(b"a")), ("b", Some(b"b"))],
            ),
            ("a,b", &[("a", None), ("b", None)]),
            ("a ,b", &[("a", Some(b"")), ("b", None)]),
            ("a /w==", &[("a", Some(b"\xff"))]),
        ];
        for (text, pairs) in table {
            let metadata = decode(text).expect(text);
            assert!(
                metadata.iter().eq(pairs.iter().copied()),
                "{text:?}: {metadata:?}"
            );
        }
    }

    // PROTOCOL §4, 31.
    #[test]
    fn what_cannot_be_read_names_the_key() {
        for bad in [
            "a *",
            "a Y",
            "a YQ== YQ==",
            "a YQ==YQ==",
            "a Y-_-",
            "a YR==",
            "a \u{e9}",
        ] {
            let error = MetadataError::IllegalValue { key: key("a") };
            assert_eq!(decode(bad), Err(error), "{bad:?}");
        }
        for (bad, name) in [
            ("\u{e9} YQ==", "\u{e9}"),
            ("b,a\tYQ==", "a\tYQ=="),
            ("\0", "\0"),
        ] {
            let error = MetadataError::IllegalKey { key: key(name) };
            assert_eq!(decode(bad), Err(error), "{bad:?}");
        }
        let error = MetadataError::IllegalKey {
            key: key("\u{fffd}"),
        };
        assert_eq!(Metadata::decode(b"\xff YQ=="), Err(error));
    }

    // PROTOCOL §4, 38.
    #[test]
    fn repeated_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        assert_eq!(Metadata::from_headers(&headers), Ok(Metadata::new()));
        headers.append(UPLOAD_METADATA, HeaderValue::from_static("a YQ==,b"));
        headers.append(UPLOAD_METADATA, HeaderValue::from_static("c Yw=="));
        assert_eq!(Metadata::from_headers(&headers), decode("a YQ==,b,c Yw=="));
        headers.append(UPLOAD_METADATA, HeaderValue::from_static("b"));
        let error = MetadataError::DuplicateKey { key: key("b") };
        assert_eq!(Metadata::from_headers(&headers), Err(error));
    }

    #[test]
    fn the_encoded_length_is_bounded_and_exact() {
        let mut metadata = Metadata::new();
        // "k " and 2388 * 3 bytes make 7166 bytes; ",x" fills them up.
        let value = [0; 1791 * 3];
        metadata.insert("k", value).expect("fits");
        assert_eq!(metadata.encode().map(|header| header.len()), Some(7166));
        let error = MetadataError::TooLong { key: key("xy") };
        assert_eq!(metadata.insert("xy", ""), Err(error));
        metadata.insert("x", "").expect("fits exactly");
        let error = MetadataError::TooLong { key: key("y") };
        assert_eq!(metadata.insert("y", ""), Err(error));
        let len = metadata.encode().map(|header| header.len());
        assert_eq!(len, Some(Metadata::MAX_ENCODED_LEN));
        assert_eq!(metadata.len(), 2);
    }

    #[test]
    fn values_are_not_shown() {
        let mut metadata = Metadata::new();
        metadata
            .insert("name", "secret")
            .expect("legal")
            .insert("bare", "")
            .expect("legal");
        assert_eq!(
            format!("{metadata:?}"),
            r#"{"name": 6 bytes, "bare": no value}"#
        );
        assert!(
            metadata
                .encode()
                .is_some_and(|header| header.is_sensitive())
        );
    }

    #[test]
    fn a_bare_key_reads_as_an_empty_value() {
        let metadata = decode("a").expect("legal");
        assert_eq!(metadata.get("a"), Some(&b""[..]));
        assert_eq!(metadata.get("b"), None);
    }
}
