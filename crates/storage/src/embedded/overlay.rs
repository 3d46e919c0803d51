//! A disk that is only read: what is written to it stays in memory.
//!
//! redb repairs what it opens and notes that it did. Over this disk it can do so and the
//! files stay as they are.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kelpie_env::{DirectoryLock, Disk, File, Open};
use parking_lot::Mutex;

const PAGE_BYTES: usize = 4096;

/// Files of another disk, unchangeable.
pub(super) struct Overlay {
    disk: Arc<dyn Disk>,
}

impl Overlay {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(ErrorKind::ReadOnlyFilesystem, "this directory is only read"))
}

impl Disk for Overlay {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        match how {
            Open::New => refused(),
            Open::Existing => {
                let file = self.disk.open(path, how)?;
                let below = file.len()?;
                let held = Mutex::new(Held { length: below, below, pages: BTreeMap::new() });
                Ok(Arc::new(OverlayFile { file, held }))
            }
        }
    }

    fn create_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.disk.list(path)
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Box<dyn DirectoryLock>> {
        self.disk.lock_dir(path)
    }
}

#[derive(Debug)]
struct OverlayFile {
    file: Arc<dyn File>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    length: u64,
    /// So many bytes of the file below still count.
    below: u64,
    pages: BTreeMap<u64, Vec<u8>>,
}

impl OverlayFile {
    /// A page as it stands.
    fn page(&self, held: &Held, number: u64) -> io::Result<Vec<u8>> {
        if let Some(page) = held.pages.get(&number) {
            return Ok(page.clone());
        }
        let mut page = vec![0; PAGE_BYTES];
        let begin = number * PAGE_BYTES as u64;
        let there = usize::try_from(held.below.saturating_sub(begin)).unwrap_or(usize::MAX).min(PAGE_BYTES);
        self.file.read_exact_at(&mut page[..there], begin)?;
        Ok(page)
    }
}

/// The pages that `length` bytes from `offset` on touch: number, where in the page, where in
/// the bytes, how many.
fn parts(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % PAGE_BYTES as u64).expect("below the size of a page");
        let bytes = (PAGE_BYTES - within).min(length - done);
        let part = (at / PAGE_BYTES as u64, within, done, bytes);
        done += bytes;
        (bytes > 0).then_some(part)
    })
}

impl File for OverlayFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let held = self.held.lock();
        if offset + buffer.len() as u64 > held.length {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the file ends before"));
        }
        if held.pages.is_empty() && offset + buffer.len() as u64 <= held.below {
            return self.file.read_exact_at(buffer, offset);
        }
        for (number, within, done, bytes) in parts(offset, buffer.len()) {
            let page = self.page(&held, number)?;
            buffer[done..done + bytes].copy_from_slice(&page[within..within + bytes]);
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut held = self.held.lock();
        for (number, within, done, count) in parts(offset, bytes.len()) {
            let mut page = self.page(&held, number)?;
            page[within..within + count].copy_from_slice(&bytes[done..done + count]);
            held.pages.insert(number, page);
        }
        held.length = held.length.max(offset + bytes.len() as u64);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.held.lock().length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut held = self.held.lock();
        held.below = held.below.min(length);
        held.length = length;
        held.pages.retain(|number, _| number * (PAGE_BYTES as u64) < length);
        // What is cut off reads as zeroes when the file grows again.
        let (last, within) = (length / PAGE_BYTES as u64, length % PAGE_BYTES as u64);
        if let (Some(page), Ok(within)) = (held.pages.get_mut(&last), usize::try_from(within)) {
            page[within..].fill(0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writes_are_read_back_and_change_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let env = kelpie_env::real::env();
        let original: Vec<u8> = (0..10_000u32).map(|n| n.to_le_bytes()[0]).collect();
        let file = env.disk().open(&path, Open::New).unwrap();
        file.write_all_at(&original, 0).unwrap();

        let overlay = Overlay::new(env.disk().clone());
        let over = overlay.open(&path, Open::Existing).unwrap();
        let mut expected = original.clone();
        for (offset, bytes) in [(0, 10), (4090, 20), (9_995, 300), (20_000, 5)] {
            over.write_all_at(&vec![0xEE; bytes], offset as u64).unwrap();
            expected.resize(expected.len().max(offset + bytes), 0);
            expected[offset..offset + bytes].fill(0xEE);
        }
        over.set_len(4_100).unwrap();
        over.set_len(12_000).unwrap();
        expected.truncate(4_100);
        expected.resize(12_000, 0);
        let mut found = vec![1; expected.len()];
        over.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(found, expected);
        assert!(over.read_exact_at(&mut found, 1).is_err());

        let mut below = vec![0; original.len()];
        file.read_exact_at(&mut below, 0).unwrap();
        assert!(below == original && file.len().unwrap() == 10_000);
        assert!(overlay.remove(&path).is_err() && overlay.open(&dir.path().join("x"), Open::New).is_err());
    }
}
