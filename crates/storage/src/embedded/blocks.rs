//! The file under redb: every block is checked when it is read.
//!
//! ```text
//!   0      heads A, A, B, B     redb's first page: the newest whole head counts
//!   4096   block 1 · its check
//!   8200   block 2 · its check  …
//! ```
//!
//! redb sees an ordinary file. It verifies its own checksums only while it repairs, so that a
//! flipped bit would be read as data, a flipped pointer as other data, and a flipped length
//! would make it panic. Its first page is changed in place and only protected in parts: it is
//! kept four times, twice as the last sync left it.
//!
//! Invariant: what is read is what was last written to that place, or the read fails and the
//! place is noted.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kelpie_env::File;
use parking_lot::Mutex;
use redb::StorageBackend;

/// The page size of redb.
const BLOCK: usize = 4096;
/// What follows a block: a checksum of its number and its bytes, and [`TAG`].
const CHECK: usize = 8;
/// A place that was never written is no block.
const TAG: [u8; 4] = *b"kblk";
const PLACE: usize = BLOCK + CHECK;

/// A fold syncs after so many bytes, long before its commit: a disk that has tens of megabytes
/// to write makes the log's next fsync wait for all of them.
const UNSYNCED_MAX: usize = 1 << 20;

/// Bytes of redb's first page that it uses.
const HEAD_BYTES: usize = 320;
const HEAD_MAGIC: &[u8; 8] = b"kelpiehd";
/// A sector of its own for each copy of the head.
const HEAD_PLACE: usize = 512;
const COPIES: usize = 2;

const _: () = assert!(2 * COPIES * HEAD_PLACE <= BLOCK && HEAD_BYTES + 20 <= HEAD_PLACE, "heads fit");

/// What went wrong below redb. It reports a failed call once and refuses everything
/// afterwards, so what the first one was is kept here.
#[derive(Debug, Default)]
pub(super) struct Faults {
    first: Mutex<Option<Fault>>,
    retired: AtomicBool,
}

#[derive(Debug)]
pub(super) enum Fault {
    /// No room, found out before any sync.
    Full,
    /// What stands at that byte of the file is not what was written.
    Damaged { offset: u64, what: &'static str },
    /// The disk refused.
    Other,
}

impl Faults {
    pub(super) fn take(&self) -> Option<Fault> {
        self.first.lock().take()
    }

    /// Lets a database that is replaced write nothing more, not even while it is dropped.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

/// redb's file.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<dyn File>,
    faults: Arc<Faults>,
    head: Mutex<Head>,
    /// Bytes written since anything was synced.
    unsynced: AtomicUsize,
}

/// redb's first page.
#[derive(Debug)]
struct Head {
    bytes: [u8; HEAD_BYTES],
    sequence: u64,
    /// The places that the last sync has made durable; the others are written next.
    durable: usize,
    /// Whether those others were written since.
    written: bool,
}

impl Blocks {
    pub(super) fn open(file: Arc<dyn File>, faults: Arc<Faults>) -> io::Result<Self> {
        let len = file.len()?;
        let mut first = vec![0; BLOCK.min(usize::try_from(len).unwrap_or(BLOCK))];
        file.read_exact_at(&mut first, 0)?;
        let newest =
            (0..2 * COPIES).filter_map(|place| Head::decode(&first, place)).max_by_key(|h| h.sequence);
        let head = match newest {
            Some(head) => head,
            None if len == 0 => Head { bytes: [0; HEAD_BYTES], sequence: 0, durable: 1, written: false },
            None => return Err(damaged(&faults, 0, "no copy of its head is readable")),
        };
        Ok(Self { file, faults, head: Mutex::new(head), unsynced: AtomicUsize::new(0) })
    }

    fn noted<T>(&self, result: io::Result<T>, writing: bool) -> io::Result<T> {
        if let Err(error) = &result {
            let full = writing && error.kind() == ErrorKind::StorageFull;
            self.faults.first.lock().get_or_insert(if full { Fault::Full } else { Fault::Other });
        }
        result
    }

    fn write_head(&self, offset: usize, data: &[u8]) -> io::Result<()> {
        let mut head = self.head.lock();
        let place = head.bytes.get_mut(offset..offset + data.len()).ok_or(ErrorKind::InvalidInput)?;
        place.copy_from_slice(data);
        head.sequence += 1;
        head.written = true;
        let half = 1 - head.durable;
        self.file.write_all_at(&head.encode(), (half * COPIES * HEAD_PLACE) as u64)
    }

    fn read_head(&self, offset: usize, out: &mut [u8]) {
        let head = self.head.lock();
        let mut page = [0; BLOCK];
        page[..HEAD_BYTES].copy_from_slice(&head.bytes);
        out.copy_from_slice(&page[offset..offset + out.len()]);
    }

