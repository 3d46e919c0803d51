//! One file's bytes: those seen now, those that would survive, and the way between.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;

use super::super::chance::Chance;
use super::crash::{Mood, Survived};
use super::pages::{PAGE, Pages};

/// Simulated files live in memory; a length beyond this is a mistake, not a file.
const FILE_BYTES_MAX: usize = 1 << 30;

/// The unit in which a file takes space into use. Holes take none.
const BLOCK: usize = PAGE;

/// A change that no sync has confirmed.
#[derive(Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Pages },
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Pages) {
        match self {
            Self::Write { offset, bytes } => content.put(*offset, bytes),
            Self::Length(length) => content.set_len(*length),
        }
    }
}

pub(super) struct Inode {
    id: u64,
    content: Mutex<Content>,
}

/// Shared with the images taken of it until it changes.
#[derive(Default, Clone)]
struct Content {
    live: Arc<Pages>,
    durable: Arc<Pages>,
    pending: Vec<Arc<Change>>,
    /// Which blocks are in use.
    blocks: Vec<bool>,
    /// What the latest writes replaced, and where it stood.
    replaced: VecDeque<(usize, Arc<[u8]>)>,
}

/// How many writes ago the content is that a stale read may bring.
const REPLACED_MAX: usize = 16;

impl Content {
    /// Keeps what a write is about to replace.
    fn keep_replaced(&mut self, offset: usize, length: usize) {
        let end = self.live.len().min(offset + length);
        if offset < end {
            self.replaced.push_back((offset, self.live.bytes(offset..end).into()));
            if self.replaced.len() > REPLACED_MAX {
                self.replaced.pop_front();
            }
        }
    }
}

impl Inode {
    pub(super) fn new(id: u64) -> Self {
        Self { id, content: Mutex::default() }
    }

    /// The same file on another disk.
    pub(super) fn fork(&self) -> Self {
        Self { id: self.id, content: Mutex::new(self.content.lock().clone()) }
    }

    /// A file that has been there for long.
    pub(super) fn settled(id: u64, bytes: &[u8]) -> Self {
        let blocks = vec![true; bytes.len().div_ceil(BLOCK)];
        let live = Arc::new(Pages::of(bytes));
        Self {
            id,
            content: Mutex::new(Content { durable: live.clone(), live, blocks, ..Content::default() }),
        }
    }

