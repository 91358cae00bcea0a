//! The arguments of `larder mount`. Every option with a long name can be given in a configuration file and as an
//! environment variable as well: see `super::command`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;

use crate::cli::quantity::{
    ScrubRate, parse_chunk_policy, parse_duration, parse_free_space, parse_listen,
    parse_metadata_ttl, parse_positive_duration, parse_rate, parse_size,
};
use crate::cli::secret::Hidden;
use crate::engine::{ChunkPolicy, FreeSpace, Verify};
use crate::vfs::MetadataTtl;

/// When blocks are checked.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) enum VerifyWhen {
    /// Once for as long as they stay in memory.
    First,
    /// At every read.
    Always,
}

impl From<VerifyWhen> for Verify {
    fn from(when: VerifyWhen) -> Self {
        match when {
            VerifyWhen::First => Self::First,
            VerifyWhen::Always => Self::Always,
        }
    }
}

/// `larder mount`.
#[derive(Args, Debug, Clone)]
#[command(after_help = "\
Examples:
  larder mount /mnt/slow /mnt/fast
  larder mount https://example.org/data/ /mnt/data --cache-dir /ssd/larder --cache-size 100G
  larder mount /mnt/slow /mnt/fast --metadata-ttl indefinite    the remote never changes
  larder mount /mnt/slow /mnt/fast -f                           stay until Ctrl-C or umount

One daemon uses a cache directory at a time: give each mount its own --cache-dir. The daemon logs to
larder.log in the cache directory, or to the terminal with -f.

Every option can be set in a file (--config), too, where it is a key of the same name (cache-size = \"100G\"), and
in the environment (LARDER_CACHE_SIZE=100G). The command line goes first, then the environment, then the file.")]
pub(in crate::cli) struct MountArgs {
    /// What to mount: a local directory (a mount of a slow disk or server, for instance), or the http(s) URL of a directory
    /// or of one file. A URL may hold a user name and a password; the file ~/.netrc is a better place for them
    #[arg(value_name = "REMOTE")]
    pub remote: Hidden,
    /// Where to mount it: an empty directory, best
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// A file (TOML) that sets options, and chunk sizes by name
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the cache is kept [default: $XDG_CACHE_HOME/larder or ~/.cache/larder; as root /var/cache/larder]
    #[arg(long, value_name = "D")]
    pub cache_dir: Option<PathBuf>,
    /// The most that the cache takes on disk, its index included [default: 10G; a cache that exists keeps its own]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
    /// What the cache leaves free of its disk's space and inodes: 10% or 0.1, or three marks RUN/CULL/STOP. Below CULL it
    /// gives back until RUN is free, and takes nothing meanwhile; below STOP it makes haste
    #[arg(long, value_name = "SHARE", default_value = "10/7/3", value_parser = parse_free_space)]
    pub free_space_ratio: FreeSpace,
    /// Chunk slots of a new cache [default: after its size]; larder resize changes those of one that exists
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,
    /// Files that a new cache can know [default: after its size]; larder resize changes those of one that exists
    #[arg(long, value_name = "N")]
    pub files: Option<u64>,
    /// The unit of allocation for files that are new to the cache: auto, or a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = parse_chunk_policy)]
    pub chunk_size: ChunkPolicy,
    /// How long names, sizes and times are believed: minimal, indefinite, or a time as in 60s, 5m, 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_metadata_ttl)]
    pub metadata_ttl: MetadataTtl,
    /// A read that the remote has not answered by then fails with EIO
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
    /// Where leases do not work: how old a file's last change must be for its bytes to be kept
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub settle: Duration,
    /// A version of a web file that the server gives neither an ETag nor a time is believed in for so long
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub unvalidated_ttl: Duration,
    /// When a cached block is compared with its checksum: at its first use (once for as long as it stays in memory), or
    /// always, at every read that reaches larder. What the kernel has in its own page cache reaches nobody
    #[arg(long, value_name = "WHEN", value_enum, default_value = "first")]
    pub verify: VerifyWhen,
    /// How fast what was cached is checked after a power cut, a second and for the whole mount; readers go first. Or max,
    /// or off: then it is checked when it is read
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = ScrubRate::parse)]
    pub scrub_rate: ScrubRate,
    /// Give the mount's counters to Prometheus at http://ADDR/metrics: a host and a port, or :9567 for every address of
    /// this machine
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub metrics: Option<String>,
    /// Sent to the web server with every request; can be given several times
    #[arg(
        long,
        value_name = "NAME: VALUE",
        value_delimiter = '\n',
        hide_env_values = true,
        hide_default_value = true
    )]
    pub header: Vec<Hidden>,
    /// Certificates (PEM) that are trusted beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Let other users use the mount, as far as the permissions of the files go
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub allow_other: bool,
    /// The owner that every file shows, a number or a name [default: of a directory its own, of a web server you]
    #[arg(long, value_name = "USER")]
    pub uid: Option<String>,
    /// The group that every file shows, a number or a name
    #[arg(long, value_name = "GROUP")]
    pub gid: Option<String>,
    /// Threads that answer the kernel [default: one per processor, from 2 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Mount options, as mount(8) takes them: allow_other, nosuid, nodev, noexec and the like
    #[arg(short = 'o', long, value_name = "OPTS", value_delimiter = ',')]
    pub options: Vec<String>,
    /// Stay in the foreground until the unmount, Ctrl-C or SIGTERM
    #[arg(short, long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub foreground: bool,
    /// Delay every request to the remote by this much
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Testing")]
    pub slow_round_trip: Option<Duration>,
    /// Let at most this many bytes a second come from the remote
    #[arg(long, value_name = "SIZE", value_parser = parse_rate, help_heading = "Testing")]
    pub slow_bandwidth: Option<u64>,
}
