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
    sources: Vec<(u64, Arc<dyn Source>)>,
    length: u64,
    identity: Option<String>,
    name: Option<OsString>,
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
            placed.push((length, source));
            length = length.checked_add(bytes).ok_or(tus_proto::Misuse::Parts)?;
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

    /// The source that has the byte at this offset, and where it begins.
    fn source_at(&self, at: u64) -> Option<&(u64, Arc<dyn Source>)> {
        let after = self.sources.partition_point(|(start, _)| *start <= at);
        self.sources.get(after.checked_sub(1)?)
    }
}

/// Of each, if each has one: as one may be long, a hash.
fn identity(sources: &[(u64, Arc<dyn Source>)]) -> Option<String> {
    let mut hash = Sha256::new();
    for (start, source) in sources {
        hash.update(start.to_be_bytes());
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
fn name(sources: &[(u64, Arc<dyn Source>)]) -> Option<OsString> {
    let names: Option<Vec<_>> = sources.iter().map(|(_, source)| source.name()).collect();
    // No name of a file has this in it.
    Some(names?.join(OsStr::new("\0")))
}

impl Source for Many {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let Some((start, source)) = self.source_at(at).filter(|_| at < self.length) else {
            return Ok(0);
        };
        // Never beyond its end, where the next one begins.
        let left = (start + source.length().unwrap_or(0)).saturating_sub(at);
        let most = usize::try_from(left).map_or(buf.len(), |left| left.min(buf.len()));
        source.read_at(&mut buf[..most], at - start)
    }

    fn identity(&self) -> Option<&str> {
        self.identity.as_deref()
    }

    fn unchanged(&self, range: Range<u64>) -> io::Result<bool> {
        for (start, source) in &self.sources {
            let end = start + source.length().unwrap_or(0);
            let (from, to) = (range.start.max(*start), range.end.min(end));
            if from < to && !source.unchanged(from - start..to - start)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn name(&self) -> Option<OsString> {
        self.name.clone()
    }

    fn parts(&self) -> Option<Vec<u64>> {
        let lengths = self.sources.iter().map(|(_, source)| source.length());
        lengths.collect()
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
    use crate::StreamSource;

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
        let stream: Arc<dyn Source> = Arc::new(StreamSource::new(io::empty()));
        assert!(matches!(
            Many::new([stream]),
            Err(Error::Misuse(tus_proto::Misuse::Uncuttable(_)))
        ));
        assert!(matches!(
            Many::new([]),
            Err(Error::Misuse(tus_proto::Misuse::Parts))
        ));
    }

    #[test]
    fn one_without_a_name_leaves_all_without() {
        assert_eq!(many(&["a", "b"]).name(), None);
        assert_eq!(many(&["a", "b"]).identity(), None);
    }
}