    /// All its bytes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let content = self.content.lock();
        content.live.bytes(0..content.live.len())
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.content.lock().live.len()).expect("a length")
    }

    /// Bytes that it has taken into use.
    pub(super) fn space(&self) -> u64 {
        space(&self.content.lock().blocks)
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        let content = self.content.lock();
        let offset = usize::try_from(offset).map_err(|_| ErrorKind::UnexpectedEof)?;
        let end = offset.checked_add(buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        if end > content.live.len() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        content.live.read(offset, buffer);
        Ok(())
    }

    /// Writes as many of `bytes` as there is space for; an error if not all.
    pub(super) fn write(&self, bytes: &[u8], offset: u64, free: &mut Option<u64>) -> io::Result<()> {
        let offset = position(offset)?;
        if bytes.len() > FILE_BYTES_MAX - offset {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let content = &mut *self.content.lock();
        let fit = allocate(&mut content.blocks, offset, bytes.len(), free);
        if fit > 0 {
            content.keep_replaced(offset, fit);
            let change = Change::Write { offset, bytes: Pages::of(&bytes[..fit]) };
            change.apply(Arc::make_mut(&mut content.live));
            content.pending.push(Arc::new(change));
        }
        if fit == bytes.len() { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
    }

    /// Puts into `buffer`, which was read at `offset`, what the latest write that changed some
    /// of it replaced; false when there is none.
    pub(super) fn age(&self, buffer: &mut [u8], offset: u64) -> bool {
        let Ok(offset) = usize::try_from(offset) else { return false };
        let content = self.content.lock();
        for (at, old) in content.replaced.iter().rev() {
            let (start, end) = (offset.max(*at), (offset + buffer.len()).min(at + old.len()));
            if start < end && buffer[start - offset..end - offset] != old[start - at..end - at] {
                buffer[start - offset..end - offset].copy_from_slice(&old[start - at..end - at]);
                return true;
            }
        }
        false
    }

    /// Cuts the file, or extends it by a hole.
    pub(super) fn set_len(&self, len: u64, free: &mut Option<u64>) -> io::Result<()> {
        let length = position(len)?;
        let content = &mut *self.content.lock();
        let before = space(&content.blocks);
        content.blocks.truncate(length.div_ceil(BLOCK));
        if let Some(free) = free {
            *free += before - space(&content.blocks);
        }
        let change = Change::Length(length);
        change.apply(Arc::make_mut(&mut content.live));
        content.pending.push(Arc::new(change));
        Ok(())
    }

    pub(super) fn sync(&self) {
        let content = &mut *self.content.lock();
        if content.pending.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut content.durable);
        for change in content.pending.drain(..) {
            change.apply(durable);
        }
    }

    /// A sync fails: the kernel takes the pages for clean, whatever of them got written. A
    /// later sync has nothing to do.
    pub(super) fn fail_sync(&self, chance: &mut Chance, survived: &mut Survived) {
        let content = &mut *self.content.lock();
        let pending = std::mem::take(&mut content.pending);
        Mood::draw(chance).settle(&pending, Arc::make_mut(&mut content.durable), chance, survived);
    }

    /// Power is cut.
    pub(super) fn cut(&self, mood: Mood, chance: &mut Chance, survived: &mut Survived) {
        let content = &mut *self.content.lock();
        let pending = std::mem::take(&mut content.pending);
        mood.settle(&pending, Arc::make_mut(&mut content.durable), chance, survived);
        content.live.clone_from(&content.durable);
        content.blocks.truncate(content.live.len().div_ceil(BLOCK));
    }

    /// Flips a bit, now and for good; false beyond the end.
    pub(super) fn flip(&self, offset: u64, bit: u8) -> bool {
        let content = &mut *self.content.lock();
        let Ok(offset) = usize::try_from(offset) else { return false };
        if !Arc::make_mut(&mut content.live).flip(offset, bit) {
            return false;
        }
        Arc::make_mut(&mut content.durable).flip(offset, bit);
        // What waits for a sync would undo it.
        for change in &mut content.pending {
            if let Change::Write { offset: start, bytes } = Arc::make_mut(change)
                && let Some(at) = offset.checked_sub(*start)
            {
                bytes.flip(at, bit);
            }
        }
        true
    }
}

fn position(offset: u64) -> io::Result<usize> {
    match usize::try_from(offset) {
        Ok(offset) if offset <= FILE_BYTES_MAX => Ok(offset),
        _ => Err(ErrorKind::FileTooLarge.into()),
    }
}

/// Takes blocks into use until there is no space; returns how many of `length` bytes fit.
fn allocate(blocks: &mut Vec<bool>, offset: usize, length: usize, free: &mut Option<u64>) -> usize {
    const BLOCK_BYTES: u64 = BLOCK as u64;
    let end = offset + length;
    for block in offset / BLOCK..end.div_ceil(BLOCK) {
        if blocks.get(block) == Some(&true) {
            continue;
        }
        match free {
            None => {}
            Some(free) if *free >= BLOCK_BYTES => *free -= BLOCK_BYTES,
            Some(_) => return (block * BLOCK).saturating_sub(offset),
        }
        if blocks.len() <= block {
            blocks.resize(block + 1, false);
        }
        blocks[block] = true;
    }
    length
}

fn space(blocks: &[bool]) -> u64 {
    let used = blocks.iter().filter(|used| **used).count() * BLOCK;
    u64::try_from(used).expect("a length")
}
