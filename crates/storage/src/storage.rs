//! The storage trait, which lets tests inject faults and callers substitute another store, and its implementation for
//! the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Concurrent syncs of the file system. The journal batches pending syncs; more threads gave no measurable gain.
const CONCURRENT_SYNCS: usize = 16;
/// Attempts to create a file, 1 ms apart, while a collector of stale files takes it for one.
const CREATE_ATTEMPTS: usize = 1000;

/// Files and folders, by absolute path. Every method may fail at any time. On Unix, no method opens a file through a
/// symbolic link in the last component of its path.
pub trait Storage: Send + Sync {
    /// Reads a regular file from offset `from` and returns the bytes with the modification time.
    ///
    /// # Errors
    /// [`ErrorKind::FileTooLarge`] if more than `most` bytes follow `from`; otherwise the underlying I/O error.
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)>;

    /// Creates a file that only its owner can read. It is locked until it is dropped, where the file system has locks.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] if the file exists; otherwise the underlying I/O error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Opens an existing file for writing and syncing.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Appends `bytes` to a file in one write, creating the file if necessary.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Renames a file, replacing the destination if it exists.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder that only its owner can read, with missing parents. Returns false if it exists.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Lists a folder in unspecified order.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// Returns the metadata of a file.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn info(&self, path: &Path) -> io::Result<Listed>;

    /// Sets the modification time of a file.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()>;

    /// Locks the file at `path`, or returns `None` if it is locked already. `missing` says what to do if the file does
    /// not exist.
    ///
    /// # Errors
    /// The underlying I/O error, including that of a file system without locks.
    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>>;

    /// Returns the reason not to trust the file or folder at `path`, if there is one: it is a symbolic link, is owned
    /// by a user other than this one and the system, or is writable by others.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn distrust(&self, path: &Path) -> io::Result<Option<String>>;

    /// Returns the current time.
    fn now(&self) -> SystemTime;

    /// Returns a non-zero id of the current boot. The default is `None`, for systems that do not report one.
    fn boot(&self) -> Option<u64> {
        None
    }

    /// Returns how many files to sync concurrently. The default is 1, which keeps operations in the caller's order.
    fn concurrent_syncs(&self) -> usize {
        1
    }

    /// Binds the storage to the folder that is at `root` now: the result keeps using that folder if another takes its
    /// path. The default is `None`, for storage that only knows paths.
    ///
    /// # Errors
    /// The underlying I/O error, also if `root` is a symbolic link.
    fn bound_to(&self, root: &Path) -> io::Result<Option<Arc<dyn Storage>>> {
        let _ = root;
        Ok(None)
    }
}

/// Opens the folder at `root`, bound to it if the storage supports that. The inner error is the reason not to trust the
/// folder: see [`Storage::distrust`].
///
/// # Errors
/// The underlying I/O error.
pub fn enter(storage: &Arc<dyn Storage>, root: &Path) -> io::Result<Result<Arc<dyn Storage>, String>> {
    let bound = match storage.bound_to(root) {
        Ok(bound) => bound.unwrap_or_else(|| Arc::clone(storage)),
        Err(error) => return storage.distrust(root)?.map_or(Err(error), |reason| Ok(Err(reason))),
    };
    Ok(bound.distrust(root)?.map_or(Ok(bound), Err))
}

/// An open file.
pub trait StoredFile: Send {
    /// Writes `bytes` at offset `at`.
    ///
    /// # Errors
    /// The underlying I/O error.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the contents durable.
    ///
    /// # Errors
    /// The underlying I/O error. The contents may then be lost even though they can be read, and a second sync may
    /// succeed.
    fn sync(&mut self) -> io::Result<()>;
}

/// Metadata of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// File name.
    pub name: String,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time.
    pub modified: SystemTime,
}

/// Behavior of [`Storage::try_lock`] if the file does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Create the file.
    Create,
    /// Fail.
    Refuse,
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl FileSystem {
    /// Returns the file system as a shared storage.
    pub fn shared() -> Arc<dyn Storage> {
        Arc::new(Self)
    }
}

