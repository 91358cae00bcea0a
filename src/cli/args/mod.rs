//! The command line: what can be said, its defaults and its help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::quantity::{
    parse_chunk_policy, parse_duration, parse_positive_duration, parse_rate, parse_size,
};
use crate::engine::ChunkPolicy;
use crate::vfs::MetadataTtl;

const EXAMPLES: &str = "\
Examples:
  larder mount /mnt/slow /mnt/fast              cache a slow disk, an NFS mount, a USB stick
  larder mount /mnt/slow /mnt/fast --cache-size 100G --cache-dir /ssd/larder
  larder stats /mnt/fast                        what the cache did
  larder info /mnt/fast/some/file               what it knows of one file
  larder umount /mnt/fast
  larder demo                                   see it work, in a minute

Exit codes: 0 done, 1 the operation failed, 2 usage, 3 cache directory unusable, 4 cache in use, 5 cannot mount,
6 remote unusable. LARDER_LOG sets what is logged (error, warn, info, debug, trace; default info).";

/// A cache beneath slow file systems: what is read through a mount is kept on local disk and served from there.
#[derive(Parser, Debug)]
#[command(name = "larder", version, about, after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Mount a remote at a directory, through the cache
    Mount(MountArgs),
    /// Unmount, and wait until the daemon has let go of its cache
    Umount(UmountArgs),
    /// Show the counters of a mount, or the state of a cache directory
    Stats(StatsArgs),
    /// Show what the cache knows of a file on a mount
    Info(InfoArgs),
    /// Make a sample tree, put it behind a simulated slow disk, mount it and show what the cache does
    Demo(DemoArgs),
}

/// `larder mount`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  larder mount /mnt/slow /mnt/fast
  larder mount /mnt/slow /mnt/fast --cache-dir /ssd/larder --cache-size 100G
  larder mount /mnt/slow /mnt/fast --metadata-ttl indefinite    the remote never changes
  larder mount /mnt/slow /mnt/fast -f                           stay until Ctrl-C or umount

One daemon uses a cache directory at a time: give each mount its own --cache-dir. The daemon logs to
larder.log in the cache directory, or to the terminal with -f.")]
pub(super) struct MountArgs {
    /// What to mount: a local directory (a mount of a slow disk or server, for instance)
    #[arg(value_name = "REMOTE")]
    pub remote: OsString,
    /// Where to mount it: an empty directory, best
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Where the cache is kept [default: $XDG_CACHE_HOME/larder or ~/.cache/larder; as root /var/cache/larder]
    #[arg(long, value_name = "D")]
    pub cache_dir: Option<PathBuf>,
    /// The most that a new cache takes on disk, its index included [default: 10G; a cache that exists keeps its own]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
    /// Chunk slots of a new cache [default: after its size]
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,
    /// Files that a new cache can know [default: after its size]
    #[arg(long, value_name = "N")]
    pub files: Option<u64>,
    /// The unit of allocation for files that are new to the cache: auto, or a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = parse_chunk_policy)]
    pub chunk_size: ChunkPolicy,
    /// How long names, sizes and times are believed: minimal, indefinite, or a time as in 60s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "60s")]
    pub metadata_ttl: MetadataTtl,
    /// A read that the remote has not answered by then fails with EIO
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
    /// Where leases do not work: how old a file's last change must be for its bytes to be kept
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub settle: Duration,
    /// Threads that answer the kernel [default: one per processor, from 2 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Mount options, as mount(8) takes them: allow_other, nosuid, nodev, noexec and the like
    #[arg(short = 'o', value_name = "OPTS", value_delimiter = ',')]
    pub options: Vec<String>,
    /// Stay in the foreground until the unmount, Ctrl-C or SIGTERM
    #[arg(short, long)]
    pub foreground: bool,
    /// Delay every request to the remote by this much
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Testing")]
    pub slow_round_trip: Option<Duration>,
    /// Let at most this many bytes a second come from the remote
    #[arg(long, value_name = "SIZE", value_parser = parse_rate, help_heading = "Testing")]
    pub slow_bandwidth: Option<u64>,
    /// Report to the process that started the daemon, on standard output.
    #[arg(long, hide = true)]
    pub report: bool,
}

/// `larder umount`.
#[derive(Args, Debug)]
pub(super) struct UmountArgs {
    /// The mount point
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Detach now, even while files are open; the daemon ends when the last one is closed
    #[arg(short, long)]
    pub lazy: bool,
    /// How long to wait for the daemon to end
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub wait: Duration,
}

/// `larder stats`.
#[derive(Args, Debug)]
pub(super) struct StatsArgs {
    /// A mount point, or a cache directory
    #[arg(value_name = "DIR|CACHE")]
    pub path: PathBuf,
    /// As one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder info`.
#[derive(Args, Debug)]
pub(super) struct InfoArgs {
    /// A file or directory on a larder mount
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// `larder demo`.
#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    /// Leave it mounted until Ctrl-C, to look around in
    #[arg(long)]
    pub keep: bool,
    /// Where to work; everything made there is removed [default: $TMPDIR or /var/tmp]
    #[arg(long, value_name = "D")]
    pub dir: Option<PathBuf>,
    /// The size of the largest sample file
    #[arg(long, value_name = "SIZE", default_value = "1G", value_parser = parse_size)]
    pub size: u64,
    /// The round trip of the simulated slow disk
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub round_trip: Duration,
    /// The bandwidth of the simulated slow disk, per second
    #[arg(long, value_name = "SIZE", default_value = "400M", value_parser = parse_size)]
    pub bandwidth: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn mount_has_the_documented_defaults() {
        let cli = Cli::try_parse_from(["larder", "mount", "/a", "/b"]).unwrap();
        let Command::Mount(mount) = cli.command else {
            panic!("not a mount");
        };
        assert_eq!((mount.cache_size, mount.threads), (None, None));
        assert_eq!(mount.chunk_size, ChunkPolicy::Auto);
        assert_eq!(mount.timeout, Duration::from_secs(30));
        assert_eq!(mount.settle, Duration::from_secs(60));
        assert_eq!(mount.metadata_ttl, MetadataTtl::Seconds(60));
        assert!(!mount.foreground && !mount.report);
    }

    #[test]
    fn mount_options_come_in_lists() {
        let cli = Cli::try_parse_from([
            "larder",
            "mount",
            "/a",
            "/b",
            "-o",
            "allow_other,nosuid",
            "-o",
            "nodev",
        ])
        .unwrap();
        let Command::Mount(mount) = cli.command else {
            panic!("not a mount");
        };
        assert_eq!(mount.options, ["allow_other", "nosuid", "nodev"]);
    }
}
