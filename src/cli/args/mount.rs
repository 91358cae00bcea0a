//! The arguments of `larder mount`. Every option with a long name can be given in a configuration file and as an
//! environment variable as well: see `super::command`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, ValueHint};

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
  larder mount https://example.org/data/ /mnt/data --cache-size 100G
  larder mount /mnt/slow /mnt/fast --metadata-ttl indefinite
  larder mount /mnt/slow /mnt/fast -f

One daemon uses a cache directory at a time: give each mount its own --cache-dir. The daemon logs to larder.log in the \
cache directory; with -f its messages go to the terminal.

Every option can also be set in a file (--config), as a key of the same name (cache-size = \"100G\"), and in the \
environment (LARDER_CACHE_SIZE=100G). The command line goes first, then the environment, then the file.")]
pub(in crate::cli) struct MountArgs {
    /// What to mount: a local directory (on a slow disk or a network file system, for instance), or the http(s) URL of a
    /// directory or of one file. A URL may hold a user name and a password; the file ~/.netrc is a better place for them
    #[arg(value_name = "REMOTE")]
    pub remote: Hidden,
    /// Where to mount it: an empty directory. With -o nonempty it may hold something, which the mount covers
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub dir: PathBuf,
    /// A file (TOML) that sets options, and chunk sizes for files by their names
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the cache is kept [default: $XDG_CACHE_HOME/larder or ~/.cache/larder; as root /var/cache/larder]
    #[arg(long, value_name = "D", value_hint = ValueHint::DirPath)]
    pub cache_dir: Option<PathBuf>,
    /// The most that the cache takes on disk, its index included [default: 10G for a new cache; an existing one
    /// keeps its size]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
    /// How much of its disk's space and inodes the cache leaves free: one share (10% or 0.1), or three, RUN/CULL/STOP. When
    /// less than CULL is free, the cache stores nothing new and gives space back until RUN is free; when less than STOP is
    /// free, it gives back as fast as it can
    #[arg(long, value_name = "SHARE", default_value = "10/7/3", value_parser = parse_free_space)]
    pub free_space_ratio: FreeSpace,
    /// The memory that the mount may take, for fetches, listings and the tables of its index together [default: half of what
    /// its control group or the machine has]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub memory: Option<u64>,
    /// How many chunks a new cache can hold [default: to suit its size]; `larder resize` changes that of an existing one
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,
    /// How many files a new cache can know [default: to suit its size]; `larder resize` changes that of an existing one
    #[arg(long, value_name = "N")]
    pub files: Option<u64>,
    /// The unit of allocation for files that are new to the cache: auto, or a power of two from 64K to 64M
    #[arg(long, value_name = "SIZE", default_value = "auto", value_parser = parse_chunk_policy)]
    pub chunk_size: ChunkPolicy,
    /// How long names, sizes and times are believed before the remote is asked again: a time (500ms, 60s, 5m, 1h, 1d),
    /// minimal (every open asks), or indefinite (the remote never changes)
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_metadata_ttl)]
    pub metadata_ttl: MetadataTtl,
    /// How long a read waits for the remote; then it fails with EIO
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_positive_duration)]
    pub timeout: Duration,
    /// How old the last change of a file must be for its data to be cached, where the kernel grants no lease on it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    pub settle: Duration,
    /// How long the cached data of a web file is used when the server gives the file neither an ETag nor a time
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub unvalidated_ttl: Duration,
    /// When a cached block is compared with its checksum: at its first read since it came into memory, or always, at every
    /// read. (Reads that the kernel answers from its own page cache do not come to larder)
    #[arg(long, value_name = "WHEN", value_enum, default_value = "first")]
    pub verify: VerifyWhen,
    /// How much cached data is checked in a second after a power cut; readers go first. max is no limit; off checks data
    /// only when it is read
    #[arg(long, value_name = "SIZE", default_value = "32M", value_parser = ScrubRate::parse)]
    pub scrub_rate: ScrubRate,
    /// Serve the mount's counters to Prometheus at http://ADDR/metrics. ADDR is a host and a port, or :9567 for every
    /// address of this machine
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub metrics: Option<String>,
    /// A header to send to the web server with every request; can be given several times
    #[arg(
        long,
        value_name = "NAME: VALUE",
        value_delimiter = '\n',
        hide_env_values = true,
        hide_default_value = true
    )]
    pub header: Vec<Hidden>,
    /// A file of certificates (PEM) to trust in addition to the system's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub ca_file: Option<PathBuf>,
    /// Let other users use the mount, as far as the permissions of the files go
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub allow_other: bool,
    /// The owner to show for every file, a number or a name [default: the file's own; on a web server you]
    #[arg(long, value_name = "USER")]
    pub uid: Option<String>,
    /// The group to show for every file, a number or a name
    #[arg(long, value_name = "GROUP")]
    pub gid: Option<String>,
    /// Threads that answer the kernel [default: one per processor, from 2 to 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Mount options, as mount(8) takes them: allow_other, nonempty, noexec, noatime and the like
    #[arg(short = 'o', long, value_name = "OPTS", value_delimiter = ',')]
    pub options: Vec<String>,
    /// Stay in the foreground until the mount is unmounted, by Ctrl-C, SIGTERM or umount
    #[arg(short, long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value = "false",
        default_missing_value = "true", hide_default_value = true, hide_possible_values = true,
        value_parser = BoolishValueParser::new(), action = clap::ArgAction::Set)]
    pub foreground: bool,
    /// Delay every request to the remote by this much
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "Testing")]
    pub slow_round_trip: Option<Duration>,
    /// Read at most this many bytes a second from the remote
    #[arg(long, value_name = "SIZE", value_parser = parse_rate, help_heading = "Testing")]
    pub slow_bandwidth: Option<u64>,
}
