use std::io;
use std::path::PathBuf;

use crate::StoreError;

/// Why an upload, or another call, did not succeed.
///
/// Every message says what to do, where that can be known.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine ended without success: the server refused, attempts were exhausted, the source
    /// changed, the caller cancelled.
    #[error(transparent)]
    Upload(#[from] tus_proto::Error),
    /// What was asked for cannot be done; no request but OPTIONS was made.
    #[error(transparent)]
    Misuse(#[from] tus_proto::Misuse),
    /// A header that cannot be sent; no request was made.
    #[error("a header cannot be sent: {0}; check its name and value")]
    Header(#[source] http::Error),
    /// A checksum that cannot be computed here; no request was made.
    #[error("there is no checksum {0} here; there are sha1, sha256, sha512, md5 and crc32")]
    Checksum(tus_proto::Algorithm),
    /// The source cannot be opened; no request was made.
    #[error("cannot read {}: {source}", Named(path.as_ref()))]
    Source {
        /// Which file, if it is known.
        path: Option<PathBuf>,
        /// What the system says.
        source: io::Error,
    },
    /// A store was given, and the source has no name by which to find its checkpoint again.
    #[error(
        "a source without a name cannot be resumed from a store: open the file with \
         FileSource::open, or leave the store out"
    )]
    Unnamed,
    /// The checkpoint cannot be used, or another process has it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The machine waits for what can never come. A fault of the machine, not of the caller.
    #[error("the machine waits for nothing that could come; please report this as a bug")]
    Stuck,
}

struct Named<'a>(Option<&'a PathBuf>);

impl std::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(path) => path.display().fmt(f),
            None => f.write_str("the file"),
        }
    }
}
