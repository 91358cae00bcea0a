//! Mount options: what is understood, what is refused and why, and how it reaches the kernel.

use fuser::{Config, SessionACL};
use rustix::mount::MountFlags;

use super::error::MountError;

/// The options of a mount, beyond those that every mount of ours has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Options {
    /// The flags of mount(2).
    pub(super) flags: MountFlags,
    pub(super) allow_other: bool,
    pub(super) fsname: Option<String>,
    /// Whether the mount may cover what its mount point holds.
    pub(super) nonempty: bool,
}

impl Options {
    /// Reads options as `-o` takes them.
    pub(super) fn parse(options: &[String]) -> Result<Self, MountError> {
        let mut parsed = Self {
            flags: MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV,
            allow_other: false,
            fsname: None,
            nonempty: false,
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
            "nonempty" => self.nonempty = true,
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
            "rw" => return refuse("is not possible: larder mounts are read-only. Leave it out"),
            "suid" | "dev" => {
                return refuse(
                    "is not possible: programs and device files of a remote get no privileges on this machine. Leave it out",
                );
            }
            "allow_root" => return refuse("is unknown: use allow_other"),
            "auto_unmount" => {
                return refuse(
                    "is not needed: the next mount clears a dead mount point. Leave it out",
                );
            }
            _ => match option.split_once('=') {
                Some(("fsname", name)) => self.fsname = Some(name.to_owned()),
                Some(("comment", _)) => {}
                _ if option.starts_with("x-") => {}
                _ => {
                    return refuse(
                        "is unknown: `man 8 mount` lists those for every file system, and larder adds allow_other, fsname=NAME and nonempty",
                    );
                }
            },
        }
        Ok(())
    }

    /// How the session runs. Each thread has a descriptor of its own where the device can be opened; where it cannot, for
    /// it is root's, they share the one that the helper handed over.
    pub(super) fn config(allow_other: bool, threads: usize, own_descriptors: bool) -> Config {
        let mut config = Config::default();
        config.acl = if allow_other {
            SessionACL::All
        } else {
            SessionACL::Owner
        };
        config.n_threads = Some(threads.max(2));
        config.clone_fd = own_descriptors;
        config
    }

    /// As fusermount3 takes them.
    pub(super) fn for_helper(&self, fsname: &str, allow_other: bool) -> String {
        let fsname = format!("fsname={}", escaped(fsname));
        let subtype = format!("subtype={SUBTYPE}");
        let mut options = vec![
            "ro",
            "nosuid",
            "nodev",
            "default_permissions",
            &subtype,
            &fsname,
        ];
        let more = [
            (MountFlags::NOEXEC, "noexec"),
            (MountFlags::NOATIME, "noatime"),
        ];
        let chosen = more
            .into_iter()
            .filter(|(flag, _)| self.flags.contains(*flag));
        options.extend(chosen.map(|(_, option)| option));
        if allow_other {
            options.push("allow_other");
        }
        options.join(",")
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
            "fsname=a b,nonempty",
            "x-systemd.a=1,,",
        ]);
        let all = all.unwrap();
        assert_eq!(all.flags, base | MountFlags::NOATIME | MountFlags::NOEXEC);
        assert!(all.allow_other && all.nonempty);
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
        let config = Options::config(false, 1, true);
        assert_eq!((config.n_threads, config.acl), (Some(2), SessionACL::Owner));
        assert_eq!(Options::config(true, 9, false).n_threads, Some(9));
    }

    #[test]
    fn the_helper_gets_them_in_one_word() {
        let options = parse(&["noexec"]).unwrap();
        let base = "ro,nosuid,nodev,default_permissions,subtype=larder";
        assert_eq!(
            options.for_helper("a,b\\c", false),
            format!("{base},fsname=a\\,b\\\\c,noexec")
        );
        let options = parse(&[]).unwrap();
        assert_eq!(
            options.for_helper("/a", true),
            format!("{base},fsname=/a,allow_other")
        );
    }
}