    fn write_blocks(&self, first: u64, data: &[u8]) -> io::Result<()> {
        let mut places = Vec::with_capacity(data.len() / BLOCK * PLACE);
        for (number, block) in (first..).zip(data.chunks_exact(BLOCK)) {
            places.extend_from_slice(block);
            places.extend_from_slice(&check(number, block));
        }
        self.file.write_all_at(&places, place_of(first))?;
        self.unsynced.fetch_add(data.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Lets the disk work off what was written. No sync of redb's: which head is durable is
    /// as it was, as if the disk had written early.
    fn work_off(&self) -> io::Result<()> {
        if self.unsynced.load(Ordering::Relaxed) < UNSYNCED_MAX {
            return Ok(());
        }
        self.unsynced.store(0, Ordering::Relaxed);
        self.noted(self.file.sync(), false)
    }

    fn read_blocks(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        let mut places = vec![0; out.len() / BLOCK * PLACE];
        match self.file.read_exact_at(&mut places, place_of(first)) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(damaged(&self.faults, place_of(first), "it ends before a page of it"));
            }
            other => self.noted(other, false)?,
        }
        for ((number, place), block) in
            (first..).zip(places.chunks_exact(PLACE)).zip(out.chunks_exact_mut(BLOCK))
        {
            let (bytes, found) = place.split_at(BLOCK);
            if found != check(number, bytes) && !kelpie_core::mutant!("base_reads_unchecked") {
                return Err(damaged(&self.faults, place_of(number), "a page does not match its checksum"));
            }
            block.copy_from_slice(bytes);
        }
        Ok(())
    }

    fn refuse_if_retired(&self) -> io::Result<()> {
        if self.faults.is_retired() {
            return Err(io::Error::other("another database has this file now"));
        }
        Ok(())
    }
}

impl Head {
    fn encode(&self) -> [u8; COPIES * HEAD_PLACE] {
        let mut places = [0; COPIES * HEAD_PLACE];
        for place in places.chunks_exact_mut(HEAD_PLACE) {
            place[..8].copy_from_slice(HEAD_MAGIC);
            place[8..16].copy_from_slice(&self.sequence.to_le_bytes());
            place[16..16 + HEAD_BYTES].copy_from_slice(&self.bytes);
            let checksum = crc32fast::hash(&place[..16 + HEAD_BYTES]);
            place[16 + HEAD_BYTES..20 + HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
        }
        places
    }

    fn decode(page: &[u8], place: usize) -> Option<Self> {
        let found = page.get(place * HEAD_PLACE..(place + 1) * HEAD_PLACE)?;
        let (said, checksum) = found[..20 + HEAD_BYTES].split_at(16 + HEAD_BYTES);
        if said[..8] != *HEAD_MAGIC || checksum != crc32fast::hash(said).to_le_bytes() {
            return None;
        }
        let sequence = u64::from_le_bytes(said[8..16].try_into().expect("eight bytes"));
        let bytes = said[16..].try_into().expect("as many as it has");
        Some(Self { bytes, sequence, durable: place / COPIES, written: false })
    }
}

impl StorageBackend for Blocks {
    fn len(&self) -> io::Result<u64> {
        let len = self.noted(self.file.len(), false)?;
        let places = len.saturating_sub(BLOCK as u64) / PLACE as u64;
        Ok(if len == 0 { 0 } else { (places + 1) * BLOCK as u64 })
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match within_head(offset, out.len()) {
            Some(offset) => {
                self.read_head(offset, out);
                Ok(())
            }
            None => self.read_blocks(whole_blocks(offset, out.len())?, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.refuse_if_retired()?;
        let places = whole_blocks(len, 0)?.saturating_sub(1);
        let len = if len == 0 { 0 } else { BLOCK as u64 + places * PLACE as u64 };
        self.noted(self.file.set_len(len), true)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.refuse_if_retired()?;
        self.unsynced.store(0, Ordering::Relaxed);
        self.noted(self.file.sync(), false)?;
        let mut head = self.head.lock();
        if std::mem::take(&mut head.written) {
            head.durable = 1 - head.durable;
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.refuse_if_retired()?;
        let written = match within_head(offset, data.len()) {
            Some(offset) => self.write_head(offset, data),
            None => self.write_blocks(whole_blocks(offset, data.len())?, data),
        };
        self.noted(written, true)?;
        self.work_off()
    }
}

/// Where in the first page that is, if there.
fn within_head(offset: u64, len: usize) -> Option<usize> {
    usize::try_from(offset).ok().filter(|offset| offset.saturating_add(len) <= BLOCK)
}

/// The number of the first block of a range that must be made of whole ones.
fn whole_blocks(offset: u64, len: usize) -> io::Result<u64> {
    let whole = offset.is_multiple_of(BLOCK as u64) && len.is_multiple_of(BLOCK);
    if whole { Ok(offset / BLOCK as u64) } else { Err(ErrorKind::InvalidInput.into()) }
}

/// Where block `number` stands in the file; the head has number zero.
fn place_of(number: u64) -> u64 {
    BLOCK as u64 + (number - 1) * PLACE as u64
}

/// Of the number too: a block that landed elsewhere is none.
fn check(number: u64, block: &[u8]) -> [u8; CHECK] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(block);
    let mut check = [0; CHECK];
    check[..4].copy_from_slice(&hasher.finalize().to_le_bytes());
    check[4..].copy_from_slice(&TAG);
    check
}

fn damaged(faults: &Faults, offset: u64, what: &'static str) -> io::Error {
    faults.first.lock().get_or_insert(Fault::Damaged { offset, what });
    io::Error::new(ErrorKind::InvalidData, what)
}
