//! Files of the operating system.
//!
//! `sync` is `fdatasync`: on Linux it covers the length as well, and not the timestamps
//! that nobody reads. Errors name the operation and the path and keep their kind.
#![expect(clippy::disallowed_methods, reason = "this is where Env opens files")]

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::LOCK_FILE;
use crate::{DirectoryLock, Disk, File, Open};

pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(how == Open::New)
            .open(path)
            .map_err(failed("open", path))?;
        Ok(Arc::new(RealFile { file, path: path.to_owned() }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        self.create_dir(parent)?;
        match fs::create_dir(path) {
            // Somebody else was faster: fine, as long as it is a directory.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            other => other.map_err(failed("create directory", path))?,
        }
        self.sync_dir(parent)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path).map_err(failed("list", path))? {
            let entry = entry.map_err(failed("list", path))?;
            let is_dir = entry.file_type().map_err(failed("list", path))?.is_dir();
            if !is_dir && entry.file_name() != LOCK_FILE {
                files.push(entry.path());
            }
        }
        files.sort();
        Ok(files)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to).map_err(failed("rename", from))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path).map_err(failed("remove", path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        // The parent of a bare name is the empty path: the current directory.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync directory", path))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists().map_err(failed("look for", path))
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        let name = path.join(LOCK_FILE);
        let mut file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&name)
            .map_err(failed("open", &name))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(held(path, &name)),
            Err(fs::TryLockError::Error(error)) => return Err(failed("lock", &name)(error)),
        }
        // For the words of a refusal only: the lock itself is the descriptor's.
        let noted = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        noted.map_err(failed("write", &name))?;
        Ok(Box::new(RealLock { _file: file }))
    }
}

#[derive(Debug)]
struct RealFile {
    file: fs::File,
    path: PathBuf,
}

impl File for RealFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(failed("read", &self.path))
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(failed("write", &self.path))
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data().map_err(failed("sync", &self.path))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata().map_err(failed("look at", &self.path))?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len).map_err(failed("set the length of", &self.path))
    }
}

/// The kernel drops the lock with the last descriptor, so with the process; the descriptor
/// is close-on-exec, so no child keeps it.
#[derive(Debug)]
struct RealLock {
    _file: fs::File,
}

impl DirectoryLock for RealLock {}

fn held(dir: &Path, lock: &Path) -> io::Error {
    // Between its lock and its note the holder has not written who it is.
    let holder = fs::read_to_string(lock).unwrap_or_default();
    let holder = match holder.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    io::Error::new(io::ErrorKind::WouldBlock, format!("{} is in use by {holder}", dir.display()))
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
}
