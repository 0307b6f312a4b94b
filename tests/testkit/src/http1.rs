//! HTTP/1.1 as far as a test server needs it: heads are httparse's, bodies have a length.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};

const BUFFER: usize = 64 << 10;
const MAX_HEADERS: usize = 128;

/// The reading side of a connection.
pub(crate) struct Inbox {
    stream: Arc<TcpStream>,
    buffer: Box<[u8]>,
    filled: Range<usize>,
}

impl Inbox {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream,
            buffer: vec![0; BUFFER].into(),
            filled: 0..0,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A head, up to and with its empty line; `None` if the peer closed, or broke off in it.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let filled = &self.buffer[self.filled.clone()];
            if let Some(at) = filled.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = filled[..at + 4].to_vec();
                self.filled.start += head.len();
                return Ok(Some(head));
            }
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            if self.filled.len() == BUFFER {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a head of more than 64 KiB",
                ));
            }
            let read = (&*self.stream).read(&mut self.buffer[self.filled.end..])?;
            if read == 0 {
                return Ok(None);
            }
            self.filled.end += read;
        }
    }

    /// Some bytes that have arrived, at most so many; none if the peer closed.
    pub(crate) fn read(&mut self, most: u64) -> io::Result<&[u8]> {
        if self.filled.is_empty() {
            let read = (&*self.stream).read(&mut self.buffer)?;
            self.filled = 0..read;
        }
        let most = usize::try_from(most).map_or(BUFFER, |most| most.min(BUFFER));
        let end = self.filled.end.min(self.filled.start + most);
        let piece = &self.buffer[self.filled.start..end];
        self.filled.start = end;
        Ok(piece)
    }

    /// Reads and forgets so many bytes; says how many came before the peer closed.
    pub(crate) fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let mut left = bytes;
        while left > 0 {
            match self.read(left)?.len() {
                0 => break,
                read => left -= read as u64,
            }
        }
        Ok(bytes - left)
    }
}

/// The head of a request, unless it is none.
pub(crate) fn parse_head(head: &[u8]) -> Option<Parts> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).ok()?.is_complete() {
        return None;
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::from_bytes(parsed.method?.as_bytes()).ok()?;
    parts.uri = Uri::try_from(parsed.path?).ok()?;
    for header in parsed.headers {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        parts
            .headers
            .append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(parts)
}

/// How header names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Case {
    /// `upload-offset`
    Lower,
    /// `Upload-Offset`
    Title,
    /// `UPLOAD-OFFSET`
    Upper,
}

impl Case {
    fn write(self, name: &HeaderName, out: &mut Vec<u8>) {
        let mut first = true;
        for byte in name.as_str().bytes() {
            let upper = self == Self::Upper || self == Self::Title && first;
            out.push(if upper {
                byte.to_ascii_uppercase()
            } else {
                byte
            });
            first = byte == b'-';
        }
    }
}

/// Writes an answer whole. `close` announces that it is the connection's last.
pub(crate) fn write_response(
    mut stream: &TcpStream,
    method: &Method,
    response: &Response<Bytes>,
    case: Case,
    close: bool,
) -> io::Result<()> {
    let status = response.status();
    let mut out = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("")
    )
    .into_bytes();
    let framing = [
        (!bodiless(status)).then(|| (CONTENT_LENGTH, HeaderValue::from(response.body().len()))),
        close.then_some((CONNECTION, HeaderValue::from_static("close"))),
    ];
    let framing = framing.iter().flatten().map(|(name, value)| (name, value));
    let own = response
        .headers()
        .iter()
        .filter(|(name, _)| !matches!(**name, CONTENT_LENGTH | CONNECTION));
    for (name, value) in own.chain(framing) {
        case.write(name, &mut out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if method != Method::HEAD && !bodiless(status) {
        out.extend_from_slice(response.body());
    }
    stream.write_all(&out)
}

/// Answers without a body have no `Content-Length` either (RFC 9110 section 8.6).
fn bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
