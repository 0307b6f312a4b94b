//! Checkpoints on disk.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tus_proto::{Checkpoint, CheckpointError};

/// No file of the store is longer than this, in bytes: twice what a checkpoint may be.
const LIMIT: u64 = 2 << 20;
/// How often the lock's file may vanish between its opening and its locking.
const PATIENCE: u32 = 100;

/// A folder of checkpoints, so that an upload that was cut short can go on in a later run.
///
/// There is one file for each pair of a source's path and an endpoint, readable by its owner
/// alone, for it holds the whole URLs of the endpoint and the upload: no user information, but a
/// query, though that may be a secret. Its name is a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

/// One upload's place in a [`Store`], locked as long as this lives.
#[derive(Debug)]
pub struct Entry {
    folder: PathBuf,
    name: String,
    lock: File,
}

/// A checkpoint cannot be used.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process, or another call of this one, uploads the same file to the same endpoint.
    #[error("this file is already being uploaded there; wait for that to end, or stop it ({})", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
    },
    /// The file is no checkpoint, or not of this file and endpoint. It is left as it is.
    #[error(
        "the checkpoint {} cannot be used: {source}; start a fresh upload, or remove that file",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CheckpointError,
    },
    /// The file is of another upload than its name says. It is left as it is.
    #[error(
        "the checkpoint {} is of another endpoint; start a fresh upload, or remove that file",
        path.display()
    )]
    Mistaken {
        /// The file.
        path: PathBuf,
    },
    /// The folder is not one of the user's own.
    #[error("{} is not safe for checkpoints: {why}", path.display())]
    Exposed {
        /// The folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// The system refuses.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl StoreError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }
}

impl Store {
    /// The store in this folder, which is made when it is first needed. It must be a folder of its
    /// own: nobody else may write there.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// The place for uploads of the file at `path` to `endpoint`, locked.
    ///
    /// # Errors
    ///
    /// [`Busy`](StoreError::Busy) where somebody else has it; otherwise where the folder cannot be
    /// made, read or trusted.
    pub fn entry(&self, path: &Path, endpoint: &str) -> Result<Entry, StoreError> {
        let path = place(path).map_err(StoreError::io("find", path))?;
        self.entry_named(path.as_os_str(), endpoint)
    }

    /// The place for uploads of the source of this [name](crate::Source::name) to `endpoint`, locked.
    ///
    /// # Errors
    ///
    /// As [`entry`](Self::entry).
    pub fn entry_named(&self, source: &OsStr, endpoint: &str) -> Result<Entry, StoreError> {
        let folder = self.prepare()?;
        let name = name(source, endpoint);
        let lock = lock(&folder.join(format!("{name}.lock")))?;
        Ok(Entry { folder, name, lock })
    }

    /// Makes the folder, or makes sure of it.
    fn prepare(&self) -> Result<PathBuf, StoreError> {
        let folder =
            std::path::absolute(&self.folder).map_err(StoreError::io("find", &self.folder))?;
        // Without a slash at the end, which would follow a link.
        let folder: PathBuf = folder.components().collect();
        for folder in make(&folder).map_err(StoreError::io("make", &folder))? {
            sync(folder)?;
        }
        let metadata = fs::symlink_metadata(&folder).map_err(StoreError::io("read", &folder))?;
        match exposed(&metadata) {
            None => Ok(folder),
            Some(why) => Err(StoreError::Exposed { path: folder, why }),
        }
    }
}

impl Entry {
    /// The checkpoint that is there.
    ///
    /// # Errors
    ///
    /// [`Damaged`](StoreError::Damaged) where it is none; it stays where it is.
    pub fn load(&self) -> Result<Option<Checkpoint>, StoreError> {
        let path = self.path();
        let file = match options().read(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(StoreError::io("open", &path))?,
        };
        let mut bytes = Vec::new();
        file.take(LIMIT)
            .read_to_end(&mut bytes)
            .map_err(StoreError::io("read", &path))?;
        let checkpoint = match String::from_utf8(bytes) {
            Ok(text) => text.parse(),
            Err(_) => Err(CheckpointError::Damaged),
        };
        checkpoint
            .map(Some)
            .map_err(|source| StoreError::Damaged { path, source })
    }

