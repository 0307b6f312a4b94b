//! Header names, the media type and the version of [tus 1.0.0][headers].
//!
//! Names that HTTP itself defines are in [`http::header`].
//!
//! [headers]: https://tus.io/protocols/resumable-upload#headers

use http::HeaderName;

/// The version this dialect speaks: the value of [`TUS_RESUMABLE`].
pub(crate) const VERSION: &str = "1.0.0";

/// The media type of every body that carries bytes of the upload.
pub(crate) const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";

pub(crate) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(crate) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(crate) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");

pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(crate) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(crate) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(crate) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(crate) const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
