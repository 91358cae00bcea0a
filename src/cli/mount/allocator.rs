//! The allocator of the C library, for a daemon that runs for months.

/// Has the allocator of the C library give memory back: by itself it keeps one heap for each of many threads, and in
/// those what large buffers took once.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the allocator is told so by a C function alone")]
pub(super) fn tune() {
    /// Buffers of this size and more are mapped, and unmapped when they are freed.
    const MAPPED: libc::c_int = 256 << 10;
    /// So many heaps at most.
    const HEAPS: libc::c_int = 4;
    // SAFETY: mallopt sets numbers of the allocator, under the allocator's own lock; a refusal is its answer 0.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, HEAPS);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * MAPPED);
    }
}

/// Other C libraries have no such numbers.
#[cfg(not(target_env = "gnu"))]
pub(super) fn tune() {}
