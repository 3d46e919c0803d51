//! Files: what the system shows, what the disk holds, and what a fault leaves of them.

use std::collections::BTreeSet;

use kelpie_core::log::frame::{self, Header, RECORDS_BEGIN};

use super::{Cell, File, Name, Written};

impl File {
    pub(super) fn empty(slots: usize) -> Self {
        Self {
            name: Name::None,
            name_disk: Name::None,
            head: None,
            head_disk: None,
            head_dirty: false,
            cells: vec![None; slots],
            cells_disk: vec![None; slots],
            dirty: BTreeSet::new(),
        }
    }

    /// Everything that is shown is on disk.
    pub(super) fn sync(&mut self) {
        let dirty = self.dirty.clone();
        self.half_sync(&dirty, true);
    }

    /// After a failed sync anything may be on disk, and the system takes all of it for written.
    pub(super) fn half_sync(&mut self, cells: &BTreeSet<usize>, head: bool) {
        if self.head_dirty && head {
            self.head_disk = self.head;
        }
        self.head_dirty = false;
        for place in std::mem::take(&mut self.dirty) {
            if cells.contains(&place) {
                self.cells_disk[place] = self.cells[place];
            }
        }
    }

    pub(super) fn write(&mut self, place: usize, cell: Cell) {
        self.cells[place] = cell;
        self.dirty.insert(place);
    }

    pub(super) fn write_head(&mut self, head: Header) {
        self.head = Some(head);
        self.head_dirty = true;
    }

    /// What a power cut may leave: each of name, header and cells is kept, lost or torn alone.
    pub(super) fn survivors(&self) -> Vec<Self> {
        let mut names = vec![self.name];
        if self.name_disk != self.name {
            names.push(self.name_disk);
        }
        let mut heads = vec![self.head_disk];
        if self.head_dirty && self.head != self.head_disk {
            heads.extend([self.head, None]);
        }
        let mut left: Vec<Vec<Cell>> = vec![vec![]];
        for (place, (shown, held)) in self.cells.iter().zip(&self.cells_disk).enumerate() {
            let mut fates = vec![*held];
            if self.dirty.contains(&place) && shown != held {
                fates.extend([*shown, None]);
            }
            left = left
                .into_iter()
                .flat_map(|cells| fates.iter().map(move |fate| [&cells[..], &[*fate]].concat()))
                .collect();
        }
        let mut survivors: Vec<Self> = Vec::new();
        for name in names {
            for head in &heads {
                for cells in &left {
                    let survivor = Self {
                        name,
                        name_disk: name,
                        head: *head,
                        head_disk: *head,
                        head_dirty: false,
                        cells: cells.clone(),
                        cells_disk: cells.clone(),
                        dirty: BTreeSet::new(),
                    };
                    if !survivors.contains(&survivor) {
                        survivors.push(survivor);
                    }
                }
            }
        }
        survivors
    }
}

/// A segment's bytes.
pub(super) fn bytes(cells: &[Cell]) -> Vec<u8> {
    let mut bytes = vec![0; RECORDS_BEGIN];
    for cell in cells {
        let mut record = Vec::new();
        let Written { lsn, generation, synced, id } =
            cell.unwrap_or(Written { lsn: 1, generation: 0, synced: 0, id: 0 });
        frame::append(&mut record, lsn, |body| body.extend_from_slice(&(id as u64).to_le_bytes()));
        frame::seal(&mut record, generation, synced);
        if cell.is_none() {
            record.fill(0);
        }
        bytes.extend(record);
    }
    bytes
}
