//! Files.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::{Error, Source};

/// A regular file, read at offsets, and known again by size, modification time and (on Unix) inode.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    path: Option<PathBuf>,
    length: u64,
    identity: String,
}

impl FileSource {
    /// Opens the file at this path.
    ///
    /// # Errors
    ///
    /// Where it cannot be opened, is a directory, or is anything else that has no length of its
    /// own, such as a pipe.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let open = || {
            // Before the file is opened: to open a pipe would wait for whoever writes to it.
            regular(&fs::metadata(path)?)?;
            let canonical = fs::canonicalize(path)?;
            Self::describe(File::open(&canonical)?, Some(canonical))
        };
        open().map_err(|source| Error::Source {
            path: Some(path.to_owned()),
            source,
        })
    }

    /// Takes a file that is open for reading. It has no path, so it cannot be resumed from a store.
    ///
    /// # Errors
    ///
    /// Where it is not a regular file.
    pub fn from_file(file: File) -> Result<Self, Error> {
        Self::describe(file, None).map_err(|source| Error::Source { path: None, source })
    }

    fn describe(file: File, path: Option<PathBuf>) -> io::Result<Self> {
        let metadata = file.metadata()?;
        regular(&metadata)?;
        let source = Self {
            file,
            path,
            length: metadata.len(),
            identity: identity(&metadata)?,
        };
        // Some systems' files have no size and yet bytes, such as those in /proc.
        if source.length == 0 && source.read_at(&mut [0], 0)? > 0 {
            return Err(unsized_file());
        }
        Ok(source)
    }
}

impl Source for FileSource {
    fn length(&self) -> Option<u64> {
        Some(self.length)
    }

    #[cfg(unix)]
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buf, at)
    }

    #[cfg(windows)]
    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buf, at)
    }

    fn identity(&self) -> Option<&str> {
        Some(&self.identity)
    }

    fn unchanged(&self, _: Range<u64>) -> io::Result<bool> {
        Ok(identity(&self.file.metadata()?)? == self.identity)
    }

    fn name(&self) -> Option<OsString> {
        self.path.as_ref().map(|path| path.as_os_str().to_owned())
    }
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_dir() {
        Err(io::Error::new(
            io::ErrorKind::IsADirectory,
            "it is a directory; upload its files one by one",
        ))
    } else if !metadata.is_file() {
        Err(unsized_file())
    } else {
        Ok(())
    }
}

fn unsized_file() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not a regular file, so its length is not known; send it as a stream, or copy it to one first",
    )
}

/// The device is left out: on network and stacked file systems its number changes with each mount.
fn identity(metadata: &Metadata) -> io::Result<String> {
    let (sign, modified) = match metadata.modified()?.duration_since(UNIX_EPOCH) {
        Ok(after) => ("", after),
        Err(error) => ("-", error.duration()),
    };
    Ok(format!(
        "{}-{sign}{}.{:09}-{}",
        metadata.len(),
        modified.as_secs(),
        modified.subsec_nanos(),
        inode(metadata),
    ))
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    0
}
