//! What a server is to be.

use std::time::Duration;

use crate::Quirk;

/// A part of the protocol that a server may leave out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Extension {
    /// POST to the endpoint makes an upload.
    Creation,
    /// That POST may bring the first bytes.
    CreationWithUpload,
    /// The length of an upload may come later, with a PATCH.
    CreationDeferLength,
    /// Uploads that are left unfinished go away, and answers say when.
    Expiration,
    /// A request may bring a digest of its body, which is then kept whole or not at all.
    Checksum,
    /// The digest may come after the body.
    ChecksumTrailer,
    /// DELETE ends an upload.
    Termination,
    /// Partial uploads can be joined to a final one.
    Concatenation,
    /// A final upload can be asked for before its parts are complete.
    ConcatenationUnfinished,
}

impl Extension {
    /// All that [`Server`](crate::Server) has.
    pub const ALL: [Self; 9] = [
        Self::Creation,
        Self::CreationWithUpload,
        Self::CreationDeferLength,
        Self::Expiration,
        Self::Checksum,
        Self::ChecksumTrailer,
        Self::Termination,
        Self::Concatenation,
        Self::ConcatenationUnfinished,
    ];

    /// Its name in `Tus-Extension`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::CreationWithUpload => "creation-with-upload",
            Self::CreationDeferLength => "creation-defer-length",
            Self::Expiration => "expiration",
            Self::Checksum => "checksum",
            Self::ChecksumTrailer => "checksum-trailer",
            Self::Termination => "termination",
            Self::Concatenation => "concatenation",
            Self::ConcatenationUnfinished => "concatenation-unfinished",
        }
    }
}

/// What a [`Server`](crate::Server) is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the endpoint; `/files/` by default.
    pub endpoint: String,
    /// `Tus-Max-Size`, in bytes; none by default.
    pub max_size: Option<u64>,
    /// All by default.
    pub extensions: Vec<Extension>,
    /// `Tus-Checksum-Algorithm`; by default all that [`checksum`](crate::checksum) knows. Others can be
    /// announced, but a request that brings one is refused.
    pub checksum_algorithms: Vec<String>,
    /// How long an unfinished upload is kept after it was made, and after each PATCH; for ever by
    /// default. It needs [a clock](crate::Server::set_now).
    pub expires_after: Option<Duration>,
    /// None by default.
    pub quirks: Vec<Quirk>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            endpoint: "/files/".into(),
            max_size: None,
            extensions: Extension::ALL.into(),
            checksum_algorithms: super::checksum::names().map(str::to_owned).collect(),
            expires_after: None,
            quirks: Vec::new(),
        }
    }
}
