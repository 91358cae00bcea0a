//! What the kernel has read from disk on behalf of one thread.

/// How many blocks of 512 bytes this thread has had read from disk so far, as the kernel accounts it (`ru_inblock` of
/// getrusage(2)); 0 for ever where it does not.
///
/// A read with `RWF_NOWAIT` may start to bring missing pages in, and where the disk is quick enough it even delivers
/// them. This count distinguishes such a read from one that found its bytes in memory.
#[expect(
    unsafe_code,
    reason = "no safe interface to getrusage is among the crates"
)]
pub(in crate::storage) fn blocks_read() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, which is valid as zeros and is only written to.
    unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init().ru_inblock
    }
}