    /// Puts this checkpoint there, durably: after a crash there is either this one or the one
    /// before. Some file systems cannot sync a folder: there it may be the one before even when this
    /// has returned.
    ///
    /// # Errors
    ///
    /// Where it cannot be written.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<(), StoreError> {
        let path = self.path();
        let new = self.new_path();
        // What a crash left behind.
        remove(&new)?;
        let write = || {
            let mut file = options().write(true).create_new(true).open(&new)?;
            file.write_all(checkpoint.to_text().as_bytes())?;
            file.sync_all()
        };
        let written = write().map_err(StoreError::io("write", &new));
        let named = || fs::rename(&new, &path).map_err(StoreError::io("write", &path));
        if let Err(error) = written.and_then(|()| named()) {
            // It may have the whole URL of the upload.
            let _ = fs::remove_file(&new);
            return Err(error);
        }
        sync(&self.folder)
    }

    /// Forgets the checkpoint that is there, if there is one.
    ///
    /// # Errors
    ///
    /// Where it cannot be removed.
    pub fn forget(&self) -> Result<(), StoreError> {
        // With what a crash left behind.
        let new = remove(&self.new_path())?;
        if remove(&self.path())? || new {
            sync(&self.folder)?;
        }
        Ok(())
    }

    /// The file of the checkpoint, whether it is there or not.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn new_path(&self) -> PathBuf {
        self.folder.join(format!("{}.new", self.name))
    }
}

impl Drop for Entry {
    /// A lock with nothing to lock goes, with what was half saved; whoever waits for it sees that
    /// (`locked`).
    fn drop(&mut self) {
        if !self.path().exists() {
            let _ = fs::remove_file(self.new_path());
            if cfg!(unix) {
                // If it stays, it does no harm.
                let _ = fs::remove_file(self.folder.join(format!("{}.lock", self.name)));
            }
        }
        let _ = self.lock.unlock();
    }
}

/// The file's canonical path. One that is gone has that all the same, by as much of its path as is there;
/// so has one that a link leads to which is still there.
fn place(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match fs::canonicalize(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => (),
        Err(_) => return Ok(path),
        found => return found,
    }
    match (path.parent(), path.file_name(), fs::read_link(&path)) {
        (Some(folder), _, Ok(target)) => place(&folder.join(target)),
        (Some(folder), Some(name), Err(_)) => Ok(place(folder)?.join(name)),
        _ => Ok(path),
    }
}

/// Makes the folder, if it is missing, with its parents: whoever may write there may exchange it. Says
/// which folders have a new one in them.
fn make(folder: &Path) -> io::Result<Vec<&Path>> {
    let missing = |folder: &&Path| fs::symlink_metadata(folder).is_err();
    let made = folder.ancestors().take_while(missing);
    let grown = made.filter_map(Path::parent).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(grown),
    }
}

/// The name of the place: it tells nobody what is uploaded to where.
fn name(source: &OsStr, endpoint: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(source.as_encoded_bytes());
    hash.update([0]);
    hash.update(without_user(endpoint));
    hash.finalize()
        .iter()
        .fold(String::new(), |mut name, byte| {
            // To a String nothing fails to be written.
            let _ = write!(name, "{byte:02x}");
            name
        })
}

/// The endpoint is the same with another password.
fn without_user(endpoint: &str) -> String {
    let Some((scheme, rest)) = endpoint.split_once("//") else {
        return endpoint.to_owned();
    };
    let (place, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    format!("{scheme}//{place}{path}")
}

fn lock(path: &Path) -> Result<File, StoreError> {
    for _ in 0..PATIENCE {
        let file = options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(StoreError::io("open", path))?;
        if let Some(file) = locked(file, path)? {
            return Ok(file);
        }
    }
    Err(StoreError::Busy {
        path: path.to_owned(),
    })
}

/// `None`: whoever had the lock removed it after `file` was opened, so that locks nothing.
fn locked(file: File, path: &Path) -> Result<Option<File>, StoreError> {
    match file.try_lock() {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => {
            return Err(StoreError::Busy {
                path: path.to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
    }
    let held = file.metadata().map_err(StoreError::io("read", path))?;
    let named = fs::symlink_metadata(path);
    Ok(named.is_ok_and(|named| same(&held, &named)).then_some(file))
}

/// Has what is in the folder survive a crash, where its file system can say so of a folder.
fn sync(folder: &Path) -> Result<(), StoreError> {
    // Elsewhere than on Unix a folder cannot be opened.
    #[cfg(unix)]
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if !cannot_sync(&error) => return Err(StoreError::io("write", folder)(error)),
        _ => (),
    }
    Ok(())
}

/// Some file systems, of networks and of users' programs, sync files and no folders, and some folders may
/// be written and not read. What was written is there all the same.
#[cfg(unix)]
fn cannot_sync(error: &io::Error) -> bool {
    use rustix::io::Errno;

    let known = [
        Errno::INVAL,
        Errno::BADF,
        Errno::NOTSUP,
        Errno::OPNOTSUPP,
        Errno::ACCESS,
        Errno::PERM,
    ];
    Errno::from_io_error(error).is_some_and(|error| known.contains(&error))
}

/// Whether there was something to remove.
fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("remove", path)(error)),
    }
}

