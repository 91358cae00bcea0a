//! Mount options: what is understood, what is refused and why, and how it reaches the kernel.

use fuser::{Config, MountOption, SessionACL};
use rustix::mount::MountFlags;

use super::error::MountError;

/// The options of a mount, beyond those that every mount of ours has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// The flags of mount(2).
    pub(super) flags: MountFlags,
    pub(super) allow_other: bool,
    pub(super) fsname: Option<String>,
}

impl Options {
    /// Reads options as `-o` takes them.
    pub(super) fn parse(options: &[String]) -> Result<Self, MountError> {
        let mut parsed = Self {
            flags: MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
            allow_other: false,
            fsname: None,
        };
        let each = options.iter().flat_map(|option| option.split(','));
        for option in each.map(str::trim).filter(|option| !option.is_empty()) {
            parsed.add(option)?;
        }
        Ok(parsed)
    }

    fn add(&mut self, option: &str) -> Result<(), MountError> {
        let refuse = |why| {
            Err(MountError::Option {
                option: option.to_owned(),
                why,
            })
        };
        match option {
            "noexec" => self.flags |= MountFlags::NOEXEC,
            "exec" => self.flags -= MountFlags::NOEXEC,
            "noatime" => self.flags |= MountFlags::NOATIME,
            "nodiratime" => self.flags |= MountFlags::NODIRATIME,
            "allow_other" => self.allow_other = true,
            // What every mount of ours is anyway, and what only mount(8) or the boot read.
            "ro"
            | "nosuid"
            | "nodev"
            | "default_permissions"
            | "async"
            | "atime"
            | "relatime"
            | "auto"
            | "noauto"
            | "nofail"
            | "_netdev"
            | "user"
            | "nouser"
            | "users"
            | "owner"
            | "group"
            | "defaults" => {}
            "rw" => return refuse("cannot be had: a mount is read-only; leave it out"),
            "suid" | "dev" => {
                return refuse(
                    "cannot be had: programs and devices of a remote get no privileges here; leave it out",
                );
            }
            "allow_root" => return refuse("is unknown: use allow_other"),
            "auto_unmount" => {
                return refuse(
                    "is not needed: the next mount clears a dead mount point; leave it out",
                );
            }
            _ => match option.split_once('=') {
                Some(("fsname", name)) => self.fsname = Some(name.to_owned()),
                Some(("comment", _)) => {}
                _ if option.starts_with("x-") => {}
                _ => return refuse("is unknown: larder mount --help names those that there are"),
            },
        }
        Ok(())
    }

    /// As fuser takes them, for the mount through fusermount3, together with how the session runs.
    pub(super) fn config(&self, fsname: &str, allow_other: bool, threads: usize) -> Config {
        let mut config = Config::default();
        config.acl = if allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        config.n_threads = Some(threads.max(2));
        config.clone_fd = true;
        config.mount_options = vec![
            MountOption::RO,
            MountOption::NoSuid,
            MountOption::NoDev,
            MountOption::DefaultPermissions,
            MountOption::Subtype(SUBTYPE.to_owned()),
            MountOption::FSName(escaped(fsname)),
        ];
        let more = [
            (MountFlags::NOEXEC, MountOption::NoExec),
            (MountFlags::NOATIME, MountOption::NoAtime),
        ];
        let chosen = more
            .into_iter()
            .filter(|(flag, _)| self.flags.contains(*flag));
        config
            .mount_options
            .extend(chosen.map(|(_, option)| option));
        config
    }
}

/// The part of the file system type behind `fuse.`.
pub(super) const SUBTYPE: &str = "larder";

/// A name as fusermount3 takes it within its list of options.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace(',', "\\,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Result<Options, MountError> {
        Options::parse(&options.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn known_options_are_taken_and_others_refused_with_a_sentence() {
        let base = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        assert_eq!(parse(&[]).unwrap().flags, base);
        let all = parse(&[
            "ro,noatime,noexec",
            "allow_other",
            "fsname=a b",
            "x-systemd.a=1,,",
        ]);
        let all = all.unwrap();
        assert_eq!(all.flags, base | MountFlags::NOATIME | MountFlags::NOEXEC);
        assert!(all.allow_other);
        assert_eq!(all.fsname.as_deref(), Some("a b"));
        for (option, word) in [
            ("rw", "read-only"),
            ("suid", "privileges"),
            ("dev", "privileges"),
            ("direct_io", "unknown"),
            ("allow_root", "allow_other"),
        ] {
            let sentence = parse(&["ro", option]).unwrap_err().to_string();
            assert!(
                sentence.contains(option) && sentence.contains(word),
                "{sentence}"
            );
        }
    }

    #[test]
    fn a_session_has_at_least_two_threads() {
        let options = parse(&["noexec"]).unwrap();
        let config = options.config("a,b\\c", false, 1);
        assert_eq!((config.n_threads, config.acl), (Some(2), SessionACL::Owner));
        assert!(config.mount_options.contains(&MountOption::NoExec));
        let name = MountOption::FSName("a\\,b\\\\c".to_owned());
        assert!(config.mount_options.contains(&name));
        assert_eq!(options.config("a", true, 9).n_threads, Some(9));
    }
}
