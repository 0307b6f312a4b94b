//! Where the bytes come from.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Error, FileSource};

/// Bytes of a known length that can be read at any offset, as often as a retry needs them.
///
/// Exchanges read it from threads of their own, and one that hangs may still read when the next
/// begins.
pub trait Source: Send + Sync + 'static {
    /// The length in bytes, as it was when the source was opened.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
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

    /// Whether the content is still what it was when the source was opened. It is asked before the
    /// last bytes of each body are handed over, so that a server never holds a whole mixed file.
    ///
    /// # Errors
    ///
    /// Whatever keeps that from being known. It ends the upload; the checkpoint stays.
    fn unchanged(&self) -> io::Result<bool> {
        Ok(true)
    }

    /// The path, canonical, by which a later run will know the source again.
    fn path(&self) -> Option<&Path> {
        None
    }
}

impl<S: Source + ?Sized> Source for Arc<S> {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        (**self).read_at(buf, at)
    }

    fn identity(&self) -> Option<&str> {
        (**self).identity()
    }

    fn unchanged(&self) -> io::Result<bool> {
        (**self).unchanged()
    }

    fn path(&self) -> Option<&Path> {
        (**self).path()
    }
}

macro_rules! bytes_are_a_source {
    ($($bytes:ty),*) => {$(
        impl Source for $bytes {
            fn len(&self) -> u64 {
                let bytes: &[u8] = self.as_ref();
                bytes.len() as u64
            }

            fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
                Ok(copy_at(self.as_ref(), buf, at))
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