/// For files that belong to their owner alone, and are no links to others.
#[cfg(unix)]
fn options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;

    let mut options = OpenOptions::new();
    options.mode(0o600);
    if let Ok(flag) = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()) {
        options.custom_flags(flag);
    }
    options
}

#[cfg(not(unix))]
fn options() -> OpenOptions {
    OpenOptions::new()
}

#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same(_: &Metadata, _: &Metadata) -> bool {
    true
}

#[cfg(unix)]
fn exposed(folder: &Metadata) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;

    if !folder.is_dir() {
        Some("it is not a folder; choose another")
    } else if folder.uid() != rustix::process::geteuid().as_raw() {
        Some("it belongs to another user; choose another")
    } else if folder.mode() & 0o1002 == 0o1002 {
        Some("it is a folder for everybody; choose another, or one in it")
    } else if folder.mode() & 0o022 != 0 {
        Some("others may write there; forbid it (chmod 700) or choose another")
    } else {
        None
    }
}

#[cfg(not(unix))]
fn exposed(folder: &Metadata) -> Option<&'static str> {
    (!folder.is_dir()).then_some("it is not a folder; choose another")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_paths_endpoints_and_nothing_else_apart() {
        let one = name(OsStr::new("/a/b"), "https://h/files/");
        assert_eq!(one.len(), 64);
        assert_ne!(one, name(OsStr::new("/a/c"), "https://h/files/"));
        assert_ne!(one, name(OsStr::new("/a/b"), "https://h/files"));
        assert_ne!(name(OsStr::new("/a"), "b"), name(OsStr::new("/"), "ab"));
        assert_eq!(
            one,
            name(OsStr::new("/a/b"), "https://user:p%40ss@h/files/")
        );
        assert_ne!(
            name(OsStr::new("/a"), "https://h/x@y"),
            name(OsStr::new("/a"), "https://h/z@y")
        );
    }

    #[test]
    fn a_folder_that_is_made_is_new_in_the_one_above() {
        let folder = tempfile::TempDir::new().unwrap();
        let above = folder.path().join("a");
        let place = above.join("b");
        assert_eq!(make(&place).unwrap(), [&*above, folder.path()]);
        assert!(place.is_dir());
        assert_eq!(make(&place).unwrap(), [] as [&Path; 0]);
        fs::remove_dir(&place).unwrap();
        assert_eq!(make(&place).unwrap(), [&*above]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_synced_is_no_failure_and_one_that_fails_is() {
        use rustix::io::Errno;

        let table = [
            (Errno::INVAL, true),
            (Errno::BADF, true),
            (Errno::NOTSUP, true),
            (Errno::OPNOTSUPP, true),
            (Errno::IO, false),
            (Errno::NOSPC, false),
            (Errno::ROFS, false),
            (Errno::ACCESS, true),
            (Errno::PERM, true),
        ];
        for (error, expected) in table {
            assert_eq!(cannot_sync(&error.into()), expected, "{error}");
        }
        assert!(!cannot_sync(&ErrorKind::InvalidInput.into()));
        #[cfg(target_os = "linux")]
        sync(Path::new("/proc")).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_that_was_removed_locks_nothing() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.lock");
        let open = || {
            options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .unwrap()
        };
        let first = open();
        let late = open();
        fs::remove_file(&path).unwrap();
        assert!(locked(late, &path).unwrap().is_none());
        // Or there is another one by now.
        let second = lock(&path).unwrap();
        assert!(locked(first, &path).unwrap().is_none());
        assert!(matches!(
            locked(open(), &path),
            Err(StoreError::Busy { .. })
        ));
        drop(second);
        assert!(locked(open(), &path).unwrap().is_some());
    }
}
