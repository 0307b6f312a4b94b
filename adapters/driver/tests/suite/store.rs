//! Checkpoints on disk.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tus_driver::{Entry, Store, StoreError};
use tus_proto::Checkpoint;

const ENDPOINT: &str = "https://server.test/files/";

fn checkpoint(length: u64) -> Checkpoint {
    // As the core prints it.
    let body = format!(
        "tus-checkpoint 1\nendpoint {ENDPOINT}\nurl {ENDPOINT}1\nlength {length}\nspoke yes\n"
    );
    let seal = body.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    format!("{body}end {seal:016x}\n").parse().unwrap()
}

struct Place {
    folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("a.bin");
        fs::write(&file, "content").unwrap();
        Self { folder, file }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state").join("tus")
    }

    fn store(&self) -> Store {
        Store::at(self.path())
    }

    fn entry(&self) -> Result<Entry, StoreError> {
        self.store().entry(&self.file, ENDPOINT)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn what_is_saved_is_loaded_until_it_is_forgotten() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    assert_eq!(entry.load().unwrap(), None);
    entry.save(&checkpoint(1)).unwrap();
    entry.save(&checkpoint(2)).unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(2)));
    drop(entry);
    let entry = place.entry().unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(2)));
    entry.forget().unwrap();
    entry.forget().unwrap();
    assert_eq!(entry.load().unwrap(), None);
}

#[test]
fn each_file_and_endpoint_has_its_own() {
    let place = Place::new();
    let other = place.folder.path().join("b.bin");
    fs::write(&other, "content").unwrap();
    let entry = place.entry().unwrap();
    entry.save(&checkpoint(1)).unwrap();
    for (path, endpoint) in [
        (&other, ENDPOINT),
        (&place.file, "https://server.test/others/"),
    ] {
        assert_eq!(
            place.store().entry(path, endpoint).unwrap().load().unwrap(),
            None
        );
    }
}

#[test]
fn a_path_is_the_same_however_it_is_written() {
    let place = Place::new();
    place.entry().unwrap().save(&checkpoint(1)).unwrap();
    let roundabout = place
        .folder
        .path()
        .join(".")
        .join("state")
        .join("..")
        .join("a.bin");
    let entry = place.store().entry(&roundabout, ENDPOINT).unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(1)));
    drop(entry);
    // A file that is gone by now is at no other place than before.
    fs::remove_file(&place.file).unwrap();
    let entry = place.entry().unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(1)));
}

#[cfg(unix)]
#[test]
fn a_file_that_is_gone_with_its_folder_is_where_it_was() {
    let place = Place::new();
    let root = place.folder.path();
    fs::create_dir_all(root.join("disk/photos")).unwrap();
    fs::write(root.join("disk/photos/a.bin"), b"hello").unwrap();
    std::os::unix::fs::symlink(root.join("disk/photos"), root.join("photos")).unwrap();
    std::os::unix::fs::symlink("photos/a.bin", root.join("a.link")).unwrap();
    let entry = |path: &str| place.store().entry(&root.join(path), ENDPOINT).unwrap();
    entry("photos/a.bin").save(&checkpoint(1)).unwrap();
    for (path, gone) in [
        ("a.link", "disk/photos/a.bin"),
        ("photos/a.bin", "disk/photos"),
        ("a.link", "disk"),
        ("disk/photos/a.bin", "photos"),
    ] {
        let gone = root.join(gone);
        let _ = fs::remove_dir_all(&gone).or_else(|_| fs::remove_file(&gone));
        assert!(!gone.exists());
        assert_eq!(entry(path).load().unwrap(), Some(checkpoint(1)), "{path}");
    }
}

#[test]
fn an_entry_is_locked_as_long_as_it_lives() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    let error = place.entry().unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    assert!(
        error.to_string().contains("already being uploaded"),
        "{error}"
    );
    drop(entry);
    place.entry().unwrap();
}

