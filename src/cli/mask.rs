//! Which signals wait. A mount blocks its signals before it does anything else, so that none of them ends it by default
//! while it is starting: its daemon inherits that, and later hands them to one thread, so that no other call is interrupted.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// The signals that a daemon acts on.
pub(super) const ACTED_ON: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
/// Those that end a process which only starts a daemon.
pub(super) const ENDS: [i32; 2] = [SIGINT, SIGTERM];

/// From here on these signals wait, in this thread and in the threads and processes that it starts.
pub(super) fn block(signals: &[i32]) {
    change(libc::SIG_BLOCK, signals);
}

/// This thread takes these signals again, those that have waited at once.
pub(super) fn unblock(signals: &[i32]) {
    change(libc::SIG_UNBLOCK, signals);
}

#[expect(
    unsafe_code,
    reason = "no crate has a safe interface to pthread_sigmask"
)]
fn change(how: i32, signals: &[i32]) {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset makes the set valid before it is used, and each call only touches what it is pointed to.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        // It fails only for an unknown `how`.
        libc::pthread_sigmask(how, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked() -> u64 {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let mask = status.lines().find_map(|l| l.strip_prefix("SigBlk:"));
        u64::from_str_radix(mask.unwrap().trim(), 16).unwrap()
    }

    #[test]
    fn signals_wait_and_are_taken_again() {
        let bits = |signals: &[i32]| signals.iter().fold(0, |all, n| all | 1u64 << (n - 1));
        let before = blocked();
        block(&ACTED_ON);
        assert_eq!(blocked(), before | bits(&ACTED_ON));
        let inherited = std::thread::spawn(blocked).join().unwrap();
        assert_eq!(inherited, before | bits(&ACTED_ON));
        unblock(&ENDS);
        assert_eq!(blocked() & bits(&ENDS), 0);
        unblock(&ACTED_ON);
        assert_eq!(blocked() & bits(&ACTED_ON), 0);
    }
}
