//! The client's network thread: started once per process, stopped before the process ends.

use std::ffi::c_int;
use std::sync::OnceLock;

use foundationdb::api::{FdbApiBuilder, NetworkAutoStop};
use foundationdb::{FdbError, FdbResult};
use parking_lot::Mutex;

/// Stops the thread when it is dropped. A network cannot be started again, so it outlives
/// every store, and all stores of a process share it.
static THREAD: Mutex<Option<NetworkAutoStop>> = Mutex::new(None);

/// `platform_error`: the process has no room for one more handler.
const PLATFORM_ERROR: c_int = 1500;

/// Starts the network unless it runs. Says the same to all who ask: a client that could not
/// be started once cannot be started in this process.
pub(super) fn start() -> FdbResult<()> {
    static STARTED: OnceLock<FdbResult<()>> = OnceLock::new();
    *STARTED.get_or_init(start_now)
}

#[expect(unsafe_code, reason = "the C library asks that its thread be stopped before the process exits")]
fn start_now() -> FdbResult<()> {
    unsafe extern "C" {
        fn atexit(handler: extern "C" fn()) -> c_int;
    }
    let network = FdbApiBuilder::default().build()?;
    // SAFETY: `atexit` is C's, with C's signature; `stop` neither unwinds nor exits.
    if unsafe { atexit(stop) } != 0 {
        return Err(FdbError::from_code(PLATFORM_ERROR));
    }
    // SAFETY: `boot` asks that what it returns be dropped before the process exits. Whoever
    // exits, by returning from `main` or by calling `exit`, runs `stop`, which drops it, and
    // runs it before the C library's own handlers, which were registered earlier. A process
    // that aborts or is killed runs no handler, which `boot` allows.
    let thread = unsafe { network.boot() }?;
    *THREAD.lock() = Some(thread);
    Ok(())
}

extern "C" fn stop() {
    drop(THREAD.lock().take());
}