#[test]
fn nothing_is_left_of_what_is_done() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    entry.save(&checkpoint(1)).unwrap();
    assert_eq!(place.names().len(), 2);
    entry.forget().unwrap();
    drop(entry);
    #[cfg(unix)]
    assert_eq!(place.names(), [""; 0]);
    drop(place.entry().unwrap());
}

#[test]
fn damage_is_told_and_left_alone() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    for rubbish in [&b""[..], b"rubbish", b"\xFF\xFE", &vec![b'a'; 3 << 20]] {
        fs::write(entry.path(), rubbish).unwrap();
        let error = entry.load().unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("start a fresh upload, or remove that file"),
            "{error}"
        );
        assert_eq!(fs::read(entry.path()).unwrap(), rubbish);
    }
    let text = checkpoint(1).to_text();
    fs::write(entry.path(), &text[..text.len() - 1]).unwrap();
    assert!(matches!(entry.load(), Err(StoreError::Damaged { .. })));
}

#[test]
fn what_a_crash_left_behind_is_no_hindrance() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    entry.save(&checkpoint(1)).unwrap();
    fs::write(entry.path().with_extension("new"), "half of a check").unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(1)));
    entry.save(&checkpoint(2)).unwrap();
    assert_eq!(entry.load().unwrap(), Some(checkpoint(2)));
    assert!(!entry.path().with_extension("new").exists());
}

#[test]
fn a_save_that_fails_leaves_the_one_before() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    entry.save(&checkpoint(1)).unwrap();
    // A folder in the way of the new file, with something in it.
    let new = entry.path().with_extension("new");
    fs::create_dir_all(new.join("a")).unwrap();
    assert!(matches!(
        entry.save(&checkpoint(2)),
        Err(StoreError::Io { .. })
    ));
    assert_eq!(entry.load().unwrap(), Some(checkpoint(1)));
}

#[test]
fn a_save_that_fails_leaves_nothing_of_its_own() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    // A folder where the checkpoint is to go, with something in it.
    fs::create_dir_all(entry.path().join("a")).unwrap();
    assert!(matches!(
        entry.save(&checkpoint(1)),
        Err(StoreError::Io { .. })
    ));
    assert!(!entry.path().with_extension("new").exists());
}

#[test]
fn what_was_half_saved_goes_with_the_lock() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    let new = entry.path().with_extension("new");
    fs::write(&new, "a capability").unwrap();
    drop(entry);
    assert!(!new.exists());
}

