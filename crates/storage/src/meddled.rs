//! The file system with someone who meddles: for tests of what happens between two operations, or when one fails.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::storage::{FileSystem, Listed, Missing, Storage, StoredFile};

/// What is called before each operation, with its name and path. Its error is the operation's.
type Meddler = dyn Fn(&str, &Path) -> io::Result<()> + Send + Sync;

/// The file system, with a meddler.
#[derive(Clone)]
pub struct Meddled {
    meddler: Arc<Meddler>,
    concurrent_syncs: usize,
    later: Duration,
    boot: Option<u64>,
}

impl Meddled {
    /// The file system, with `meddler` called before each operation, with its name and path. Its error is the operation's.
    pub fn new(meddler: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self {
            meddler: Arc::new(meddler),
            concurrent_syncs: 1,
            later: Duration::ZERO,
            boot: FileSystem.boot(),
        }
    }

    /// Has so many files synced at once, instead of one after the other.
    #[must_use]
    pub fn concurrent_syncs(mut self, count: usize) -> Self {
        self.concurrent_syncs = count;
        self
    }

    /// Has it be so much later than it is.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        self.later = by;
        self
    }

    /// Has the machine been started another time.
    #[must_use]
    pub fn boot(mut self, boot: Option<u64>) -> Self {
        self.boot = boot;
        self
    }

    fn file(&self, path: &Path, file: Box<dyn StoredFile>) -> Box<dyn StoredFile> {
        Box::new(MeddledFile { file, path: path.to_owned(), meddled: self.clone() })
    }
}

impl Storage for Meddled {
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        (self.meddler)("read", path)?;
        FileSystem.read(path, from, most)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        (self.meddler)("create", path)?;
        Ok(self.file(path, FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        (self.meddler)("open", path)?;
        Ok(self.file(path, FileSystem.open(path)?))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        (self.meddler)("append", path)?;
        FileSystem.append(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.meddler)("rename", to)?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.meddler)("remove", path)?;
        FileSystem.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        (self.meddler)("create_dir", path)?;
        FileSystem.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        (self.meddler)("sync_dir", path)?;
        FileSystem.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        (self.meddler)("list", path)?;
        FileSystem.list(path)
    }

    fn info(&self, path: &Path) -> io::Result<Listed> {
        (self.meddler)("info", path)?;
        FileSystem.info(path)
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        (self.meddler)("touch", path)?;
        FileSystem.touch(path, time)
    }

    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>> {
        (self.meddler)("try_lock", path)?;
        FileSystem.try_lock(path, missing)
    }

    fn distrust(&self, path: &Path) -> io::Result<Option<String>> {
        (self.meddler)("distrust", path)?;
        FileSystem.distrust(path)
    }

    fn now(&self) -> SystemTime {
        FileSystem.now() + self.later
    }

    fn boot(&self) -> Option<u64> {
        self.boot
    }

    fn concurrent_syncs(&self) -> usize {
        self.concurrent_syncs
    }
}

/// An open file, with a meddler.
struct MeddledFile {
    file: Box<dyn StoredFile>,
    path: PathBuf,
    meddled: Meddled,
}

impl StoredFile for MeddledFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        (self.meddled.meddler)("write_at", &self.path)?;
        self.file.write_at(at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        (self.meddled.meddler)("sync", &self.path)?;
        self.file.sync()
    }
}
