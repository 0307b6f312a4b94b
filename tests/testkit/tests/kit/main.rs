//! The kit is what others are tested with; this is what it is tested with.

mod anything;
mod checksum;
mod concatenation;
mod creation;
mod expiration;
mod faults;
mod loopback;
mod proxy;
mod quirks;
mod scripted;
mod server;
#[cfg(feature = "conformance")]
mod stage;
mod trailers;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use tus_testkit::{Begun, Options, Quirk, Reading, Server};

pub(crate) const OCTETS: &str = "application/offset+octet-stream";

/// A request as a good client sends it: with the version and the length of its body.
pub(crate) fn request(
    method: Method,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Request<Bytes> {
    let mut request = Request::new(Bytes::copy_from_slice(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().unwrap();
    let length = body.len().to_string();
    for &(name, value) in [("tus-resumable", "1.0.0"), ("content-length", &*length)]
        .iter()
        .chain(headers)
    {
        let name: http::HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    request
}

pub(crate) fn create(length: u64) -> Request<Bytes> {
    request(
        Method::POST,
        "/files/",
        &[("upload-length", &length.to_string())],
        b"",
    )
}

/// A creation with these headers, and this body.
pub(crate) fn post(headers: &[(&str, &str)], body: &[u8]) -> Request<Bytes> {
    request(Method::POST, "/files/", headers, body)
}

/// A creation that brings its first bytes.
pub(crate) fn create_with(length: u64, body: &[u8]) -> Request<Bytes> {
    let length = length.to_string();
    post(
        &[("upload-length", &length), ("content-type", OCTETS)],
        body,
    )
}

/// A creation without a length.
pub(crate) fn defer() -> Request<Bytes> {
    post(&[("upload-defer-length", "1")], b"")
}

pub(crate) fn options() -> Request<Bytes> {
    request(Method::OPTIONS, "/files/", &[], b"")
}

pub(crate) fn head(target: &str) -> Request<Bytes> {
    request(Method::HEAD, target, &[], b"")
}

pub(crate) fn patch(target: &str, offset: u64, body: &[u8]) -> Request<Bytes> {
    let headers = [
        ("content-type", OCTETS),
        ("upload-offset", &*offset.to_string()),
    ];
    request(Method::PATCH, target, &headers, body)
}

pub(crate) fn delete(target: &str) -> Request<Bytes> {
    request(Method::DELETE, target, &[], b"")
}

pub(crate) fn without(mut request: Request<Bytes>, name: &str) -> Request<Bytes> {
    request.headers_mut().remove(name).unwrap();
    request
}

pub(crate) fn with(mut request: Request<Bytes>, name: &'static str, value: &str) -> Request<Bytes> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// A header of the answer, which must not be there twice.
pub(crate) fn header<'a>(response: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    let mut values = response.headers().get_all(name).iter();
    let value = values.next()?.to_str().unwrap();
    assert!(values.next().is_none(), "{name} is there twice");
    Some(value)
}

/// Where the upload is that this answer is about.
#[track_caller]
pub(crate) fn location(response: &Response<Bytes>) -> String {
    assert_status(response, 201);
    header(response, "location").unwrap().to_owned()
}

/// Begins a request, of which the server must want the body.
#[track_caller]
pub(crate) fn begin(server: &mut Server, request: Request<Bytes>) -> Reading {
    match server.begin(&request.into_parts().0) {
        Begun::Reading(reading) => reading,
        Begun::Answered(response) => panic!("answered early: {response:?}"),
    }
}

pub(crate) fn server(quirks: impl Into<Vec<Quirk>>) -> Server {
    Server::new(Options {
        quirks: quirks.into(),
        ..Options::default()
    })
}

/// A server with one upload of this length, and the upload's target.
pub(crate) fn with_upload(length: u64, quirks: impl Into<Vec<Quirk>>) -> (Server, String) {
    let mut server = server(quirks);
    let target = server.place(length, 0);
    (server, target)
}

#[track_caller]
pub(crate) fn assert_status(response: &Response<Bytes>, status: u16) {
    assert_eq!(
        response.status(),
        StatusCode::from_u16(status).unwrap(),
        "{response:?}"
    );
}
