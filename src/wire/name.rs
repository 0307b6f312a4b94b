//! Header names, the media type and the version of [tus 1.0.0][headers].
//!
//! Names that HTTP itself defines are in [`http::header`].
//!
//! [headers]: https://tus.io/protocols/resumable-upload#headers

use http::HeaderName;

/// The version this dialect speaks: the value of [`TUS_RESUMABLE`].
pub(crate) const VERSION: &str = "1.0.0";

/// What `Upload-Concat` says of an upload that is joined from others.
pub(crate) const CONCAT_FINAL: &str = "final";
/// What it says of one that is a part.
pub(crate) const CONCAT_PARTIAL: &str = "partial";

pub(crate) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
pub(crate) const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
pub(crate) const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
pub(crate) const TUS_CHECKSUM_ALGORITHM: HeaderName =
    HeaderName::from_static("tus-checksum-algorithm");
pub(crate) const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");

pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(crate) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
pub(crate) const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
pub(crate) const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
pub(crate) const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
pub(crate) const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
pub(crate) const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");

pub(crate) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
