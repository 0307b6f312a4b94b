//! One upload as the server holds it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::location;

/// An upload as the server holds it.
#[derive(Clone, Debug)]
pub struct Upload {
    target: String,
    /// The target as [`location::key`] spells it.
    pub(crate) key: Vec<u8>,
    pub(crate) length: Option<u64>,
    /// The offset of the first byte of `content`: 0, unless the upload was placed.
    start: u64,
    pub(crate) content: Vec<u8>,
    metadata: Option<String>,
    concat: Option<String>,
    /// The numbers of the parts that a final upload is waiting for.
    pub(crate) parts: Vec<u64>,
    pub(crate) expires: Option<u64>,
    /// How often HEAD did not say the offset though it is known.
    pub(crate) withheld: u32,
}

/// What an upload is made with.
#[derive(Debug, Default)]
pub(crate) struct New {
    pub(crate) length: Option<u64>,
    pub(crate) metadata: Option<String>,
    pub(crate) concat: Option<String>,
    pub(crate) parts: Vec<u64>,
}

impl Upload {
    pub(crate) fn new(target: String, start: u64, new: New) -> Self {
        Self {
            key: location::key(&target),
            target,
            length: new.length,
            start,
            content: Vec::new(),
            metadata: new.metadata,
            concat: new.concat,
            parts: new.parts,
            expires: None,
            withheld: 0,
        }
    }

    /// Path and query of its URL.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Its whole length in bytes; `None` as long as it was not announced, and for a final upload as
    /// long as its parts are not complete.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// How many bytes of it are there.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.start + self.content.len() as u64
    }

    /// The bytes that were sent: all up to the offset, but for those that [`Server::place`] made up.
    ///
    /// [`Server::place`]: crate::Server::place
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Whether all of it is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.length == Some(self.offset())
    }

    /// `Upload-Concat` of its creation, as it was sent.
    #[must_use]
    pub fn concat(&self) -> Option<&str> {
        self.concat.as_deref()
    }

    /// Whether it is a part of something.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.concat() == Some("partial")
    }

    /// Whether it is made of parts.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.concat().is_some_and(|concat| concat != "partial")
    }

    /// When it goes away, in seconds after the beginning of 1970. A complete upload stays.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.expires.filter(|_| !self.is_complete())
    }

    /// Makes a final upload complete.
    pub(crate) fn finish(&mut self, content: Vec<u8>) {
        self.length = Some(content.len() as u64);
        self.content = content;
        self.parts.clear();
    }

    /// `Upload-Metadata` of its creation, as it was sent.
    #[must_use]
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// The value of one key of its metadata, decoded; empty for a key without a value.
    #[must_use]
    pub fn metadatum(&self, key: &str) -> Option<Vec<u8>> {
        let pairs = parse_metadata(self.metadata.as_deref()?).ok()?;
        pairs
            .into_iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value)
    }
}

/// The pairs of an `Upload-Metadata`, or what is wrong with it.
pub(crate) fn parse_metadata(text: &str) -> Result<Vec<(&str, Vec<u8>)>, &'static str> {
    let mut seen = BTreeSet::new();
    text.split(',')
        .map(|pair| {
            let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err("a metadata key is empty or not printable ASCII");
            }
            if !seen.insert(key) {
                return Err("a metadata key is there twice");
            }
            let value = STANDARD
                .decode(value)
                .map_err(|_| "a metadata value is not base64")?;
            Ok((key, value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_pairs_of_key_and_base64() {
        let pairs = parse_metadata("filename d29ybGQ=,bare,empty ,raw /w==").unwrap();
        assert_eq!(
            pairs,
            [
                ("filename", b"world".to_vec()),
                ("bare", vec![]),
                ("empty", vec![]),
                ("raw", vec![0xff])
            ]
        );
    }

    #[test]
    fn metadata_that_is_not_is_refused() {
        for text in [
            "",
            ",",
            "a YQ==,",
            "a YQ==, b YQ==",
            " a",
            "a  YQ==",
            "a YQ",
            "a !",
            "a YQ==,a",
            "\u{e9} YQ==",
            "a YQ== ",
        ] {
            assert!(parse_metadata(text).is_err(), "{text:?}");
        }
    }
}
