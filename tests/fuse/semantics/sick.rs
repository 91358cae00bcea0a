//! What a reader sees while the cache disk does not answer.

use std::time::Duration;

use super::super::cli::rig::wait_until;
use super::super::power::lossy::{Answer, Trouble};
use super::super::sick::{Machine, PATIENCE, hedged, hot, read, recover, stats};

/// F8. If the cache disk does not respond, a read that needs the disk waits two seconds for it. Later reads do not
/// wait: the remote answers them until the disk responds again.
#[test]
fn f8_a_disk_that_hangs_is_waited_for_once() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    recover(&daemon.mnt, 0);
    machine.forget_pages();
    let before = hedged(&daemon.mnt);
    machine.disk.trouble(Trouble {
        reads: Answer::Hang,
        writes: Answer::Hang,
    });
    let look = |n| {
        let (name, right) = hot(n);
        read(&daemon.mnt.join(name), &right, 0, 64 << 10, true)
    };
    let first = look(0);
    let waited = hedged(&daemon.mnt) - before;
    assert!(first >= PATIENCE && waited == 1, "{first:?}, {waited}");
    // That it hangs is known at the next tick.
    wait_until("the disk is known to hang", || {
        stats(&daemon.mnt)["disk"]["reading"] == "hung"
    });
    // All are answered while the disk hangs. How long that takes on a busy machine says little: larder itself counts the
    // reads that waited until the remote was asked.
    let times: Vec<Duration> = (1..8).map(look).collect();
    let waited = hedged(&daemon.mnt) - before;
    machine.disk.trouble(Trouble::default());
    assert_eq!(waited, 1, "{times:?}");
    recover(&daemon.mnt, 0);
    daemon.stop();
}
