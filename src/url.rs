//! The URL of an upload, which is a capability.

use std::fmt;

use http::Uri;

use crate::wire::reference;

/// The URL of an upload resource.
///
/// Whoever knows it may read, extend or delete the upload, so `Debug` and `Display` leave out the
/// query. [`as_uri`](Self::as_uri) and [`expose`](Self::expose) give the whole.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UploadUrl(Uri);

impl UploadUrl {
    /// The whole URL, for requests.
    #[must_use]
    pub fn as_uri(&self) -> &Uri {
        &self.0
    }

    /// The whole URL as text, for storing it or handing it on.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.to_string()
    }
}

impl From<Uri> for UploadUrl {
    fn from(uri: Uri) -> Self {
        Self(uri)
    }
}

impl fmt::Display for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", reference::redacted(&self.0))
    }
}

impl fmt::Debug for UploadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UploadUrl({self})")
    }
}
