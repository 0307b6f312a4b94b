//! Several sources as one.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{Error, Source};

/// Several sources, one after the other, each a part of one upload.
#[derive(Clone)]
pub struct Many {
    sources: Vec<Placed>,
    length: u64,
    identity: Option<String>,
    name: Option<OsString>,
}

/// One of them, with its bytes as they were when it was taken in.
#[derive(Clone)]
struct Placed {
    range: Range<u64>,
    source: Arc<dyn Source>,
}

impl Many {
    /// These, in this order.
    ///
    /// # Errors
    ///
    /// Where there is none, or the length of one is not known.
    pub fn new(sources: impl IntoIterator<Item = Arc<dyn Source>>) -> Result<Self, Error> {
        let mut placed = Vec::new();
        let mut length = 0_u64;
        let unsuited = |why| Error::Misuse(tus_proto::Misuse::Uncuttable(why));
        for source in sources {
            let bytes = source
                .length()
                .ok_or(unsuited("the length of one of its sources is not known"))?;
            if source.is_stream() {
                return Err(unsuited("one of its sources is read as it comes"));
            }
            let end = length.checked_add(bytes).ok_or(tus_proto::Misuse::Parts)?;
            placed.push(Placed {
                range: length..end,
                source,
            });
            length = end;
        }
        if placed.is_empty() {
            return Err(tus_proto::Misuse::Parts.into());
        }
        Ok(Self {
            identity: identity(&placed),
            name: name(&placed),
            sources: placed,
            length,
        })
    }

    /// The source that has the byte at this offset.
    fn source_at(&self, at: u64) -> Option<&Placed> {
        let after = self
            .sources
            .partition_point(|placed| placed.range.start <= at);
        let placed = self.sources.get(after.checked_sub(1)?)?;
        placed.range.contains(&at).then_some(placed)
    }
}

/// Of each, if each has one: as one may be long, a hash. A single one has its own, as it has its own
/// name.
fn identity(sources: &[Placed]) -> Option<String> {
    if let [only] = sources {
        return only.source.identity().map(str::to_owned);
    }
    let mut hash = Sha256::new();
    for Placed { range, source } in sources {
        hash.update(range.start.to_be_bytes());
        hash.update(source.identity()?);
        hash.update([0]);
    }
    Some(
        hash.finalize()
            .iter()
            .fold(String::new(), |mut text, byte| {
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            }),
    )
}

/// Of each, if each has one.
fn name(sources: &[Placed]) -> Option<OsString> {
    let names: Option<Vec<_>> = sources.iter().map(|placed| placed.source.name()).collect();
    // No name of a file has this in it.
    Some(names?.join(OsStr::new("\0")))
}

impl Source for Many {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let Some(Placed { range, source }) = self.source_at(at) else {
            return Ok(0);
        };
        // Never beyond its end, where the next one begins.
        let most = usize::try_from(range.end - at).map_or(buf.len(), |left| left.min(buf.len()));
        let read = source.read_at(&mut buf[..most], at - range.start)?;
        if read > most {
            // What follows in the buffer is not the source's.
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "it says that it read more than was asked for",
            ));
        }
        Ok(read)
    }

    fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    fn unchanged(&self, asked: Range<u64>) -> io::Result<bool> {
        for Placed { range, source } in &self.sources {
            let (from, to) = (asked.start.max(range.start), asked.end.min(range.end));
            if from < to && !source.unchanged(from - range.start..to - range.start)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_in_memory(&self) -> bool {
        self.sources
            .iter()
            .all(|placed| placed.source.is_in_memory())
    }

    fn name(&self) -> Option<OsString> {
        self.name.clone()
    }

    fn parts(&self) -> Option<Vec<u64>> {
        let ranges = self.sources.iter().map(|placed| &placed.range);
        Some(ranges.map(|range| range.end - range.start).collect())
    }
}

impl std::fmt::Debug for Many {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Many")
            .field("sources", &self.sources.len())
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReaderSource;

    fn many(texts: &[&'static str]) -> Many {
        let sources = texts.iter().map(|text| Arc::new(*text) as Arc<dyn Source>);
        Many::new(sources).unwrap()
    }

    #[test]
    fn several_are_read_as_one() {
        let source = many(&["", "he", "", "l", "lo", ""]);
        assert_eq!(source.length(), Some(5));
        assert_eq!(source.parts(), Some(vec![0, 2, 0, 1, 2, 0]));
        let mut read = Vec::new();
        let mut buf = [0; 4];
        loop {
            match source.read_at(&mut buf, read.len() as u64).unwrap() {
                0 => break,
                count => read.extend_from_slice(&buf[..count]),
            }
        }
        assert_eq!(read, b"hello");
        assert_eq!(source.read_at(&mut buf, u64::MAX).unwrap(), 0);
    }

    #[test]
    fn what_has_no_length_or_no_source_is_refused() {
        let stream = || ReaderSource::new(io::empty());
        for stream in [stream(), stream().with_length(0)] {
            let stream: Arc<dyn Source> = Arc::new(stream);
            assert!(matches!(
                Many::new([stream]),
                Err(Error::Misuse(tus_proto::Misuse::Uncuttable(_)))
            ));
        }
        assert!(matches!(
            Many::new([]),
            Err(Error::Misuse(tus_proto::Misuse::Parts))
        ));
    }

    #[test]
    fn one_that_says_it_read_too_much_is_not_believed() {
        struct Lies;
        impl Source for Lies {
            fn length(&self) -> Option<u64> {
                Some(2)
            }

            fn read_at(&self, buf: &mut [u8], _: u64) -> io::Result<usize> {
                Ok(buf.len() + 1)
            }
        }
        let source = Many::new([Arc::new(Lies) as Arc<dyn Source>, Arc::new("llo")]).unwrap();
        for at in 0..2 {
            let error = source.read_at(&mut [0; 4], at).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(source.read_at(&mut [0; 4], 2).unwrap(), 3);
    }

    #[test]
    fn one_without_a_name_leaves_all_without() {
        assert_eq!(many(&["a", "b"]).name(), None);
        assert_eq!(many(&["a", "b"]).identity(), None);
    }
}
