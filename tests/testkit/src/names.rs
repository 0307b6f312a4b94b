//! The protocol's header names and the one media type.

pub(crate) const CACHE_CONTROL: &str = "cache-control";
pub(crate) const METHOD_OVERRIDE: &str = "x-http-method-override";
pub(crate) const TUS_CHECKSUM_ALGORITHM: &str = "tus-checksum-algorithm";
pub(crate) const TUS_EXTENSION: &str = "tus-extension";
pub(crate) const TUS_MAX_SIZE: &str = "tus-max-size";
pub(crate) const TUS_RESUMABLE: &str = "tus-resumable";
pub(crate) const TUS_VERSION: &str = "tus-version";
pub(crate) const UPLOAD_CHECKSUM: &str = "upload-checksum";
pub(crate) const UPLOAD_CONCAT: &str = "upload-concat";
pub(crate) const UPLOAD_DEFER_LENGTH: &str = "upload-defer-length";
pub(crate) const UPLOAD_EXPIRES: &str = "upload-expires";
pub(crate) const UPLOAD_LENGTH: &str = "upload-length";
pub(crate) const UPLOAD_METADATA: &str = "upload-metadata";
pub(crate) const UPLOAD_OFFSET: &str = "upload-offset";

pub(crate) const VERSION: &str = "1.0.0";
pub(crate) const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";