impl Storage for FileSystem {
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        read_from(options().read(true).open(path)?, from, most)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        create_by(|| options().write(true).create_new(true).open(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        Ok(Box::new(options().write(true).open(path)?))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        options().append(true).create(true).open(path)?.write_all(bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match fs::metadata(path)?.is_dir() {
                true => Ok(false),
                false => Err(ErrorKind::NotADirectory.into()),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                builder.recursive(true).create(path)?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // Other systems make names durable implicitly and cannot open folders.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(info) => all.push(listed(&entry.path(), &info)?),
                // Removed while the folder was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    fn info(&self, path: &Path) -> io::Result<Listed> {
        listed(path, &fs::symlink_metadata(path)?)
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        options().write(true).open(path)?.set_modified(time)
    }

    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>> {
        lock_of(options().read(true).write(true).create(missing == Missing::Create).open(path)?)
    }

    fn distrust(&self, path: &Path) -> io::Result<Option<String>> {
        let info = fs::symlink_metadata(path)?;
        if info.is_symlink() {
            return Ok(Some(String::from("it is a symbolic link")));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            Ok(others_write(info.uid(), info.mode()))
        }
        #[cfg(not(unix))]
        Ok(None)
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn boot(&self) -> Option<u64> {
        boot()
    }

    fn concurrent_syncs(&self) -> usize {
        CONCURRENT_SYNCS
    }

    #[cfg(unix)]
    fn bound_to(&self, root: &Path) -> io::Result<Option<Arc<dyn Storage>>> {
        Ok(Some(Arc::new(crate::folder::Folder::open(root)?)))
    }
}

/// Returns the reason not to trust a file or folder of this owner and mode, if users other than this one and the system
/// can write it.
#[cfg(unix)]
pub(crate) fn others_write(owner: u32, mode: u32) -> Option<String> {
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Some(format!("it is owned by user {owner}"));
    }
    (mode & 0o022 != 0).then(|| format!("it is writable by others (mode {:03o})", mode & 0o777))
}

/// Implements [`Storage::read`] for an open file.
pub(crate) fn read_from(mut file: File, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
    let info = file.metadata()?;
    if !info.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let bytes = info.len().saturating_sub(from);
    if bytes > most {
        return Err(ErrorKind::FileTooLarge.into());
    }
    if from > 0 {
        file.seek(SeekFrom::Start(from))?;
    }
    let mut all = Vec::new();
    // Bounded by the check above.
    all.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    file.take(most).read_to_end(&mut all)?;
    Ok((all, info.modified()?))
}

/// Implements [`Storage::create`]; `make` creates the file or fails if it exists.
pub(crate) fn create_by(make: impl Fn() -> io::Result<File>) -> io::Result<Box<dyn StoredFile>> {
    // Between creation and locking, a collector of stale files may take the file for one: it holds the lock, or has
    // removed the file already, so another is created.
    let mut made = make()?;
    for _ in 0..CREATE_ATTEMPTS {
        match made.try_lock() {
            Ok(()) if has_name(&made)? => return Ok(Box::new(made)),
            // Without locks, stale files are recognized by their age.
            Err(TryLockError::Error(_)) => return Ok(Box::new(made)),
            Ok(()) | Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
        match make() {
            Ok(again) => made = again,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::ResourceBusy.into())
}

/// Implements [`Storage::try_lock`] for an open file.
pub(crate) fn lock_of(file: File) -> io::Result<Option<Box<dyn Send>>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(Box::new(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl StoredFile for File {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.seek(SeekFrom::Start(at))?;
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Implements [`Storage::boot`], on Linux only.
fn boot() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty())?;
        let digest = crate::digest::Digest::of(&id);
        let bytes = digest.as_bytes().first_chunk()?;
        Some(u64::from_le_bytes(*bytes).max(1))
    })
}

/// Returns whether a file still has a name.
fn has_name(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 0);
    #[cfg(not(unix))]
    return file.metadata().map(|_| true);
}

/// Returns options for opening files: symbolic links are refused, and new files are accessible to their owner only.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(flags.bits() as i32);
    }
    options
}

fn listed(path: &Path, info: &fs::Metadata) -> io::Result<Listed> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Listed { name, is_file: info.is_file(), bytes: info.len(), modified: info.modified()? })
}