#[cfg(unix)]
mod unix {
    use std::io::Write as _;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn files_are_their_owners_alone() {
        let place = Place::new();
        let entry = place.entry().unwrap();
        entry.save(&checkpoint(1)).unwrap();
        assert_eq!(mode(&place.path()), 0o700);
        for name in place.names() {
            assert_eq!(mode(&place.path().join(name)), 0o600);
        }
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_refused() {
        let place = Place::new();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(place.path())
            .unwrap();
        for bad in [0o777, 0o720, 0o702] {
            fs::set_permissions(place.path(), PermissionsExt::from_mode(bad)).unwrap();
            let error = place.entry().unwrap_err();
            assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
        }
        // A folder for everybody, such as /tmp, must stay so.
        for (mode, forbid) in [(0o777, true), (0o1777, false)] {
            fs::set_permissions(place.path(), PermissionsExt::from_mode(mode)).unwrap();
            let error = place.entry().unwrap_err();
            assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
            assert_eq!(error.to_string().contains("chmod"), forbid, "{error}");
        }
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        place.entry().unwrap();
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        let place = Place::new();
        drop(place.entry().unwrap());
        let uid = fs::metadata(place.path()).unwrap().uid();
        if let Err(error) = chown(place.path(), Some(uid + 1), None) {
            // Not by a macro, whose words are only shown of a test that fails.
            let mut stderr = std::io::stderr();
            writeln!(stderr, "SKIPPED: only root gives a folder away: {error}").unwrap();
            return;
        }
        let error = place.entry().unwrap_err();
        assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
        assert!(error.to_string().contains("another user"), "{error}");
        // Nothing was made in it, and it is of use once it is one's own again.
        assert_eq!(place.names(), [""; 0]);
        chown(place.path(), Some(uid), None).unwrap();
        place.entry().unwrap();
    }

    #[test]
    fn a_folder_that_is_a_link_or_a_file_is_refused() {
        let place = Place::new();
        fs::create_dir(place.folder.path().join("state")).unwrap();
        fs::create_dir(place.folder.path().join("elsewhere")).unwrap();
        symlink(place.folder.path().join("elsewhere"), place.path()).unwrap();
        assert!(matches!(place.entry(), Err(StoreError::Exposed { .. })));
        fs::remove_file(place.path()).unwrap();
        fs::write(place.path(), "").unwrap();
        assert!(matches!(place.entry(), Err(StoreError::Exposed { .. })));
    }

    #[test]
    fn a_file_that_is_gone_is_found_behind_a_link_to_its_folder() {
        let place = Place::new();
        let link = place.folder.path().join("link");
        symlink(place.folder.path(), &link).unwrap();
        let path = link.join("a.bin");
        let entry = || place.store().entry(&path, ENDPOINT).unwrap();
        entry().save(&checkpoint(1)).unwrap();
        fs::remove_file(&place.file).unwrap();
        assert_eq!(entry().load().unwrap(), Some(checkpoint(1)));
    }

    #[test]
    fn links_are_not_followed() {
        let place = Place::new();
        let victim = place.folder.path().join("victim");
        fs::write(&victim, checkpoint(1).to_text()).unwrap();
        let entry = place.entry().unwrap();
        symlink(&victim, entry.path()).unwrap();
        assert!(matches!(entry.load(), Err(StoreError::Io { .. })));
        // Neither where the new file is written, nor where it goes.
        symlink(&victim, entry.path().with_extension("new")).unwrap();
        entry.save(&checkpoint(2)).unwrap();
        assert_eq!(entry.load().unwrap(), Some(checkpoint(2)));
        assert_eq!(
            fs::read_to_string(&victim).unwrap(),
            checkpoint(1).to_text()
        );

        let lock = entry.path().with_extension("lock");
        drop(entry);
        fs::remove_file(&lock).unwrap();
        symlink(&victim, &lock).unwrap();
        assert!(matches!(place.entry(), Err(StoreError::Io { .. })));
    }

    #[test]
    fn many_may_want_the_same() {
        let place = Place::new();
        drop(place.entry().unwrap());
        let store = place.store();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(entry) = store.entry(&place.file, ENDPOINT) else {
                            continue;
                        };
                        entry.save(&checkpoint(1)).unwrap();
                        assert_eq!(entry.load().unwrap(), Some(checkpoint(1)));
                        entry.forget().unwrap();
                    }
                });
            }
        });
    }
}

#[test]
fn what_a_crash_left_behind_is_forgotten_too() {
    let place = Place::new();
    let entry = place.entry().unwrap();
    let mut new = entry.path().into_os_string();
    new.push(".new");
    fs::write(&new, "a capability").unwrap();
    entry.forget().unwrap();
    assert!(!std::path::Path::new(&new).exists());
}

#[cfg(unix)]
#[test]
fn a_slash_at_the_end_follows_no_link() {
    let place = Place::new();
    let target = place.folder.path().join("target");
    fs::create_dir(&target).unwrap();
    let link = place.folder.path().join("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    for path in [link.clone(), link.join("")] {
        let error = Store::at(&path).entry(&place.file, ENDPOINT).unwrap_err();
        assert!(matches!(error, StoreError::Exposed { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn the_folders_above_are_the_owners_too() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    drop(place.entry().unwrap());
    let above = fs::metadata(place.path().parent().unwrap()).unwrap();
    assert_eq!(above.permissions().mode() & 0o777, 0o700);
}
