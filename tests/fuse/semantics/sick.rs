//! What a reader sees while the cache disk does not answer.

use std::time::Duration;

use super::super::power::lossy::{Answer, Trouble};
use super::super::sick::{Machine, PATIENCE, hedged, hot, read, recover};

/// F8. While the cache disk does not answer, a read that needs it waits for it two seconds, and the reads after it do not
/// wait: they are answered by the remote until the disk answers again.
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
    let times: Vec<Duration> = (0..8)
        .map(|n| {
            let (name, right) = hot(n);
            read(&daemon.mnt.join(name), &right, 0, 64 << 10, true)
        })
        .collect();
    let waited = hedged(&daemon.mnt) - before;
    machine.disk.trouble(Trouble::default());
    // All were answered while the disk hung. How long that took on a busy machine says little: larder itself counts the
    // reads that waited until the remote was asked.
    assert_eq!(waited, 1, "{times:?}");
    assert!(times[0] >= PATIENCE, "{times:?}");
    recover(&daemon.mnt, 0);
    daemon.stop();
}
