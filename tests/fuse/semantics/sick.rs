//! What a reader sees while the cache disk does not answer.

use std::time::Duration;

use super::super::power::lossy::{Answer, Trouble};
use super::super::sick::{Machine, PATIENCE, SLACK, hot, read, recover};

/// F8. While the cache disk does not respond, a read that needs it waits two seconds for it, and later reads do not
/// wait: the remote answers them until the disk responds again.
#[test]
fn f8_a_disk_that_hangs_is_waited_for_once() {
    let machine = Machine::new();
    let daemon = machine.daemon();
    recover(&daemon.mnt, 0);
    machine.forget_pages();
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
    machine.disk.trouble(Trouble::default());
    let waited = times.iter().filter(|took| **took >= PATIENCE / 2).count();
    assert_eq!(waited, 1, "{times:?}");
    assert!(times.iter().max() <= Some(&(PATIENCE + SLACK)), "{times:?}");
    recover(&daemon.mnt, 0);
    daemon.stop();
}
