//! What the client asks, as requests.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRAILER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};

use super::{integer, name};
use crate::{Algorithm, Body, Metadata};

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

/// What an upload is to be, as its creation says it.
#[derive(Clone, Debug)]
pub(crate) struct Creation<'a> {
    /// Bytes of the whole; `None`: that is told later.
    pub(crate) length: Option<u64>,
    pub(crate) metadata: &'a Metadata,
    /// It is a part.
    pub(crate) partial: bool,
    /// The bytes that go with it, if it is not empty.
    pub(crate) body: Body,
    /// They wait for the server's leave.
    pub(crate) expect: bool,
}

/// [Creation](https://tus.io/protocols/resumable-upload#post) of an upload.
pub(crate) fn create(endpoint: &Uri, creation: &Creation<'_>) -> Request<Body> {
    let body = creation.body.clone();
    let length = match creation.length {
        Some(length) => (name::UPLOAD_LENGTH, integer::header_value(length)),
        None => (name::UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    let fields = [
        // It begins with the first byte.
        (CONTENT_LENGTH, integer::header_value(body.end)),
        length,
    ];
    let with_bytes = !body.is_empty();
    let mut request = request(Method::POST, endpoint, body, fields);
    let headers = request.headers_mut();
    if let Some(metadata) = creation.metadata.encode() {
        headers.insert(name::UPLOAD_METADATA, metadata);
    }
    if creation.partial {
        headers.insert(name::UPLOAD_CONCAT, HeaderValue::from_static("partial"));
    }
    if with_bytes {
        headers.insert(CONTENT_TYPE, OFFSET_OCTET_STREAM);
        if creation.expect {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
    }
    request
}

/// [Concatenation](https://tus.io/protocols/resumable-upload#concatenation) of parts, by the list
/// that [`concatenation_list`] makes.
pub(crate) fn concatenate(endpoint: &Uri, list: HeaderValue, metadata: &Metadata) -> Request<Body> {
    let fields = [
        (CONTENT_LENGTH, HeaderValue::from_static("0")),
        (name::UPLOAD_CONCAT, list),
    ];
    let mut request = request(Method::POST, endpoint, 0..0, fields);
    if let Some(metadata) = metadata.encode() {
        request
            .headers_mut()
            .insert(name::UPLOAD_METADATA, metadata);
    }
    request
}

/// The value of `Upload-Concat` that names these parts, in order. `home`: those that are on its
/// origin are named by path and query alone, where that cannot be read as a host. It is sensitive, for
/// the URLs are capabilities.
pub(crate) fn concatenation_list<'a>(
    parts: impl Iterator<Item = &'a Uri>,
    home: Option<&Uri>,
) -> HeaderValue {
    let mut list = String::from(name::CONCAT_FINAL);
    for (n, part) in parts.enumerate() {
        list.push(if n == 0 { ';' } else { ' ' });
        match (home, part.path_and_query()) {
            (Some(home), Some(path))
                if home.scheme() == part.scheme()
                    && home.authority() == part.authority()
                    && !path.as_str().starts_with("//") =>
            {
                list.push_str(path.as_str());
            }
            // Writing to a String cannot fail.
            _ => drop(write!(list, "{part}")),
        }
    }
    let mut list = HeaderValue::try_from(list).expect("a URL is visible ASCII");
    list.set_sensitive(true);
    list
}

/// The question for what the server offers: [OPTIONS](https://tus.io/protocols/resumable-upload#options),
/// which says no version.
pub(crate) fn options(endpoint: &Uri) -> Request<Body> {
    let mut request = request(Method::OPTIONS, endpoint, 0..0, []);
    request.headers_mut().remove(name::TUS_RESUMABLE);
    request
}

/// The question for what the server has: [HEAD](https://tus.io/protocols/resumable-upload#head).
pub(crate) fn head(url: &Uri) -> Request<Body> {
    request(Method::HEAD, url, 0..0, [])
}

/// What goes with the bytes of an append.
#[derive(Debug, Default)]
pub(crate) struct Along<'a> {
    /// The length of the whole, which the server was not told at creation.
    pub(crate) length: Option<u64>,
    /// The checksum of the bytes.
    pub(crate) digest: Option<(&'a Algorithm, &'a [u8])>,
    /// It comes after them.
    pub(crate) trailer: bool,
}

/// Bytes of the source: [PATCH](https://tus.io/protocols/resumable-upload#patch).
pub(crate) fn append(url: &Uri, body: Body, along: &Along<'_>) -> Request<Body> {
    let length = integer::header_value(body.end - body.start);
    let fields = [
        (CONTENT_TYPE, OFFSET_OCTET_STREAM),
        (name::UPLOAD_OFFSET, integer::header_value(body.start)),
    ];
    let mut request = request(Method::PATCH, url, body, fields);
    let headers = request.headers_mut();
    if along.trailer {
        headers.insert(TRAILER, UPLOAD_CHECKSUM);
    } else {
        headers.insert(CONTENT_LENGTH, length);
    }
    if let Some(length) = along.length {
        headers.insert(name::UPLOAD_LENGTH, integer::header_value(length));
    }
    if let Some((algorithm, digest)) = along.digest {
        let digest = STANDARD.encode(digest);
        let value = HeaderValue::try_from(format!("{algorithm} {digest}"));
        headers.insert(
            name::UPLOAD_CHECKSUM,
            value.expect("names and base64 are visible ASCII"),
        );
    }
    request
}

/// [Termination](https://tus.io/protocols/resumable-upload#delete).
pub(crate) fn terminate(url: &Uri) -> Request<Body> {
    request(Method::DELETE, url, 0..0, [])
}

/// The same as a POST, for what lets nothing else through
/// ([X-HTTP-Method-Override](https://tus.io/protocols/resumable-upload#x-http-method-override)).
pub(crate) fn override_method(request: &mut Request<Body>) {
    let method = match *request.method() {
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => return,
    };
    *request.method_mut() = Method::POST;
    let headers = request.headers_mut();
    headers.insert(name::METHOD_OVERRIDE, HeaderValue::from_static(method));
    if method == "DELETE" {
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// The media type of every body that carries bytes of the upload.
const OFFSET_OCTET_STREAM: HeaderValue =
    HeaderValue::from_static("application/offset+octet-stream");

/// What a trailer is announced by.
const UPLOAD_CHECKSUM: HeaderValue = HeaderValue::from_static("Upload-Checksum");

#[cfg(test)]
mod tests {
    use super::*;

    // PROTOCOL P2, §4, 28: absolute or relative, in order, commas and queries as they are.
    #[test]
    fn a_list_names_the_parts_in_order() {
        let home = Uri::from_static("https://a.test/files/");
        let parts = [
            Uri::from_static("https://a.test/files/1,2?k=v"),
            Uri::from_static("https://b.test/2"),
            Uri::from_static("https://a.test:8443/3"),
        ];
        assert_eq!(
            concatenation_list(parts.iter(), None),
            "final;https://a.test/files/1,2?k=v https://b.test/2 https://a.test:8443/3"
        );
        assert_eq!(
            concatenation_list(parts.iter(), Some(&home)),
            "final;/files/1,2?k=v https://b.test/2 https://a.test:8443/3"
        );
        assert!(concatenation_list(parts.iter(), None).is_sensitive());
        // What begins with two slashes would name another host.
        let slashes = [Uri::from_static("https://a.test//files/1")];
        assert_eq!(
            concatenation_list(slashes.iter(), Some(&home)),
            "final;https://a.test//files/1"
        );
    }

    // PROTOCOL C1, C8.
    #[test]
    fn options_says_no_version() {
        let request = options(&Uri::from_static("https://a.test/files/"));
        assert_eq!(request.method(), Method::OPTIONS);
        assert!(request.headers().is_empty());
    }

    // PROTOCOL C9; §4, 36.
    #[test]
    fn only_patch_and_delete_are_overridden() {
        let url = Uri::from_static("https://a.test/files/1");
        let rewritten = |mut request: Request<Body>| {
            override_method(&mut request);
            let header = request.headers().get(name::METHOD_OVERRIDE);
            let header = header.map(|value| value.to_str().unwrap().to_owned());
            (request.method().to_string(), header)
        };
        let post = |header: &str| ("POST".to_owned(), Some(header.to_owned()));
        let append = append(&url, 3..5, &Along::default());
        assert_eq!(rewritten(append), post("PATCH"));
        assert_eq!(rewritten(terminate(&url)), post("DELETE"));
        assert_eq!(rewritten(head(&url)), ("HEAD".to_owned(), None));
        assert_eq!(rewritten(options(&url)), ("OPTIONS".to_owned(), None));
    }
}
