//! What a server says that it can do.

use std::fmt;

use crate::Algorithm;

/// An extension of the protocol
/// ([tus, Protocol Extensions](https://tus.io/protocols/resumable-upload#protocol-extensions)).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Extension {
    /// Uploads are created by POST.
    Creation,
    /// The POST may carry the first bytes.
    CreationWithUpload,
    /// The length may be told later.
    CreationDeferLength,
    /// Unfinished uploads are dropped after a time.
    Expiration,
    /// The server compares checksums.
    Checksum,
    /// The checksum may come after the body.
    ChecksumTrailer,
    /// Uploads are deleted by DELETE.
    Termination,
    /// Uploads are joined to one.
    Concatenation,
    /// They may be joined before they are complete.
    ConcatenationUnfinished,
}

impl Extension {
    /// Its name in `Tus-Extension`.
    #[must_use]
    pub const fn name(self) -> &'static str {
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

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a server said of itself
/// ([tus, OPTIONS](https://tus.io/protocols/resumable-upload#options)).
///
/// [`Discover`](crate::Discover) brings it; in [`Config::server`](crate::Config::server) it decides
/// what an upload sends, and what is refused before anything is sent.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// The versions of the protocol, the best first.
    pub versions: Vec<String>,
    /// The names of its extensions, those unknown here included; `None` where it names none at all.
    /// As even creation is one, that says nothing.
    pub extensions: Option<Vec<String>>,
    /// The longest upload that it takes, in bytes.
    pub max_size: Option<u64>,
    /// The checksums that it can compare.
    pub checksum_algorithms: Vec<Algorithm>,
}

impl Capabilities {
    /// Whether it has this extension; `None`: it does not say.
    #[must_use]
    pub fn offers(&self, extension: Extension) -> Option<bool> {
        let extensions = self.extensions.as_ref()?;
        Some(extensions.iter().any(|name| name == extension.name()))
    }
}