/// Returns a unique path in `folder`.
pub fn unique_name(folder: &Path, before: &str, after: &str) -> PathBuf {
    folder.join(format!("{before}{}{after}", unique()))
}

/// Returns 32 unique hex digits.
fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    // Keyed randomly by the standard library, with different keys per instance.
    let random = RandomState::new().hash_one(std::process::id());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let digest = crate::digest::DigestBuilder::new("fulgurite temporary name")
        .number(random)
        .number(count)
        .number(now as u64)
        .finish();
    digest.to_string()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_within_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        FileSystem.create(&path).unwrap().write_at(0, b"0123456789").unwrap();
        assert_eq!(FileSystem.read(&path, 0, 10).unwrap().0, b"0123456789");
        assert_eq!(FileSystem.read(&path, 4, 6).unwrap().0, b"456789");
        assert_eq!(FileSystem.read(&path, 40, 6).unwrap().0, b"");
        assert_eq!(FileSystem.read(&path, 0, 9).unwrap_err().kind(), ErrorKind::FileTooLarge);
        assert!(FileSystem.read(folder.path(), 0, 9).is_err());
        assert_eq!(FileSystem.create(&path).err().map(|e| e.kind()), Some(ErrorKind::AlreadyExists));
    }

    #[test]
    fn locks_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(FileSystem.try_lock(&path, Missing::Refuse).is_err());
        let held = FileSystem.try_lock(&path, Missing::Create).unwrap();
        assert!(held.is_some());
        assert!(FileSystem.try_lock(&path, Missing::Create).unwrap().is_none());
        drop(held);
        assert!(FileSystem.try_lock(&path, Missing::Refuse).unwrap().is_some());
        let file = folder.path().join("file");
        let made = FileSystem.create(&file).unwrap();
        assert!(FileSystem.try_lock(&file, Missing::Refuse).unwrap().is_none());
        drop(made);
        assert!(FileSystem.try_lock(&file, Missing::Refuse).unwrap().is_some());
    }

    #[test]
    #[cfg(unix)]
    fn only_the_owner_and_the_system_may_write() {
        let own = rustix::process::geteuid().as_raw();
        let another = own + 1;
        for mode in [0o600, 0o644, 0o700, 0o100_400] {
            assert_eq!((others_write(own, mode), others_write(0, mode)), (None, None), "{mode:o}");
            let reason = others_write(another, mode).unwrap();
            assert!(reason.contains(&format!("user {another}")), "{reason}");
        }
        for mode in [0o620, 0o602, 0o777, 0o100_660] {
            assert!(others_write(own, mode).is_some() && others_write(0, mode).is_some(), "{mode:o}");
        }
    }

    #[test]
    #[cfg(unix)]
    fn links_and_writable_folders_are_not_trusted() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        FileSystem.create(&real).unwrap();
        symlink(&real, &link).unwrap();
        assert!(FileSystem.read(&link, 0, 10).is_err());
        assert!(FileSystem.open(&link).is_err());
        assert!(FileSystem.append(&link, b"x").is_err());
        assert!(FileSystem.try_lock(&link, Missing::Create).is_err());
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o600);

        let (made, elsewhere) = (folder.path().join("a/b"), folder.path().join("c"));
        assert!(FileSystem.create_dir(&made).unwrap());
        assert!(!FileSystem.create_dir(&made).unwrap());
        assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o700);
        assert_eq!(FileSystem.distrust(&made).unwrap(), None);
        symlink(&made, &elsewhere).unwrap();
        assert!(FileSystem.distrust(&elsewhere).unwrap().is_some());
        fs::set_permissions(&made, fs::Permissions::from_mode(0o720)).unwrap();
        assert!(FileSystem.distrust(&made).unwrap().is_some_and(|why| why.contains("720")));
        assert!(FileSystem.create_dir(&real).is_err());
    }
}
