//! Small files that are read and replaced as a whole, from folders that only their owner can write.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use crate::storage::{Storage, enter, unique_name};

/// The contents of a file of at most `most` bytes. `None` if there is none.
///
/// # Errors
/// [`ErrorKind::PermissionDenied`] if file or folder are a link, belong to another user, or can be written by others; what
/// the system says.
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

/// Makes `bytes` the contents of a file, or leaves it as it was. Makes the folder, for its owner alone, if it is not there.
///
/// # Errors
/// As [`read_whole`].
pub fn replace_whole(storage: &Arc<dyn Storage>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
    storage.create_dir(folder)?;
    let storage = trusted_folder(storage, folder)?;
    match check_file(&*storage, path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let new = unique_name(folder, "", ".tmp");
    let mut file = storage.create(&new)?;
    let written = file
        .write_at(0, bytes)
        .and_then(|()| file.sync())
        .and_then(|()| storage.rename(&new, path))
        .and_then(|()| storage.sync_dir(folder));
    if written.is_err() {
        // Best effort: it may have been renamed.
        let _ = storage.remove(&new);
    }
    written
}

/// The folder, if nobody else may write it.
fn trusted_folder(storage: &Arc<dyn Storage>, folder: &Path) -> io::Result<Arc<dyn Storage>> {
    enter(storage, folder)?.map_err(|reason| not_trusted(folder, &reason))
}

/// Refuses a file that others may have written.
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
    use crate::storage::FileSystem;

    #[test]
    fn files_are_replaced_as_a_whole_and_nothing_is_left_behind() {
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
        // Below a file there is no folder.
        assert!(replace_whole(&FileSystem::shared(), &path.join("below"), b"x").is_err());
    }

    #[cfg(unix)]
    #[test]
    fn what_others_may_have_written_is_not_believed() {
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
        // Opening a pipe that nobody writes would wait for ever.
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(refused(&pipe), ErrorKind::InvalidInput);
    }
}
