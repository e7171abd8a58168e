//! Small files that are read and replaced as a whole, in folders that only their owner can write.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use crate::storage::{Storage, StoredFile, enter, unique_name};

/// Reads a file of at most `most` bytes. Returns `None` if it does not exist.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] if the file or its folder is a symbolic link, is owned by another user, or is
/// writable by others; otherwise the underlying I/O error.
pub fn read_whole(storage: &Arc<dyn Storage>, path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let read = || {
        let storage = trusted_folder(storage, path.parent().ok_or(ErrorKind::InvalidInput)?)?;
        check_file(&*storage, path)?;
        storage.read(path, 0, most)
    };
    match read() {
        Ok((bytes, _)) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Atomically replaces the contents of a file. Creates its folder, accessible to the owner only, if it does not exist.
///
/// # Errors
/// As for [`read_whole`]. The file may have been replaced already if only the final sync of the folder failed.
pub fn replace_whole(storage: &Arc<dyn Storage>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    storage.create_dir(folder)?;
    let storage = trusted_folder(storage, folder)?;
    match check_file(&*storage, path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    replace_durably(&*storage, &unique_name(folder, "", ".tmp"), path, bytes)
}

/// Writes `temporary`, in the folder of `path`, and renames it to `path`. A crash may lose the new contents and the old.
///
/// # Errors
/// The error of the first step that failed; `path` then has its old contents, and `temporary` is removed if possible.
pub fn replace(storage: &dyn Storage, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let renamed = write(storage, temporary, bytes, |_| Ok(())).and_then(|()| storage.rename(temporary, path));
    clean_up(storage, temporary, renamed)
}

/// Replaces like [`replace`], so that after a crash the file has either its old or its new contents, and the new ones once
/// this has returned.
///
/// # Errors
/// As for [`replace`]; if only the final sync of the folder failed, `path` has its new contents.
pub fn replace_durably(storage: &dyn Storage, temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    let renamed =
        write(storage, temporary, bytes, |file| file.sync()).and_then(|()| storage.rename(temporary, path));
    clean_up(storage, temporary, renamed)?;
    storage.sync_dir(folder)
}

fn write(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
    then: impl FnOnce(&mut dyn StoredFile) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = storage.create(path)?;
    file.write_at(0, bytes)?;
    then(&mut *file)
}

/// Removes a temporary file that was not renamed, if possible.
fn clean_up(storage: &dyn Storage, temporary: &Path, renamed: io::Result<()>) -> io::Result<()> {
    if renamed.is_err() {
        let _ = storage.remove(temporary);
    }
    renamed
}

/// Opens the folder unless others can write it.
fn trusted_folder(storage: &Arc<dyn Storage>, folder: &Path) -> io::Result<Arc<dyn Storage>> {
    enter(storage, folder)?.map_err(|reason| not_trusted(folder, &reason))
}

/// Returns an error if others may have written the file.
fn check_file(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    storage.distrust(path)?.map_or(Ok(()), |reason| Err(not_trusted(path, &reason)))
}

fn not_trusted(path: &Path, reason: &str) -> io::Error {
    let message = format!("`{}` is not trusted: {reason}", path.display());
    io::Error::new(ErrorKind::PermissionDenied, message)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::FaultInjectingStorage;
    use crate::storage::FileSystem;

    #[test]
    fn replacing_a_file_leaves_no_temporary_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("file");
        assert_eq!(read_whole(&FileSystem::shared(), &path, 100).unwrap(), None);
        for text in ["one", "another that is longer", ""] {
            replace_whole(&FileSystem::shared(), &path, text.as_bytes()).unwrap();
            assert_eq!(read_whole(&FileSystem::shared(), &path, 100).unwrap().unwrap(), text.as_bytes());
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        replace_whole(&FileSystem::shared(), &path, &[0; 101]).unwrap();
        assert_eq!(
            read_whole(&FileSystem::shared(), &path, 100).unwrap_err().kind(),
            ErrorKind::FileTooLarge
        );
        // A file cannot contain a folder.
        assert!(replace_whole(&FileSystem::shared(), &path.join("below"), b"x").is_err());
    }

    #[test]
    fn failed_replacement_leaves_the_old_file_and_no_other() {
        for step in ["create", "write_at", "sync", "rename"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            replace_whole(&FileSystem::shared(), &path, b"old").unwrap();
            let full = move |what: &str, _: &Path| match what == step {
                true => Err(io::Error::from(ErrorKind::StorageFull)),
                false => Ok(()),
            };
            let storage: Arc<dyn Storage> = Arc::new(FaultInjectingStorage::new(full));
            assert_eq!(replace_whole(&storage, &path, b"new").unwrap_err().kind(), ErrorKind::StorageFull);
            assert_eq!(read_whole(&FileSystem::shared(), &path, 100).unwrap().unwrap(), b"old", "{step}");
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "{step}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn files_that_others_can_write_are_refused() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let refused = |path: &Path| read_whole(&FileSystem::shared(), path, 100).unwrap_err().kind();
        replace_whole(&FileSystem::shared(), &path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(refused(&path), ErrorKind::PermissionDenied);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let link = folder.path().join("link");
        symlink(&path, &link).unwrap();
        assert_eq!(refused(&link), ErrorKind::PermissionDenied);
        assert!(replace_whole(&FileSystem::shared(), &link, b"y").is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(refused(&path), ErrorKind::PermissionDenied);
        assert!(replace_whole(&FileSystem::shared(), &path, b"y").is_err());
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(read_whole(&FileSystem::shared(), &path, 100).unwrap().unwrap(), b"x");
        // Opening a pipe without a writer must not block.
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(refused(&pipe), ErrorKind::InvalidInput);
    }
}
