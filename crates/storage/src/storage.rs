//! What is asked of a disk, so that faults can be put in its place and something else than a disk behind it; and
//! the file system.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Files that are synced at once. A sync mostly waits, and a journal writes what waits together: more threads than this gained
/// nothing that could be measured.
const CONCURRENT_SYNCS: usize = 16;
/// How often a file that is taken for a dead process's is made again, a millisecond apart.
const COLLECTOR_PATIENCE: usize = 1000;

/// Files and folders, by absolute path. Every method may fail at any time; none follows a link at the end of a path.
pub trait Storage: Send + Sync {
    /// The bytes of a regular file from `from` on, and when it was changed. [`ErrorKind::FileTooLarge`] if the file has
    /// more than `most` from there.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)>;

    /// A new file, which nobody else can read. It is locked until it is dropped.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], or what the system says.
    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// A file that is there, to be written and synced.
    ///
    /// # Errors
    /// What the system says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>>;

    /// Adds `bytes` to a file in one write, and makes the file if it is not there.
    ///
    /// # Errors
    /// What the system says.
    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name, whatever had that before.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder that nobody else can read, with those above it; false if it was there.
    ///
    /// # Errors
    /// What the system says.
    fn create_dir(&self, path: &Path) -> io::Result<bool>;

    /// Makes durable which files a folder has.
    ///
    /// # Errors
    /// What the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What a folder has, in no order.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;

    /// What is known of a file without reading it.
    ///
    /// # Errors
    /// What the system says.
    fn info(&self, path: &Path) -> io::Result<Listed>;

    /// Says that a file was changed at `time`.
    ///
    /// # Errors
    /// What the system says.
    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()>;

    /// Takes the lock that the file at `path` is, unless someone has it. `missing` says what to do without the file.
    ///
    /// # Errors
    /// What the system says: one that has no locks says so.
    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>>;

    /// Why the file or folder at `path` cannot be trusted, if it cannot: it is a link, belongs to someone else than this
    /// user or the system's, or others may write it.
    ///
    /// # Errors
    /// What the system says.
    fn distrust(&self, path: &Path) -> io::Result<Option<String>>;

    /// What time it is.
    fn now(&self) -> SystemTime;

    /// A number that the machine has from one start to the next, never 0. Default: `None`, of a system that does not say.
    fn boot(&self) -> Option<u64> {
        None
    }

    /// How many files it is worth syncing at once. Default: one, so that operations keep the order of the one who asks.
    fn concurrent_syncs(&self) -> usize {
        1
    }

    /// A storage of the folder that is at `root` now, and of what is below: it stays in that folder, whatever takes the folder's
    /// place later. Default: `None`, of a storage that only knows paths.
    ///
    /// # Errors
    /// What the system says, also where `root` is a link.
    fn bound_to(&self, root: &Path) -> io::Result<Option<Arc<dyn Storage>>> {
        let _ = root;
        Ok(None)
    }
}

/// A storage of the folder at `root`, bound to it where that can be, or why it cannot be trusted: see [`Storage::distrust`].
///
/// # Errors
/// What the system says.
pub fn enter(storage: &Arc<dyn Storage>, root: &Path) -> io::Result<Result<Arc<dyn Storage>, String>> {
    let bound = match storage.bound_to(root) {
        Ok(bound) => bound.unwrap_or_else(|| Arc::clone(storage)),
        Err(error) => return storage.distrust(root)?.map_or(Err(error), |reason| Ok(Err(reason))),
    };
    Ok(bound.distrust(root)?.map_or(Ok(bound), Err))
}

/// An open file.
pub trait StoredFile: Send {
    /// Writes `bytes` from byte `at` on.
    ///
    /// # Errors
    /// What the system says.
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes its bytes durable.
    ///
    /// # Errors
    /// What the system says. The bytes may then be lost although they can be read, and syncing again says nothing.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file or folder as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The last part of its path.
    pub name: String,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Its size.
    pub bytes: u64,
    /// When it was changed.
    pub modified: SystemTime,
}

/// What locking does where the file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Makes it.
    Create,
    /// Is an error.
    Refuse,
}

/// The file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl FileSystem {
    /// The file system, for whoever takes any storage.
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
        // Other systems make names durable by themselves, and cannot open folders.
        if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut all = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(info) => all.push(listed(&entry.path(), &info)?),
                // It went while the folder was read.
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
            return Ok(Some(String::from("it is a link")));
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

/// Why a file or folder of that owner and mode cannot be trusted, if others than this user and the system's may write it.
#[cfg(unix)]
pub(crate) fn others_write(owner: u32, mode: u32) -> Option<String> {
    if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        return Some(format!("it belongs to user {owner}"));
    }
    (mode & 0o022 != 0).then(|| format!("others may write it (mode {:03o})", mode & 0o777))
}

/// As [`Storage::read`], of an open file.
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
    // What was found out above bounds it.
    all.try_reserve_exact(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    file.take(most).read_to_end(&mut all)?;
    Ok((all, info.modified()?))
}

/// As [`Storage::create`]: `make` makes the file, or says that it is there.
pub(crate) fn create_by(make: impl Fn() -> io::Result<File>) -> io::Result<Box<dyn StoredFile>> {
    // Between making and locking it, who collects what dead processes left may take it for that: then it has the lock,
    // or had it and the file is gone, and another one is made.
    let mut made = make()?;
    for _ in 0..COLLECTOR_PATIENCE {
        match made.try_lock() {
            Ok(()) if has_name(&made)? => return Ok(Box::new(made)),
            // Without locks, what is left behind is told by its age.
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

/// As [`Storage::try_lock`], of an open file.
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

/// As [`Storage::boot`]: Linux says.
fn boot() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = fs::read("/proc/sys/kernel/random/boot_id").ok().filter(|id| !id.is_empty())?;
        let digest = crate::digest::Digest::of(&id);
        let bytes = digest.as_bytes().first_chunk()?;
        Some(u64::from_le_bytes(*bytes).max(1))
    })
}

/// Whether a file is still in a folder.
fn has_name(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) > 0);
    #[cfg(not(unix))]
    return file.metadata().map(|_| true);
}

/// Options of opening files: links are refused, and what is made is its owner's alone.
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

/// A name in `folder` that nobody else has or will have.
pub fn unique_name(folder: &Path, before: &str, after: &str) -> PathBuf {
    folder.join(format!("{before}{}{after}", unique()))
}

/// 32 hex digits that nobody else has or will have.
fn unique() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    // Seeded by the system for each process, and different for each state.
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
    fn locks_are_each_others() {
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
    fn links_and_shared_folders_are_not_trusted() {
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
