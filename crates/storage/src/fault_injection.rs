//! A file system that injects faults, for tests of failing and interleaved operations.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::storage::{FileSystem, Listed, Missing, Storage, StoredFile};

/// Hook called before each operation, with its name and path. An error it returns fails the operation.
type Hook = dyn Fn(&str, &Path) -> io::Result<()> + Send + Sync;

/// The file system, with a hook that can fail or delay each operation.
#[derive(Clone)]
pub struct FaultInjectingStorage {
    hook: Arc<Hook>,
    concurrent_syncs: usize,
    later: Duration,
    boot: Option<u64>,
}

impl FaultInjectingStorage {
    /// Creates a storage that calls `hook` before each operation, with the operation's name and path. An error from the
    /// hook fails the operation.
    pub fn new(hook: impl Fn(&str, &Path) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { hook: Arc::new(hook), concurrent_syncs: 1, later: Duration::ZERO, boot: FileSystem.boot() }
    }

    /// Sets the number of concurrent syncs; the default is 1.
    #[must_use]
    pub fn concurrent_syncs(mut self, count: usize) -> Self {
        self.concurrent_syncs = count;
        self
    }

    /// Advances the clock by `by`.
    #[must_use]
    pub fn later(mut self, by: Duration) -> Self {
        self.later = by;
        self
    }

    /// Sets the boot id.
    #[must_use]
    pub fn boot(mut self, boot: Option<u64>) -> Self {
        self.boot = boot;
        self
    }

    fn file(&self, path: &Path, file: Box<dyn StoredFile>) -> Box<dyn StoredFile> {
        Box::new(FaultInjectingFile { file, path: path.to_owned(), storage: self.clone() })
    }
}

impl Storage for FaultInjectingStorage {
    fn read(&self, path: &Path, from: u64, most: u64) -> io::Result<(Vec<u8>, SystemTime)> {
        (self.hook)("read", path)?;
        FileSystem.read(path, from, most)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        (self.hook)("create", path)?;
        Ok(self.file(path, FileSystem.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn StoredFile>> {
        (self.hook)("open", path)?;
        Ok(self.file(path, FileSystem.open(path)?))
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        (self.hook)("append", path)?;
        FileSystem.append(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        (self.hook)("rename", to)?;
        FileSystem.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        (self.hook)("remove", path)?;
        FileSystem.remove(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        (self.hook)("create_dir", path)?;
        FileSystem.create_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        (self.hook)("sync_dir", path)?;
        FileSystem.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        (self.hook)("list", path)?;
        FileSystem.list(path)
    }

    fn info(&self, path: &Path) -> io::Result<Listed> {
        (self.hook)("info", path)?;
        FileSystem.info(path)
    }

    fn touch(&self, path: &Path, time: SystemTime) -> io::Result<()> {
        (self.hook)("touch", path)?;
        FileSystem.touch(path, time)
    }

    fn try_lock(&self, path: &Path, missing: Missing) -> io::Result<Option<Box<dyn Send>>> {
        (self.hook)("try_lock", path)?;
        FileSystem.try_lock(path, missing)
    }

    fn distrust(&self, path: &Path) -> io::Result<Option<String>> {
        (self.hook)("distrust", path)?;
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

/// An open file whose operations call the hook.
struct FaultInjectingFile {
    file: Box<dyn StoredFile>,
    path: PathBuf,
    storage: FaultInjectingStorage,
}

impl StoredFile for FaultInjectingFile {
    fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        (self.storage.hook)("write_at", &self.path)?;
        self.file.write_at(at, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        (self.storage.hook)("sync", &self.path)?;
        self.file.sync()
    }
}
