//! Where the bytes come from.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

#[cfg(feature = "async")]
use crate::BoxFuture;
use crate::{Error, FileSource};

/// Bytes that can be read at any offset, as often as a retry needs them.
///
/// Exchanges read it from threads of their own, several at once where an upload is in parts, and one
/// that hangs may still read when the next begins.
pub trait Source: Send + Sync + 'static {
    /// The length in bytes, as it was when the source was opened; `None`: it ends where it ends, and
    /// [`fill`](Self::fill) tells.
    fn length(&self) -> Option<u64>;

    /// Whether it is read as it comes, once and in order: [`fill`](Self::fill) has its bytes at hand
    /// before they are read.
    fn is_stream(&self) -> bool {
        self.length().is_none()
    }

    /// For a [stream](Self::is_stream): has the bytes before `upto` at hand, waiting for them, or all
    /// there are if it ends before. Those before `keep` will not be read again. It is called on a
    /// thread of its own.
    ///
    /// # Errors
    ///
    /// Whatever keeps the bytes from being had. It ends the upload; the checkpoint stays.
    fn fill(&self, _keep: u64, _upto: u64) -> io::Result<Filled> {
        Ok(Filled {
            upto: self.length().unwrap_or(0),
            end: true,
        })
    }

    /// The same as [`fill`](Self::fill) for a source that waits in a task; `None`: it waits on a
    /// thread.
    #[cfg(feature = "async")]
    fn fill_async(&self, _keep: u64, _upto: u64) -> Option<BoxFuture<'_, io::Result<Filled>>> {
        None
    }

    /// Reads bytes from offset `at` on, into the front of `buf`, and says how many; 0 where the
    /// source ends. Fewer than wanted is no failure.
    ///
    /// # Errors
    ///
    /// Whatever keeps the bytes from being read. It ends the upload; the checkpoint stays.
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize>;

    /// What tells this content from any other that may come under the same name, as it was when
    /// the source was opened. An upload is resumed only where it is the same.
    fn identity(&self) -> Option<&str> {
        None
    }

    /// Whether the bytes of this range are still what they were when the source was opened. It is
    /// asked before the last bytes of each body are handed over, so that a server never holds a whole
    /// mixed file.
    ///
    /// # Errors
    ///
    /// Whatever keeps that from being known. It ends the upload; the checkpoint stays.
    fn unchanged(&self, _range: Range<u64>) -> io::Result<bool> {
        Ok(true)
    }

    /// Whether reading never waits, for the bytes are in memory. A task reads such a source in place;
    /// any other is read where waiting is allowed.
    fn is_in_memory(&self) -> bool {
        false
    }

    /// The name by which a later run will know the source again: of a file, its canonical path.
    fn name(&self) -> Option<OsString> {
        None
    }

    /// The lengths of the parts that it is to be uploaded in, and joined from; `None`: it is whole.
    fn parts(&self) -> Option<Vec<u64>> {
        None
    }
}

/// What a [`Source`] that is a stream has at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Bytes before this offset can be read.
    pub upto: u64,
    /// Whether the source ends there.
    pub end: bool,
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn length(&self) -> Option<u64> {
        (**self).length()
    }

    fn is_stream(&self) -> bool {
        (**self).is_stream()
    }

    fn fill(&self, keep: u64, upto: u64) -> io::Result<Filled> {
        (**self).fill(keep, upto)
    }

    #[cfg(feature = "async")]
    fn fill_async(&self, keep: u64, upto: u64) -> Option<BoxFuture<'_, io::Result<Filled>>> {
        (**self).fill_async(keep, upto)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        (**self).read_at(buf, at)
    }

    fn identity(&self) -> Option<&str> {
        (**self).identity()
    }

    fn unchanged(&self, range: Range<u64>) -> io::Result<bool> {
        (**self).unchanged(range)
    }

    fn is_in_memory(&self) -> bool {
        (**self).is_in_memory()
    }

    fn name(&self) -> Option<OsString> {
        (**self).name()
    }

    fn parts(&self) -> Option<Vec<u64>> {
        (**self).parts()
    }
}

macro_rules! bytes_are_a_source {
    ($($bytes:ty),*) => {$(
        impl Source for $bytes {
            fn length(&self) -> Option<u64> {
                let bytes: &[u8] = self.as_ref();
                Some(bytes.len() as u64)
            }

            fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
                Ok(copy_at(self.as_ref(), buf, at))
            }

            fn is_in_memory(&self) -> bool {
                true
            }
        }
    )*};
}

bytes_are_a_source!(Bytes, Vec<u8>, &'static [u8], String, &'static str);

fn copy_at(bytes: &[u8], buf: &mut [u8], at: u64) -> usize {
    let left = usize::try_from(at)
        .ok()
        .and_then(|at| bytes.get(at..))
        .unwrap_or_default();
    let length = left.len().min(buf.len());
    buf[..length].copy_from_slice(&left[..length]);
    length
}

/// What can be uploaded: any [`Source`], and an open [`File`].
pub trait IntoSource {
    /// The source that it is.
    ///
    /// # Errors
    ///
    /// Where it is no source of a known length, such as a directory.
    fn into_source(self) -> Result<Arc<dyn Source>, Error>;
}

impl<S: Source> IntoSource for S {
    fn into_source(self) -> Result<Arc<dyn Source>, Error> {
        Ok(Arc::new(self))
    }
}

impl IntoSource for File {
    fn into_source(self) -> Result<Arc<dyn Source>, Error> {
        FileSource::from_file(self)?.into_source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_at_any_offset() {
        let source = Bytes::from_static(b"hello");
        let mut buf = [0; 3];
        assert_eq!(source.read_at(&mut buf, 0).unwrap(), 3);
        assert_eq!(&buf, b"hel");
        assert_eq!(source.read_at(&mut buf, 3).unwrap(), 2);
        assert_eq!(&buf[..2], b"lo");
        for at in [5, 6, u64::MAX] {
            assert_eq!(source.read_at(&mut buf, at).unwrap(), 0);
        }
    }
}
