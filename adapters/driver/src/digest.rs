//! Checksums.

use std::io::{self, Read};

use bytes::Bytes;
use tus_proto::{Algorithm, Failure, FailureKind};

/// The checksums that can be sent with the bytes of an upload.
pub const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::SHA1,
    Algorithm::SHA256,
    Algorithm::SHA512,
    Algorithm::MD5,
    Algorithm::CRC32,
];

/// How much is read at once, in bytes (64 KiB).
const PIECE: usize = 64 * 1024;

pub(crate) trait Hasher: Send + Sync {
    fn update(&mut self, bytes: &[u8]);
    fn finish(self: Box<Self>) -> Vec<u8>;
}

impl<D: sha2::Digest + Send + Sync> Hasher for D {
    fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(self, bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.finalize().to_vec()
    }
}

/// In the order in which gzip's is read by a person: the highest byte first.
struct Crc32(crc32fast::Hasher);

impl Hasher for Crc32 {
    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.0.finalize().to_be_bytes().to_vec()
    }
}

pub(crate) fn hasher(algorithm: &Algorithm) -> Result<Box<dyn Hasher>, Failure> {
    Ok(match algorithm.as_str() {
        "sha1" => Box::new(sha1::Sha1::default()),
        "sha256" => Box::new(sha2::Sha256::default()),
        "sha512" => Box::new(sha2::Sha512::default()),
        "md5" => Box::new(md5::Md5::default()),
        "crc32" => Box::new(Crc32(crc32fast::Hasher::new())),
        _ => {
            return Err(Failure::new(
                FailureKind::Hopeless,
                format!("there is no checksum {algorithm} here"),
            ));
        }
    })
}

/// The digest of all that `body` gives.
pub(crate) fn digest(algorithm: &Algorithm, body: &mut dyn Read) -> Result<Bytes, Failure> {
    let mut hasher = hasher(algorithm)?;
    let mut piece = vec![0; PIECE];
    loop {
        match body.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish().into()),
            Ok(read) => hasher.update(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::new(FailureKind::Source, error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the ASCII digits 1 to 9: the check values of the algorithms' own descriptions.
    #[test]
    fn digests_are_those_of_everybody_else() {
        let table = [
            (Algorithm::CRC32, "cbf43926"),
            (Algorithm::MD5, "25f9e794323b453885f5181f1b624d0b"),
            (Algorithm::SHA1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (
                Algorithm::SHA256,
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
            ),
        ];
        for (algorithm, expected) in table {
            let digest = digest(&algorithm, &mut &b"123456789"[..]).unwrap();
            assert_eq!(format!("{digest:x}"), expected, "{algorithm}");
        }
        let sha512 = digest(&Algorithm::SHA512, &mut &b"123456789"[..]).unwrap();
        assert_eq!(sha512.len(), 64);
        assert_eq!(sha512[..4], [0xd9, 0xe6, 0x76, 0x2d]);
    }

    #[test]
    fn every_algorithm_that_is_listed_is_there() {
        for algorithm in &ALGORITHMS {
            assert!(digest(algorithm, &mut &b""[..]).is_ok(), "{algorithm}");
        }
        let other = Algorithm::new("xxh3").unwrap();
        let failure = digest(&other, &mut &b""[..]).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Hopeless);
    }
}
