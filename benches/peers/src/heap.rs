//! Counts the heap while it is asked to: at other times an allocation costs a look at a flag.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;
static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);

/// Bytes that were asked for and not given back since counting began.
pub(crate) fn live() -> i64 {
    COUNTS.store(true, Ordering::SeqCst);
    LIVE.load(Ordering::SeqCst)
}

fn changed(bytes: usize, sign: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(sign * i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        changed(layout.size(), 1);
        // SAFETY: the caller keeps what `GlobalAlloc::alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        changed(layout.size(), -1);
        // SAFETY: `place` came from `alloc` above, so from the system's allocator.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        changed(layout.size(), -1);
        changed(size, 1);
        // SAFETY: as for `dealloc` and `alloc`.
        unsafe { System.realloc(place, layout, size) }
    }
}
