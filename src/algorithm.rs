//! Checksum algorithms, by name.

use std::borrow::Cow;
use std::fmt;

use crate::Misuse;

/// The longest digest that is sent, in bytes: that of the longest hash in use.
const LONGEST: usize = 64;

/// The name of a checksum algorithm, as servers list it.
///
/// See [Checksum](https://tus.io/protocols/resumable-upload#checksum). Whoever drives the machine
/// computes the digest ([`Duty::Digest`](crate::Duty::Digest)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Algorithm(Cow<'static, str>);

impl Algorithm {
    /// SHA-1, which every server with the checksum extension has.
    pub const SHA1: Self = Self(Cow::Borrowed("sha1"));
    /// SHA-256.
    pub const SHA256: Self = Self(Cow::Borrowed("sha256"));
    /// SHA-512.
    pub const SHA512: Self = Self(Cow::Borrowed("sha512"));
    /// MD5.
    pub const MD5: Self = Self(Cow::Borrowed("md5"));
    /// CRC-32 as in gzip, big-endian.
    pub const CRC32: Self = Self(Cow::Borrowed("crc32"));

    /// An algorithm of this name.
    ///
    /// # Errors
    ///
    /// [`Misuse::Algorithm`] unless it is made of visible ASCII characters, none of them upper-case
    /// or a comma.
    pub fn new(name: &str) -> Result<Self, Misuse> {
        Self::read(name.as_bytes()).ok_or_else(|| Misuse::Algorithm(name.to_owned()))
    }

    /// The name as it stands in `Upload-Checksum`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn read(name: &[u8]) -> Option<Self> {
        let legal =
            |byte: &u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase() && *byte != b',';
        if name.is_empty() || name.len() > LONGEST || !name.iter().all(legal) {
            return None;
        }
        let name = std::str::from_utf8(name).ok()?;
        Some(Self(Cow::Owned(name.to_owned())))
    }

    /// Whether a digest may have so many bytes.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        match self.as_str() {
            "crc32" => bytes == 4,
            "md5" => bytes == 16,
            "sha1" => bytes == 20,
            "sha256" => bytes == 32,
            "sha512" => bytes == 64,
            _ => (1..=LONGEST).contains(&bytes),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL K2.
    #[test]
    fn names_are_lower_case_ascii() {
        for name in ["sha1", "crc32c", "sha3-256", "x_9", &"x".repeat(64)] {
            assert_eq!(Algorithm::new(name).unwrap().as_str(), name);
        }
        for name in [
            "",
            "SHA1",
            "sha 1",
            "a,b",
            "sha1\n",
            "h\u{e4}",
            &"x".repeat(65),
        ] {
            assert_eq!(
                Algorithm::new(name),
                Err(Misuse::Algorithm(name.to_owned()))
            );
        }
        assert_eq!(Algorithm::new("sha1"), Ok(Algorithm::SHA1));
    }

    #[test]
    fn a_digest_has_its_algorithms_length() {
        let table = [
            (Algorithm::CRC32, 4),
            (Algorithm::MD5, 16),
            (Algorithm::SHA1, 20),
            (Algorithm::SHA256, 32),
            (Algorithm::SHA512, 64),
        ];
        for (algorithm, bytes) in table {
            assert!(algorithm.fits(bytes) && !algorithm.fits(bytes - 1) && !algorithm.fits(0));
        }
        let other = Algorithm::new("xxh3").unwrap();
        assert!(other.fits(8) && !other.fits(0) && !other.fits(65));
    }
}
