//! File system access relative to an open folder, which stays valid if another folder takes its path.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};

use crate::storage::{
    FileSystem, Listed, Missing, Storage, StoredFile, create_by, lock_of, others_write, read_from,
};

/// An open folder and the path it was opened at.
pub(crate) struct Folder {
    root: PathBuf,
    open: OwnedFd,
}

/// Open flags for folders; symbolic links are refused.
fn folder_flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

impl Folder {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let open = rustix::fs::open(root, folder_flags(), Mode::empty())?;
        Ok(Self { root: root.to_owned(), open })
    }

    /// Splits `path` into its components below the folder.
    fn names<'p>(&self, path: &'p Path) -> io::Result<Vec<&'p OsStr>> {
        let outside = || io::Error::new(ErrorKind::InvalidInput, "path is not inside the open folder");
        let below = path.strip_prefix(&self.root).map_err(|_| outside())?;
        let name = |component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(outside()),
        };
        below.components().map(name).collect()
    }

    /// Opens the folder at `names`.
    fn folder(&self, names: &[&OsStr]) -> io::Result<OwnedFd> {
        let mut at = self.open.try_clone()?;
        for name in names {
            at = rustix::fs::openat(&at, *name, folder_flags(), Mode::empty())?;
        }
        Ok(at)
    }

    /// Opens the parent folder of `path`; returns it with the file name.
    fn place<'p>(&self, path: &'p Path) -> io::Result<(OwnedFd, &'p OsStr)> {
        let names = self.names(path)?;
        let (name, above) = names.split_last().ok_or(ErrorKind::IsADirectory)?;
        Ok((self.folder(above)?, name))
    }

    /// Opens a file; if this creates it, only its owner can access it.
    fn file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let (folder, name) = self.place(path)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        if self.names(path)?.is_empty() {
            return Ok(rustix::fs::fstat(&self.open)?);
        }
        let (folder, name) = self.place(path)?;
        Ok(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

impl Storage for Folder {
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        read_from(self.file(path, OFlags::RDONLY)?, from, most)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        create_by(|| self.file(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(self.file(path, OFlags::WRONLY)?))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.file(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE)?.write_all(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let ((from_folder, from), (to_folder, to)) = (self.place(from)?, self.place(to)?);
        Ok(rustix::fs::renameat(from_folder, from, to_folder, to)?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.place(path)?;
        Ok(rustix::fs::unlinkat(folder, name, AtFlags::empty())?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut at = self.open.try_clone()?;
        let mut made = false;
        for name in self.names(path)? {
            made = match rustix::fs::mkdirat(&at, name, Mode::RWXU) {
                Ok(()) => true,
                Err(rustix::io::Errno::EXIST) => false,
                Err(error) => return Err(error.into()),
            };
            at = rustix::fs::openat(&at, name, folder_flags(), Mode::empty())?;
        }
        Ok(made)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::fsync(self.folder(&self.names(path)?)?)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let folder = self.folder(&self.names(path)?)?;
        let mut all = Vec::new();
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => all.push(listed(name.to_string_lossy().into_owned(), &stat)),
                // Removed while the folder was read.
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    fn info(&self, path: &Path) -> io::Result<Listed> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(listed(name, &self.stat(path)?))
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        self.file(path, OFlags::WRONLY)?.set_modified(time)
    }

    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>> {
        let create = if missing == Missing::Create { OFlags::CREATE } else { OFlags::empty() };
        lock_of(self.file(path, OFlags::RDWR | create)?)
    }

    fn distrust(&self, path: &Path) -> io::Result<Option<String>> {
        let stat = self.stat(path)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Ok(Some(String::from("it is a symbolic link")));
        }
        Ok(others_write(stat.st_uid, stat.st_mode))
    }

    fn now(&self) -> SystemTime {
        FileSystem.now()
    }

    fn boot(&self) -> Option<u64> {
        FileSystem.boot()
    }

    fn concurrent_syncs(&self) -> usize {
        FileSystem.concurrent_syncs()
    }

    fn bound_to(&self, root: &Path) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(Some(Arc::new(Self { root: root.to_owned(), open: self.folder(&self.names(root)?)? })))
    }
}

fn listed(name: String, stat: &Stat) -> Listed {
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Listed { name, is_file, bytes: stat.st_size as u64, modified: time(stat) }
}

/// Returns the modification time, clamped to the Unix epoch.
fn time(stat: &Stat) -> SystemTime {
    let since = Duration::new(u64::try_from(stat.st_mtime).unwrap_or_default(), stat.st_mtime_nsec as u32);
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::storage::enter;

    /// Exercises every operation and records the results.
    fn all(storage: &dyn Storage, root: &Path) -> Vec<String> {
        let (below, file) = (root.join("a").join("b"), root.join("a").join("b").join("file"));
        let mut said = Vec::new();
        let mut say = |what: &dyn std::fmt::Debug| said.push(format!("{what:?}"));
        let kind = |error: io::Error| error.kind();
        say(&storage.read(&file, 0, 9).map_err(kind));
        say(&storage.create_dir(&below).map_err(kind));
        say(&storage.create_dir(&below).map_err(kind));
        say(&storage.create(&file).and_then(|mut file| file.write_at(2, b"345")).map_err(kind));
        say(&storage.create(&file).map(drop).map_err(kind));
        say(&storage.open(&file).and_then(|mut file| file.write_at(0, b"12")).map_err(kind));
        say(&storage.append(&file, b"67").map_err(kind));
        say(&storage.read(&file, 1, 6).map(|(bytes, _)| bytes).map_err(kind));
        say(&storage.read(&file, 0, 6).map_err(kind));
        say(&storage.read(&below, 0, 6).map(drop).map_err(kind));
        let lock = storage.try_lock(&root.join("lock"), Missing::Create).map_err(kind);
        say(&lock.as_ref().map(Option::is_some));
        say(&storage.try_lock(&root.join("lock"), Missing::Refuse).map(|lock| lock.is_some()).map_err(kind));
        say(&storage.try_lock(&root.join("none"), Missing::Refuse).map(|lock| lock.is_some()).map_err(kind));
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
        say(&storage.touch(&file, time).map_err(kind));
        say(&storage.info(&file).map_err(kind));
        say(&storage.list(&below).map_err(kind));
        say(&storage.rename(&file, &root.join("renamed")).map_err(kind));
        say(&storage.info(&file).map_err(kind));
        say(&storage.sync_dir(&below).map_err(kind));
        say(&storage.sync_dir(root).map_err(kind));
        say(&storage.distrust(&root.join("renamed")).map_err(kind));
        say(&storage.distrust(root).map_err(kind));
        let mut names: Vec<_> = storage.list(root).unwrap().into_iter().map(|listed| listed.name).collect();
        names.sort();
        say(&names);
        say(&storage.remove(&root.join("renamed")).map_err(kind));
        say(&storage.remove(&root.join("renamed")).map_err(kind));
        said
    }

    #[test]
    fn open_folder_behaves_like_its_path() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let bound = FileSystem.bound_to(other.path()).unwrap().unwrap();
        assert_eq!(all(&*bound, other.path()), all(&FileSystem, one.path()));
        let elsewhere = bound.read(&one.path().join("lock"), 0, 9).unwrap_err();
        assert_eq!(elsewhere.kind(), ErrorKind::InvalidInput);
        let above = bound.read(&other.path().join("a").join("..").join("lock"), 0, 9).unwrap_err();
        assert_eq!(above.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn replacement_of_an_open_folder_is_ignored() {
        let folder = tempfile::tempdir().unwrap();
        let [own, moved, planted] = ["own", "moved", "planted"].map(|name| folder.path().join(name));
        for (folder, text) in [(&own, "own"), (&planted, "planted")] {
            fs::create_dir_all(folder.join("shard")).unwrap();
            fs::write(folder.join("file"), text).unwrap();
            fs::write(folder.join("shard").join("file"), text).unwrap();
        }
        let storage = FileSystem::shared();
        let entered = enter(&storage, &own).unwrap().unwrap();
        let read =
            |path: &Path| entered.read(path, 0, 100).map(|(bytes, _)| String::from_utf8(bytes).unwrap());
        assert_eq!(read(&own.join("file")).unwrap(), "own");
        fs::rename(&own, &moved).unwrap();
        symlink(&planted, &own).unwrap();
        assert_eq!(read(&own.join("file")).unwrap(), "own");
        assert_eq!(read(&own.join("shard").join("file")).unwrap(), "own");
        entered.create(&own.join("new")).unwrap();
        assert!(moved.join("new").exists() && !planted.join("new").exists());
        // Links below the folder are not followed either.
        fs::rename(moved.join("shard"), moved.join("was")).unwrap();
        symlink(planted.join("shard"), moved.join("shard")).unwrap();
        assert!(read(&own.join("shard").join("file")).is_err());
        assert!(entered.create(&own.join("shard").join("new")).is_err());
        // A link is refused, and so is a folder that others can write.
        assert!(enter(&storage, &own).unwrap().is_err_and(|reason| reason.contains("link")));
        fs::set_permissions(&moved, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(enter(&storage, &moved).unwrap().is_err_and(|reason| reason.contains("770")));
        assert!(enter(&storage, &folder.path().join("none")).is_err());
    }
}
