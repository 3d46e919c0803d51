//! Stands in the place of the C library's `getrandom` and `clock_gettime`, in `kelpie-sim` and in
//! the tests of this crate: what asks for them past its environment, inside of a simulation, is
//! answered by the simulated world, and told. Everywhere else the kernel answers.
//!
//! A program's own function comes before that of a library of the same name, for the program's
//! code as for what is looked up by name at run time. So both the standard library (the keys of
//! hash maps, `Instant::now`, `SystemTime::now`) and the crate `getrandom` end up here. What asks
//! the kernel itself does not: system calls written out, the crate `rustix`, the C library for
//! its own use; and no other function (`gettimeofday`, `time`, `arc4random`) is replaced.
#![expect(unsafe_code, reason = "functions of the C library are replaced, and speak its language")]

use std::ffi::{c_int, c_uint, c_void};

use kelpie_env::sim::{slipped_random, slipped_time};

/// As getrandom(2).
///
/// # Safety
/// `buffer` points to `length` bytes that may be written, as the C library asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    // Who asks for nothing, as the crate `getrandom` does once in a process, only wants to know
    // whether there is such a call.
    if !buffer.is_null() && length > 0 && isize::try_from(length).is_ok() {
        let mut bytes = vec![0; length];
        if slipped_random(&mut bytes) {
            // SAFETY: by the contract of this function; and what is new overlaps with nothing.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast(), length) };
            return length.cast_signed();
        }
    }
    // SAFETY: the arguments are those of the system call, under the same contract.
    let filled = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
    // The bytes filled or -1, on a machine with words of 64 bits.
    isize::try_from(filled).unwrap_or(-1)
}

/// As clock_gettime(2). Clocks of processor time stay the kernel's.
///
/// # Safety
/// `time` points to a `timespec` that may be written, as the C library asks for.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    let wall = matches!(clock, libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE | libc::CLOCK_TAI);
    let of_processor = matches!(clock, libc::CLOCK_PROCESS_CPUTIME_ID | libc::CLOCK_THREAD_CPUTIME_ID);
    if !time.is_null()
        && !of_processor
        && let Some(now) = slipped_time(wall)
    {
        let seconds = libc::time_t::try_from(now.as_secs()).unwrap_or(libc::time_t::MAX);
        let now = libc::timespec { tv_sec: seconds, tv_nsec: now.subsec_nanos().into() };
        // SAFETY: by the contract of this function.
        unsafe { time.write(now) };
        return 0;
    }
    // SAFETY: the arguments are those of the system call, under the same contract.
    let done = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    // 0 or -1.
    c_int::try_from(done).unwrap_or(-1)
}
