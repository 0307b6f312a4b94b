//! Sources that are read as they come.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Filled, Source};

/// How much is read at once, and kept in one piece, in bytes (64 KiB).
pub(crate) const BLOCK: usize = 64 * 1024;

/// A reader that is read once, from its first byte to its last, such as a pipe.
///
/// What the server may still ask for again is kept: one request's worth, and less than 64 KiB more.
pub struct ReaderSource<R> {
    /// Apart from the rest, for a read may wait for long. With it what it reads into, which is there
    /// once: each thread's own would stay in the allocator.
    reader: Mutex<(R, Box<[u8]>)>,
    kept: Mutex<Kept>,
    length: Option<u64>,
}

/// The bytes that are at hand.
#[derive(Default)]
pub(crate) struct Kept {
    /// Where the first block begins.
    start: u64,
    /// All full, but for the last.
    blocks: VecDeque<Block>,
    ended: bool,
    failed: bool,
    /// Those that are not needed now, but for the next request.
    spare: Vec<Block>,
}

struct Block {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Block {
    fn new() -> Self {
        Self {
            bytes: vec![0; BLOCK].into(),
            filled: 0,
        }
    }
}

/// What is to be done to have more bytes at hand.
pub(crate) enum Want {
    Nothing(Filled),
    /// To read at most so many.
    Read(usize),
}

impl Kept {
    fn end(&self) -> u64 {
        let full = self.blocks.len().saturating_sub(1) as u64 * BLOCK as u64;
        let last = self.blocks.back().map_or(0, |block| block.filled as u64);
        self.start + full + last
    }

    /// Blocks that are wholly before this offset go.
    fn drop_before(&mut self, keep: u64) {
        while let Some(first) = self.blocks.front()
            && first.filled == BLOCK
            && self.start + BLOCK as u64 <= keep
        {
            self.start += BLOCK as u64;
            self.spare.extend(self.blocks.pop_front());
        }
    }

    /// Drops the bytes before `keep`, and says what is to be done to have those before `upto`.
    ///
    /// Until [`took`](Self::took) says what has come of a read, the source has failed: should it panic,
    /// bytes may be lost.
    pub(crate) fn want(&mut self, keep: u64, upto: u64) -> io::Result<Want> {
        self.drop_before(keep);
        let end = self.end();
        if self.failed {
            return Err(io::Error::other("the source failed before"));
        }
        if self.ended || end >= upto {
            return Ok(Want::Nothing(Filled {
                upto: end,
                end: self.ended,
            }));
        }
        self.failed = true;
        // No further than what is wanted, but in whole pieces: a pipe gives what it has.
        let wanted = usize::try_from(upto - end).map_or(BLOCK, |wanted| wanted.min(BLOCK));
        Ok(Want::Read(wanted))
    }

    /// Takes what was read into `piece`, which is as long as what was wanted.
    pub(crate) fn took(&mut self, piece: &[u8], read: io::Result<usize>) -> io::Result<()> {
        match read {
            Ok(0) => self.ended = true,
            Ok(read) => match piece.get(..read) {
                Some(bytes) => self.push(bytes),
                None => {
                    return Err(io::Error::other(
                        "it says that it read more than was asked for",
                    ));
                }
            },
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // What it would give next is not what comes next.
            Err(error) => return Err(error),
        }
        self.failed = false;
        Ok(())
    }

    /// Nothing was read yet.
    #[cfg(feature = "async")]
    pub(crate) fn waits(&mut self) {
        self.failed = false;
    }

    /// See [`Source::read_at`].
    pub(crate) fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let Some(offset) = at.checked_sub(self.start) else {
            return Err(io::Error::other("these bytes are not kept any more"));
        };
        let block = usize::try_from(offset / BLOCK as u64).unwrap_or(usize::MAX);
        // Less than a block.
        let from = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
        let Some(block) = self.blocks.get(block) else {
            return Ok(0);
        };
        let left = block.bytes[..block.filled].get(from..).unwrap_or_default();
        let length = left.len().min(buf.len());
        buf[..length].copy_from_slice(&left[..length]);
        Ok(length)
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.blocks.back().is_none_or(|block| block.filled == BLOCK) {
                let mut block = self.spare.pop().unwrap_or_else(Block::new);
                block.filled = 0;
                self.blocks.push_back(block);
            }
            let Some(block) = self.blocks.back_mut() else {
                return;
            };
            let fits = bytes.len().min(BLOCK - block.filled);
            block.bytes[block.filled..block.filled + fits].copy_from_slice(&bytes[..fits]);
            block.filled += fits;
            bytes = &bytes[fits..];
        }
    }
}

