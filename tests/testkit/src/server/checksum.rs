//! Digests of bodies (extension "Checksum").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::TRAILER;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

use super::append::Keep;
use super::fields::one;
use super::refusal::{Refusal, bad, refuse_as};
use super::{Extension, Server};
use crate::Quirk;
use crate::names::UPLOAD_CHECKSUM;

type Hash = fn(&[u8]) -> Vec<u8>;

const HASHES: [(&str, Hash); 5] = [
    ("sha1", |bytes| Sha1::digest(bytes).to_vec()),
    ("sha256", |bytes| Sha256::digest(bytes).to_vec()),
    ("sha512", |bytes| Sha512::digest(bytes).to_vec()),
    ("md5", |bytes| Md5::digest(bytes).to_vec()),
    ("crc32", |bytes| crc32fast::hash(bytes).to_be_bytes().into()),
];

/// The digest of these bytes as `Upload-Checksum` means it, before its base64; `None` for an algorithm
/// other than `sha1`, `sha256`, `sha512`, `md5` and `crc32`, which is big-endian.
#[must_use]
pub fn checksum(algorithm: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    let (_, hash) = HASHES.iter().find(|(name, _)| *name == algorithm)?;
    Some(hash(bytes))
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    HASHES.iter().map(|(name, _)| *name)
}

/// What a body has to agree with.
#[derive(Debug)]
pub(super) enum Check {
    Digest(Expected),
    /// It comes after the body.
    Trailer,
}

#[derive(Debug)]
pub(super) struct Expected {
    algorithm: String,
    digest: Vec<u8>,
}

impl Server {
    /// The digest that a request brings or announces.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<Option<Check>, Refusal> {
        if self.has(&Quirk::IgnoresChecksum) {
            return Ok(None);
        }
        let digest = self.offered(headers, UPLOAD_CHECKSUM, Extension::Checksum)?;
        match (digest, announces_trailer(headers)) {
            (None, false) => Ok(None),
            (Some(digest), false) => Ok(Some(Check::Digest(self.expected(digest)?))),
            (Some(_), true) => Err(bad("Upload-Checksum comes before the body and after it")),
            (None, true) if self.offers(Extension::ChecksumTrailer) => Ok(Some(Check::Trailer)),
            (None, true) => Err(bad("there are no checksums in trailers here")),
        }
    }

    fn expected(&self, value: &str) -> Result<Expected, Refusal> {
        let (algorithm, digest) = value
            .split_once(' ')
            .ok_or_else(|| bad("Upload-Checksum is not an algorithm and a digest"))?;
        let served = &self.options.checksum_algorithms;
        let known = checksum(algorithm, &[])
            .filter(|_| served.iter().any(|name| name == algorithm))
            .ok_or_else(|| bad(format!("{algorithm} is not an algorithm of this server")))?;
        let digest = STANDARD
            .decode(digest)
            .map_err(|_| bad("the digest is not base64"))?;
        if digest.len() != known.len() {
            return Err(bad(format!("the digest is not one of {algorithm}")));
        }
        Ok(Expected {
            algorithm: algorithm.to_owned(),
            digest,
        })
    }

    /// Whether a body that arrived whole is what was announced.
    pub(super) fn verify(&self, keep: &Keep, trailers: &HeaderMap) -> Result<(), Refusal> {
        let from_trailer;
        let expected = match &keep.check {
            None => return Ok(()),
            Some(Check::Digest(expected)) => expected,
            Some(Check::Trailer) => {
                let value = one(trailers, UPLOAD_CHECKSUM)?
                    .ok_or_else(|| bad("the trailer Upload-Checksum did not come"))?;
                from_trailer = self.expected(value)?;
                &from_trailer
            }
        };
        if checksum(&expected.algorithm, &keep.held).as_ref() == Some(&expected.digest) {
            return Ok(());
        }
        let status = self.quirk(|quirk| match quirk {
            Quirk::MismatchIs(status) => Some(*status),
            _ => None,
        });
        Err(refuse_as(
            status.unwrap_or(460),
            "the body is not what Upload-Checksum says",
        ))
    }
}

/// Whether `Upload-Checksum` is to come after the body.
pub(super) fn announces_trailer(headers: &HeaderMap) -> bool {
    headers
        .get_all(TRAILER)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|name| name.trim().eq_ignore_ascii_case(UPLOAD_CHECKSUM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standards() {
        let hex = |algorithm: &str, bytes: &[u8]| {
            let digits = checksum(algorithm, bytes).unwrap().into_iter();
            digits.fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
        };
        assert_eq!(
            hex("sha1", b"abc"),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        assert_eq!(
            hex("sha256", b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hex("sha512", b"abc").starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(hex("md5", b"abc"), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(hex("crc32", b"123456789"), "cbf43926");
        assert_eq!(checksum("SHA1", b"abc"), None);
    }

    #[test]
    fn a_trailer_is_announced_among_others() {
        let announces = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRAILER, http::HeaderValue::from_static(value));
            }
            announces_trailer(&headers)
        };
        assert!(announces(&["Upload-Checksum"]));
        assert!(announces(&["Expires", "x, upload-checksum"]));
        assert!(!announces(&["Upload-Checksums", ""]));
        assert!(!announces(&[]));
    }
}
