//! Which bytes the next request carries, and what is to be asked of the source before.

use bytes::Bytes;

use crate::chunk::Chunk;
use crate::lane::failure;
use crate::{
    Algorithm, Answer, Body, Config, Conflict, Duty, Extension, Failure, FailureKind, Misuse,
};

/// What the source can give, and what goes with it.
#[derive(Debug)]
pub(crate) struct Supply {
    pub(crate) chunk: Chunk,
    /// The source ends where it ends; `None`: its length is known.
    stream: Option<Stream>,
    checksum: Option<Checksum>,
    /// What was asked of the source last is bytes, and not a digest of them.
    reading: bool,
}

/// A source that is read as it comes.
#[derive(Debug, Default)]
struct Stream {
    /// Bytes before this are not to be had any more.
    kept: u64,
    /// Bytes before this are at hand.
    upto: u64,
    ended: bool,
    /// The offset for which it was last asked: again only if that was not enough.
    asked: Option<u64>,
    /// If it has not ended, it must give more than the bytes before this.
    beyond: u64,
}

#[derive(Debug)]
struct Checksum {
    algorithm: Algorithm,
    /// It follows the body, and the transport computes it.
    trailer: bool,
    digest: Option<(Body, Bytes)>,
}

/// Why the bytes cannot be had.
#[derive(Debug)]
pub(crate) enum Shortage {
    Failed(Failure),
    Conflict(Conflict),
}

impl Supply {
    pub(crate) fn new(is_stream: bool, config: &Config) -> Result<Self, Misuse> {
        config.check()?;
        let trailer = config.trailers && config.offered(Extension::ChecksumTrailer) == Some(true);
        let checksum = config.checksum()?.map(|algorithm| Checksum {
            algorithm,
            trailer,
            digest: None,
        });
        Ok(Self {
            chunk: Chunk::new(config, is_stream || checksum.is_some()),
            stream: is_stream.then(Stream::default),
            checksum,
            reading: false,
        })
    }

    /// What must be asked of the source for a request from this offset on, if the whole has this
    /// length.
    pub(crate) fn prepare(&mut self, from: u64, length: Option<u64>) -> Option<Duty> {
        if let Some(stream) = self.stream.as_mut().filter(|stream| !stream.ended) {
            let upto = from.saturating_add(self.chunk.size(u64::MAX));
            // One byte more shows that the source ends where the server says.
            let upto = match length {
                Some(length) if upto >= length => length.saturating_add(1),
                _ => upto,
            };
            let again = stream.asked == Some(from);
            let enough = self.chunk.suffices(stream.upto.saturating_sub(from))
                && length.is_none_or(|length| stream.upto < length);
            if stream.upto < upto && !(again && enough) {
                stream.beyond = if again { stream.upto } else { from };
                stream.asked = Some(from);
                stream.kept = stream.kept.max(from);
                self.reading = true;
                return Some(Duty::Read { keep: from, upto });
            }
        }
        let range = self.body(from, length);
        let checksum = self
            .checksum
            .as_ref()
            .filter(|checksum| !checksum.trailer)?;
        let is_known = matches!(&checksum.digest, Some((digested, _)) if *digested == range);
        (!range.is_empty() && !is_known).then(|| Duty::Digest {
            algorithm: checksum.algorithm.clone(),
            range,
        })
    }

    /// Takes the answer to that. Gives the length of the source, once it is known by this.
    pub(crate) fn prepared(
        &mut self,
        from: u64,
        length: Option<u64>,
        answer: Answer,
    ) -> Result<Option<u64>, Shortage> {
        let range = self.body(from, length);
        let reading = std::mem::take(&mut self.reading);
        match (answer, &mut self.stream, &mut self.checksum) {
            (Answer::Available { upto, end }, Some(stream), _) if reading => {
                stream.take(from, length, upto, end)
            }
            (Answer::Digest(digest), _, Some(checksum)) if !reading => {
                let bytes = digest.len();
                if !checksum.algorithm.fits(bytes) {
                    return Err(Shortage::source(format!(
                        "a digest of {bytes} bytes is none of {}",
                        checksum.algorithm
                    )));
                }
                checksum.digest = Some((range, digest));
                Ok(None)
            }
            (other, ..) => Err(Shortage::Failed(failure(other))),
        }
    }

    /// The bytes of a request from this offset on.
    pub(crate) fn body(&self, from: u64, length: Option<u64>) -> Body {
        let left = |upto: u64| upto.saturating_sub(from);
        let size = match &self.stream {
            Some(stream) if !stream.ended => self.chunk.part(left(stream.upto)),
            _ => self.chunk.size(left(length.unwrap_or(u64::MAX))),
        };
        from..from.saturating_add(size)
    }

    /// What goes into its head.
    pub(crate) fn digest(&self) -> Option<(&Algorithm, &[u8])> {
        let checksum = self.checksum.as_ref()?;
        let (_, digest) = checksum.digest.as_ref()?;
        Some((&checksum.algorithm, digest))
    }

    /// What follows it.
    pub(crate) fn trailer(&self) -> Option<&Algorithm> {
        let checksum = self.checksum.as_ref()?;
        checksum.trailer.then_some(&checksum.algorithm)
    }

    pub(crate) fn has_checksum(&self) -> bool {
        self.checksum.is_some()
    }

    /// The bytes that arrived were others: they are digested anew.
    pub(crate) fn forget_digest(&mut self) {
        if let Some(checksum) = &mut self.checksum {
            checksum.digest = None;
        }
    }

    /// Why the whole cannot be so long: the source gave more.
    pub(crate) fn overrun(&self, length: u64) -> Option<Conflict> {
        let upto = self.stream.as_ref().map_or(0, |stream| stream.upto);
        (upto > length).then_some(Conflict::Length {
            server: length,
            source_length: upto,
        })
    }

    /// Whether the source may have any number of bytes yet.
    pub(crate) fn is_open(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| !stream.ended)
    }

    /// The first byte that the source can still give.
    pub(crate) fn kept(&self) -> u64 {
        self.stream.as_ref().map_or(0, |stream| stream.kept)
    }
}

impl Stream {
    fn take(
        &mut self,
        from: u64,
        length: Option<u64>,
        upto: u64,
        end: bool,
    ) -> Result<Option<u64>, Shortage> {
        let wrong_length = |server| {
            Err(Shortage::Conflict(Conflict::Length {
                server,
                source_length: upto,
            }))
        };
        match length {
            Some(length) if upto > length || end && upto < length => return wrong_length(length),
            // It has fewer bytes than the server was sent before.
            _ if end && upto < from => {
                return Err(Shortage::Conflict(Conflict::Offset {
                    server: from,
                    reach: upto,
                }));
            }
            _ if end && upto < self.upto => {
                return Err(Shortage::source("it ends before bytes that it had"));
            }
            _ if !end && upto <= self.beyond => {
                return Err(Shortage::source("it gave no byte, and has not ended"));
            }
            _ => (),
        }
        self.upto = self.upto.max(upto);
        self.ended = end;
        Ok(end.then_some(upto))
    }
}

impl Shortage {
    fn source(message: impl Into<String>) -> Self {
        Self::Failed(Failure::new(FailureKind::Source, message))
    }
}
