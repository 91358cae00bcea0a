//! What the machine says of itself.

use std::fs;
use std::os::fd::AsFd;

use rustix::fs::{AtFlags, StatxFlags};

/// The statx mask that asks for a mount number that is never used twice in a boot (Linux 6.8).
const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
const HOST_CONTEXT: &str = "larder 1 host id";

/// What the machine says of itself: by it a killed daemon is distinguished from a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HostIdentity {
    /// The kernel's boot id; zeros where it cannot be read.
    pub boot_id: [u8; 16],
    /// A hash of the machine's id; zeros where it has none.
    pub host_id: [u8; 16],
    /// The kernel's number of the mount that holds the cache directory; 0 where it cannot say.
    pub disk_mount_id: u64,
    /// This process.
    pub pid: u32,
}

impl HostIdentity {
    /// The identity as it stands now, for a cache in the directory `dir`.
    pub fn read(dir: impl AsFd) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let machine = fs::read_to_string("/etc/machine-id")
            .or_else(|_| fs::read_to_string("/var/lib/dbus/machine-id"));
        Self {
            boot_id: boot
                .ok()
                .and_then(|text| parse_uuid(&text))
                .unwrap_or_default(),
            host_id: machine
                .ok()
                .and_then(|text| hash_machine_id(&text))
                .unwrap_or_default(),
            disk_mount_id: mount_id(dir, STATX_MNT_ID_UNIQUE)
                .or_else(|dir| mount_id(dir, StatxFlags::MNT_ID.bits()))
                .unwrap_or_default(),
            pid: std::process::id(),
        }
    }
}

/// The number of the mount that holds `dir`, if the kernel answers this mask; gives `dir` back otherwise.
fn mount_id<F: AsFd>(dir: F, mask: u32) -> Result<u64, F> {
    match rustix::fs::statx(
        &dir,
        "",
        AtFlags::EMPTY_PATH,
        StatxFlags::from_bits_retain(mask),
    ) {
        Ok(stat) if stat.stx_mask & mask != 0 => Ok(stat.stx_mnt_id),
        _ => Err(dir),
    }
}

/// The number of the mount of `dir` as `/proc/self/mountinfo` writes it.
pub(super) fn mountinfo_id(dir: impl AsFd) -> Option<u64> {
    mount_id(dir, StatxFlags::MNT_ID.bits()).ok()
}

/// The 16 bytes of a hexadecimal number with dashes.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    (digits.len() == 32).then(|| {
        number
            .to_le_bytes()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .try_into()
            .ok()
    })?
}

/// machine-id(5) demands that no other program sees the number itself, so it is hashed.
fn hash_machine_id(text: &str) -> Option<[u8; 16]> {
    let text = text.trim();
    let hash = blake3::derive_key(HOST_CONTEXT, text.as_bytes());
    (!text.is_empty()).then(|| hash.first_chunk().copied())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_written() {
        let id = parse_uuid("01020304-0506-0708-090a-0b0c0d0e0f10\n").unwrap();
        assert_eq!(id.to_vec(), (1..=16).collect::<Vec<u8>>());
        assert_eq!(parse_uuid("0102"), None);
        assert_eq!(parse_uuid("x"), None);
        assert_eq!(hash_machine_id(" \n"), None);
        assert_ne!(hash_machine_id("a"), hash_machine_id("b"));
    }

    #[test]
    fn this_machine_has_an_identity_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::open(dir.path()).unwrap();
        let (one, two) = (HostIdentity::read(&file), HostIdentity::read(&file));
        assert_eq!(one, two);
        assert_ne!(one.boot_id, [0; 16]);
        assert_ne!(one.disk_mount_id, 0);
        assert_eq!(one.pid, std::process::id());
    }
}
