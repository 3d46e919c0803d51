//! The names of files: those seen now, those that would survive, and the way between.
//!
//! A rename within a directory happens whole or not at all, as every journalling file
//! system does it; one between directories is two changes that can come apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inode::Inode;

type Table = BTreeMap<PathBuf, Arc<Inode>>;

#[derive(Default)]
pub(super) struct Names {
    live: Table,
    durable: Table,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Bind { path: PathBuf, inode: Arc<Inode> },
    Unbind { path: PathBuf, inode: Arc<Inode> },
    Move { from: PathBuf, to: PathBuf, inode: Arc<Inode> },
}

impl Change {
    fn directory(&self) -> &Path {
        match self {
            Self::Bind { path, .. } | Self::Unbind { path, .. } | Self::Move { to: path, .. } => parent(path),
        }
    }

    fn inode(&self) -> &Arc<Inode> {
        match self {
            Self::Bind { inode, .. } | Self::Unbind { inode, .. } | Self::Move { inode, .. } => inode,
        }
    }

    fn with(self, inode: Arc<Inode>) -> Self {
        match self {
            Self::Bind { path, .. } => Self::Bind { path, inode },
            Self::Unbind { path, .. } => Self::Unbind { path, inode },
            Self::Move { from, to, .. } => Self::Move { from, to, inode },
        }
    }

    fn apply(&self, table: &mut Table) {
        match self {
            Self::Bind { path, inode } => {
                table.insert(path.clone(), inode.clone());
            }
            Self::Unbind { path, inode } => unbind(table, path, inode),
            Self::Move { from, to, inode } => {
                unbind(table, from, inode);
                table.insert(to.clone(), inode.clone());
            }
        }
    }
}

impl Names {
    pub(super) fn find(&self, path: &Path) -> Option<&Arc<Inode>> {
        self.live.get(path)
    }

    pub(super) fn list(&self, dir: &Path) -> Vec<PathBuf> {
        self.live.keys().filter(|path| parent(path) == dir).cloned().collect()
    }

    pub(super) fn bind(&mut self, path: &Path, inode: Arc<Inode>) {
        self.change(Change::Bind { path: path.to_owned(), inode });
    }

    /// Removes a name that exists.
    pub(super) fn unbind(&mut self, path: &Path) {
        if let Some(inode) = self.live.get(path).cloned() {
            self.change(Change::Unbind { path: path.to_owned(), inode });
        }
    }

    /// Renames a name that exists; returns the file that lost its name by it.
    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> Option<Arc<Inode>> {
        if from == to {
            return None;
        }
        let inode = self.live.get(from).cloned()?;
        let replaced = self.live.get(to).cloned();
        let (from, to) = (from.to_owned(), to.to_owned());
        if parent(&from) == parent(&to) {
            self.change(Change::Move { from, to, inode });
        } else {
            self.change(Change::Bind { path: to, inode: inode.clone() });
            self.change(Change::Unbind { path: from, inode });
        }
        replaced
    }

    /// Makes the names in `dir` durable.
    pub(super) fn sync(&mut self, dir: &Path) {
        for change in self.pending.extract_if(.., |change| change.directory() == dir) {
            change.apply(&mut self.durable);
        }
    }

    /// Power is cut: `keep` says of each change that was not synced whether it survives, and
    /// is told whether it is a rename.
    pub(super) fn cut(&mut self, mut keep: impl FnMut(bool) -> bool) {
        for change in self.pending.drain(..) {
            if keep(matches!(change, Change::Move { .. })) {
                change.apply(&mut self.durable);
            }
        }
        self.live = self.durable.clone();
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// All files that have or could get a name, in the order of their creation.
    pub(super) fn inodes(&self) -> BTreeMap<u64, Arc<Inode>> {
        let pending = self.pending.iter().map(Change::inode);
        let all = self.live.values().chain(self.durable.values()).chain(pending);
        all.map(|inode| (inode.id(), inode.clone())).collect()
    }

    /// The same names, of the same files, on another disk.
    pub(super) fn fork(&self) -> Self {
        let forked: BTreeMap<u64, Arc<Inode>> =
            self.inodes().into_iter().map(|(id, inode)| (id, Arc::new(inode.fork()))).collect();
        let own = |inode: &Arc<Inode>| forked[&inode.id()].clone();
        let table = |table: &Table| table.iter().map(|(path, inode)| (path.clone(), own(inode))).collect();
        let pending = self.pending.iter().map(|change| change.clone().with(own(change.inode()))).collect();
        Self { live: table(&self.live), durable: table(&self.durable), pending }
    }

    /// All names.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.live.keys().cloned().collect()
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }
}

fn unbind(table: &mut Table, path: &Path, inode: &Arc<Inode>) {
    // An earlier change of this name may have been lost: then it is another file's.
    if table.get(path).is_some_and(|bound| Arc::ptr_eq(bound, inode)) {
        table.remove(path);
    }
}

/// The directory of a file; the current one for a bare name.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
