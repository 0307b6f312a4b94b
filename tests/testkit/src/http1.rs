//! HTTP/1.1 as far as a test server needs it: heads are httparse's, bodies have a length or come in
//! chunks.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

const BUFFER: usize = 64 << 10;
const MAX_HEADERS: usize = 128;

/// A connection's bytes: as they are, or as TLS makes them.
pub(crate) trait Line: Read + Write {
    fn stream(&self) -> &TcpStream;

    /// Of the URLs that are asked for here.
    fn scheme(&self) -> Scheme {
        Scheme::HTTP
    }

    /// Ends what is written, in order.
    fn finish(&mut self) -> io::Result<()> {
        self.stream().shutdown(Shutdown::Write)
    }
}

/// Bytes as they are.
pub(crate) struct Plain(pub(crate) Arc<TcpStream>);

impl Line for Plain {
    fn stream(&self) -> &TcpStream {
        &self.0
    }
}

impl Read for Plain {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.0).read(buf)
    }
}

impl Write for Plain {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        (&*self.0).write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection, read in the pieces that a message has.
pub(crate) struct Inbox {
    line: Box<dyn Line>,
    buffer: Box<[u8]>,
    filled: Range<usize>,
}

impl Inbox {
    pub(crate) fn new(line: impl Line + 'static) -> Self {
        Self {
            line: Box::new(line),
            buffer: vec![0; BUFFER].into(),
            filled: 0..0,
        }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.line.stream()
    }

    /// Of the URLs that are asked for here.
    pub(crate) fn scheme(&self) -> Scheme {
        self.line.scheme()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.line.write_all(bytes)?;
        self.line.flush()
    }

    /// Ends what is written, in order.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.line.finish()
    }

    /// A head, up to and with its empty line; `None` if the peer closed, or broke off in it.
    pub(crate) fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.until(b"\r\n\r\n")
    }

    /// All up to and with this mark; `None` if the peer closed before it came.
    fn until(&mut self, mark: &[u8]) -> io::Result<Option<Vec<u8>>> {
        loop {
            let filled = &self.buffer[self.filled.clone()];
            if let Some(at) = filled.windows(mark.len()).position(|window| window == mark) {
                let found = filled[..at + mark.len()].to_vec();
                self.filled.start += found.len();
                return Ok(Some(found));
            }
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
            if self.filled.len() == BUFFER {
                return Err(invalid("a head of more than 64 KiB"));
            }
            let read = self.line.read(&mut self.buffer[self.filled.end..])?;
            if read == 0 {
                return Ok(None);
            }
            self.filled.end += read;
        }
    }

    /// A line, with its end.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        self.until(b"\r\n")?
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Some bytes that have arrived, at most so many; none if the peer closed.
    pub(crate) fn read(&mut self, most: u64) -> io::Result<&[u8]> {
        if self.filled.is_empty() {
            let read = self.line.read(&mut self.buffer)?;
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
    parts.headers = fields(parsed.headers)?;
    Some(parts)
}

fn fields(parsed: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(headers)
}

fn invalid(words: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// A request's body on its way in (RFC 9112 section 6).
#[derive(Debug)]
pub(crate) enum Incoming {
    /// So many bytes are left.
    Length(u64),
    /// So many are left of the chunk, and then its line end, unless it is yet to begin.
    Chunk { left: u64, begun: bool },
    /// Chunks came to their end, with these fields.
    Ended(HeaderMap),
}

impl Incoming {
    /// The body that a head announces. Whether it may come in chunks is not for here to say. `None`
    /// for a length that is not one number on one line, and be it the same one twice: where the next
    /// request begins is unknown then (section 6.3).
    pub(crate) fn new(headers: &HeaderMap) -> Option<Self> {
        if headers.contains_key(TRANSFER_ENCODING) {
            return Some(Self::Chunk {
                left: 0,
                begun: false,
            });
        }
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        match (lengths.next(), lengths.next()) {
            (None, _) => Some(Self::Length(0)),
            (Some(length), None) => digits(length).map(Self::Length),
            (Some(_), Some(_)) => None,
        }
    }

    /// Whether all of it was read.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self, Self::Length(0) | Self::Ended(_))
    }

    /// Some bytes that have arrived, at most so many; `None` at the body's end, which with chunks may
    /// take reading to find.
    pub(crate) fn piece<'a>(
        &mut self,
        inbox: &'a mut Inbox,
        most: u64,
    ) -> io::Result<Option<&'a [u8]>> {
        if let Self::Chunk { left: 0, begun } = *self {
            *self = next_chunk(inbox, begun)?;
        }
        let (Self::Length(left) | Self::Chunk { left, .. }) = self else {
            return Ok(None);
        };
        if *left == 0 {
            return Ok(None);
        }
        if most == 0 {
            return Ok(Some(&[]));
        }
        let piece = inbox.read(most.min(*left))?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        *left -= piece.len() as u64;
        Ok(Some(piece))
    }
}

/// A number of decimal digits, and nothing else.
fn digits(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// Reads up to the bytes of the next chunk, or up to the end of them all.
fn next_chunk(inbox: &mut Inbox, begun: bool) -> io::Result<Incoming> {
    if begun && inbox.line()? != b"\r\n" {
        return Err(invalid("a chunk is longer than it said"));
    }
    match httparse::parse_chunk_size(&inbox.line()?) {
        Ok(httparse::Status::Complete((_, 0))) => {}
        Ok(httparse::Status::Complete((_, left))) => {
            return Ok(Incoming::Chunk { left, begun: true });
        }
        _ => return Err(invalid("a chunk without a size")),
    }
    let mut lines = Vec::new();
    while !lines.ends_with(b"\r\n\r\n") && lines != b"\r\n" {
        lines.extend(inbox.line()?);
        if lines.len() > BUFFER {
            return Err(invalid("trailers of more than 64 KiB"));
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(&lines, &mut headers) {
        Ok(httparse::Status::Complete((_, parsed))) => fields(parsed).map(Incoming::Ended),
        _ => None,
    }
    .ok_or_else(|| invalid("trailers that are none"))
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

/// An answer's head. `length` is that of its body, unless the head says it itself; `close` announces
/// that it is the connection's last.
pub(crate) fn encode_head(
    response: &Response<()>,
    length: Option<usize>,
    case: Case,
    close: bool,
) -> Vec<u8> {
    let status = response.status();
    let mut out = format!(
        "HTTP/1.1 {} {}\r\n",
        status.as_str(),
        status.canonical_reason().unwrap_or("")
    )
    .into_bytes();
    let own = response.headers().iter().filter(|(name, _)| {
        let ours = **name == CONTENT_LENGTH && length.is_some() || **name == CONNECTION && close;
        !ours
    });
    let framing = [
        length
            .filter(|_| !bodiless(status))
            .map(|length| (CONTENT_LENGTH, HeaderValue::from(length))),
        close.then_some((CONNECTION, HeaderValue::from_static("close"))),
    ];
    let framing = framing.iter().flatten().map(|(name, value)| (name, value));
    for (name, value) in own.chain(framing) {
        case.write(name, &mut out);
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// Answers without a body have no `Content-Length` either (RFC 9110 section 8.6).
pub(crate) fn bodiless(status: StatusCode) -> bool {
    status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
}