impl<R: Read + Send + 'static> ReaderSource<R> {
    /// Takes a reader, which ends where it ends; its next byte is the upload's first, also where an
    /// upload goes on.
    pub fn new(reader: R) -> Self {
        Self {
            reader: Mutex::new((reader, vec![0; BLOCK].into())),
            kept: Mutex::default(),
            length: None,
        }
    }

    /// Says how many bytes it has. The upload is created with that, which every server understands; a
    /// reader that has fewer or more ends it.
    ///
    /// That it ends there is made sure of before the last bytes are sent: a reader that stays open after
    /// them, such as a connection, is to be limited to that length.
    #[must_use]
    pub fn with_length(self, bytes: u64) -> Self {
        Self {
            length: Some(bytes),
            ..self
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        lock(&self.kept)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<R: Read + Send + 'static> Source for ReaderSource<R> {
    fn length(&self) -> Option<u64> {
        self.length
    }

    fn is_stream(&self) -> bool {
        true
    }

    fn fill(&self, keep: u64, upto: u64) -> io::Result<Filled> {
        let mut reader = lock(&self.reader);
        let (reader, piece) = &mut *reader;
        loop {
            let wanted = match self.kept().want(keep, upto)? {
                Want::Nothing(filled) => return Ok(filled),
                Want::Read(wanted) => wanted,
            };
            let piece = &mut piece[..wanted];
            let read = reader.read(piece);
            self.kept().took(piece, read)?;
        }
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        self.kept().read_at(buf, at)
    }

    fn is_in_memory(&self) -> bool {
        true
    }
}

impl<R> fmt::Debug for ReaderSource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReaderSource").finish_non_exhaustive()
    }
}

/// A reader that can be set back, from its first byte to its last.
pub struct SeekSource<R> {
    reader: Mutex<R>,
    length: u64,
}

impl<R: Read + Seek + Send + 'static> SeekSource<R> {
    /// Takes a reader.
    ///
    /// # Errors
    ///
    /// Where it does not find its end.
    pub fn new(mut reader: R) -> io::Result<Self> {
        let length = reader.seek(SeekFrom::End(0))?;
        Ok(Self {
            reader: Mutex::new(reader),
            length,
        })
    }
}

impl<R: Read + Seek + Send + 'static> Source for SeekSource<R> {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut reader = lock(&self.reader);
        reader.seek(SeekFrom::Start(at))?;
        reader.read(buf)
    }
}

impl<R> fmt::Debug for SeekSource<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeekSource")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte more at each read, up to so many in all.
    struct Growing {
        next: usize,
        given: u64,
        length: u64,
    }

    impl Read for Growing {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.next += 1;
            let left = usize::try_from(self.length - self.given).unwrap();
            let read = self.next.min(buf.len()).min(left);
            for (n, byte) in buf[..read].iter_mut().enumerate() {
                *byte = at(self.given + n as u64);
            }
            self.given += read as u64;
            Ok(read)
        }
    }

    fn at(offset: u64) -> u8 {
        u8::try_from(offset.wrapping_mul(2_654_435_761) >> 24 & 0xff).unwrap()
    }

    fn growing(length: u64) -> ReaderSource<Growing> {
        ReaderSource::new(Growing {
            next: 0,
            given: 0,
            length,
        })
    }

    fn read(source: &impl Source, from: u64, to: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        let mut done = 0;
        while done < bytes.len() {
            match source
                .read_at(&mut bytes[done..], from + done as u64)
                .unwrap()
            {
                0 => break,
                read => done += read,
            }
        }
        bytes.truncate(done);
        bytes
    }

    #[test]
    fn a_stream_is_filled_as_far_as_is_wanted_and_read_again() {
        let length = 1_000_003;
        let source = growing(length);
        let expected = |from: u64, to: u64| (from..to).map(at).collect::<Vec<_>>();
        let mut from = 0;
        loop {
            let filled = source.fill(from, from + 200_000).unwrap();
            assert_eq!(filled.upto, length.min(from + 200_000));
            for _ in 0..2 {
                assert_eq!(
                    read(&source, from, filled.upto),
                    expected(from, filled.upto)
                );
            }
            let kept = source.kept();
            let blocks = (kept.blocks.len() + kept.spare.len()) * BLOCK;
            drop(kept);
            assert!(blocks <= 200_000 + 2 * BLOCK, "{blocks} bytes are kept");
            if filled.end {
                break;
            }
            from = filled.upto;
        }
        assert!(source.read_at(&mut [0; 8], 0).is_err(), "they are dropped");
    }

    #[test]
    fn an_empty_stream_ends_at_once() {
        let filled = growing(0).fill(0, 10).unwrap();
        assert_eq!((filled.upto, filled.end), (0, true));
    }

    #[test]
    fn what_failed_once_fails_for_good() {
        struct Once(bool);
        impl Read for Once {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    buf[0] = 1;
                    Ok(1)
                } else {
                    Err(io::Error::other("once"))
                }
            }
        }
        let source = ReaderSource::new(Once(false));
        assert_eq!(source.fill(0, 10).unwrap_err().to_string(), "once");
        assert!(source.fill(0, 10).is_err());
    }

    #[test]
    fn what_panicked_once_fails_for_good() {
        struct Panics(bool);
        impl Read for Panics {
            fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
                assert!(std::mem::replace(&mut self.0, true), "by design");
                buf[0] = 1;
                Ok(1)
            }
        }
        let source = ReaderSource::new(Panics(false));
        let fill = || source.fill(0, 10);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(fill)).is_err());
        assert!(source.fill(0, 10).is_err(), "nobody knows what it had read");
    }

    #[test]
    fn a_reader_that_seeks_is_read_at_any_offset() {
        let source = SeekSource::new(io::Cursor::new(b"hello".to_vec())).unwrap();
        assert_eq!(source.length(), Some(5));
        assert_eq!(read(&source, 3, 5), b"lo");
        assert_eq!(read(&source, 0, 5), b"hello");
        assert_eq!(read(&source, 5, 9), b"");
    }
}
