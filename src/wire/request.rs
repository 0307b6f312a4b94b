//! What the client asks, as requests.

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::{integer, name};
use crate::{Body, Metadata};

/// The fields that every request has, and room for the caller's.
fn request<const N: usize>(
    method: Method,
    url: &Uri,
    body: Body,
    fields: [(HeaderName, HeaderValue); N],
) -> Request<Body> {
    let mut headers = HeaderMap::with_capacity(N + 4);
    headers.insert(name::TUS_RESUMABLE, HeaderValue::from_static(name::VERSION));
    headers.extend(fields);
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.clone();
    *request.headers_mut() = headers;
    request
}

/// [Creation](https://tus.io/protocols/resumable-upload#post) of an upload of known length.
pub(crate) fn create(endpoint: &Uri, length: u64, metadata: &Metadata) -> Request<Body> {
    let fields = [
        (CONTENT_LENGTH, HeaderValue::from_static("0")),
        (name::UPLOAD_LENGTH, integer::header_value(length)),
    ];
    let mut request = request(Method::POST, endpoint, 0..0, fields);
    if let Some(metadata) = metadata.encode() {
        request
            .headers_mut()
            .insert(name::UPLOAD_METADATA, metadata);
    }
    request
}

/// The question for what the server has: [HEAD](https://tus.io/protocols/resumable-upload#head).
pub(crate) fn head(url: &Uri) -> Request<Body> {
    request(Method::HEAD, url, 0..0, [])
}

/// Bytes of the source: [PATCH](https://tus.io/protocols/resumable-upload#patch).
pub(crate) fn append(url: &Uri, body: Body) -> Request<Body> {
    let fields = [
        (CONTENT_LENGTH, integer::header_value(body.end - body.start)),
        (
            CONTENT_TYPE,
            HeaderValue::from_static(name::OFFSET_OCTET_STREAM),
        ),
        (name::UPLOAD_OFFSET, integer::header_value(body.start)),
    ];
    request(Method::PATCH, url, body, fields)
}

/// [Termination](https://tus.io/protocols/resumable-upload#delete).
pub(crate) fn terminate(url: &Uri) -> Request<Body> {
    request(Method::DELETE, url, 0..0, [])
}
