//! The command line: what can be said, its defaults and its help.

mod command;
mod config;
mod mount;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

#[cfg(test)]
use self::command::options_of_mount;
pub(super) use self::command::{Misunderstood, parse};
pub(super) use self::mount::MountArgs;
use super::quantity::{
    parse_duration, parse_free_space, parse_positive_duration, parse_scrub_rate, parse_size,
};
use crate::engine::FreeSpace;

const EXAMPLES: &str = "\
Examples:
  larder mount /mnt/slow /mnt/fast              cache a slow disk, an NFS mount, a USB stick
  larder mount https://example.org/data/ /mnt/data --cache-size 100G --cache-dir /ssd/larder
  larder stats /mnt/fast                        what the cache did
  larder info /mnt/fast/some/file               what it knows of one file
  larder scrub /mnt/fast                        check everything that is cached
  larder evict /mnt/fast/old                    drop what is cached of a file or a directory
  larder umount /mnt/fast
  larder resize /ssd/larder --cache-size 200G   what is cached stays
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
    Mount(Box<MountArgs>),
    /// Unmount, and wait until the daemon has let go of its cache
    Umount(UmountArgs),
    /// Show the counters of a mount, or the state of a cache directory
    Stats(StatsArgs),
    /// Show what the cache knows of a file on a mount
    Info(InfoArgs),
    /// Check everything that is cached against its checksums, and forget what does not hold
    Scrub(ScrubArgs),
    /// Drop what is cached of files or directories, and give the disk space back
    Evict(EvictArgs),
    /// Drop everything that a mount's cache holds, or what is known of names and attributes
    Flush(FlushArgs),
    /// Change the size of a mount's cache, and what it leaves free on its disk, while it is in use
    SetSize(SetSizeArgs),
    /// Give a cache that is not mounted another size, or an index for more chunks and files; what is cached stays
    Resize(ResizeArgs),
    /// Make a sample tree, put it behind a simulated slow web server, mount it and show what the cache does
    Demo(DemoArgs),
    /// Print what a shell needs to complete larder's commands and options
    Completions(CompletionsArgs),
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
    /// As one JSON object; with --interval, one a line
    #[arg(long)]
    pub json: bool,
    /// Show what happens, a line each time, until Ctrl-C
    #[arg(short, long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub interval: Option<Duration>,
    /// End after so many lines
    #[arg(short = 'n', long, value_name = "N", requires = "interval")]
    pub count: Option<u64>,
}

/// `larder evict`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder evict /mnt/fast/film.mp4
  larder evict /mnt/fast/2019 /mnt/fast/2020      directories with all that is below them
  larder evict /mnt/fast                          everything, as `larder flush /mnt/fast` does

The files stay on the mount, and open ones stay readable: what is read again is fetched again. Names are asked for as
find(1) does, data never. Only root and the user who mounted may.
Exit codes: 0 done, even if nothing was cached; 1 a path is missing, or not on a larder mount, or not permitted: the
others are done all the same.")]
pub(super) struct EvictArgs {
    /// Files and directories on larder mounts
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Tell the result as one JSON object for each path
    #[arg(long)]
    pub json: bool,
}

/// `larder flush`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder flush /mnt/fast                 drop all cached data
  larder flush --metadata /mnt/fast      ask the remote anew for names, sizes and times; cached data stays

Open files stay readable: what is read again is fetched again. Pinned chunks stay. SIGHUP to the daemon is --metadata.
Only root and the user who mounted may.")]
pub(super) struct FlushArgs {
    /// A mount point, or the cache directory of a mount
    #[arg(value_name = "DIR|CACHE")]
    pub path: PathBuf,
    /// Forget names, attributes and listings instead of data, whatever the time-to-live
    #[arg(long)]
    pub metadata: bool,
    /// Tell the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder set-size`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder set-size /mnt/fast 20G
  larder set-size /mnt/fast 5G --free-space-ratio 20%

The new size is kept for later mounts; what has to stay free holds until the unmount. A cache that takes more than it may
gives back in the background. Its index stays as it is: `larder resize` makes one for more chunks and files, while the
cache is not mounted. Only root and the user who mounted may.")]
pub(super) struct SetSizeArgs {
    /// A mount point, or the cache directory of a mount
    #[arg(value_name = "DIR|CACHE")]
    pub path: PathBuf,
    /// The most that the cache takes on disk, its index included
    #[arg(value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    /// What the cache leaves free on its disk: a share, or three, as for `larder mount`
    #[arg(long, value_name = "SHARE", value_parser = parse_free_space)]
    pub free_space_ratio: Option<FreeSpace>,
    /// Tell the limits as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder scrub`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder scrub /mnt/fast                 the daemon of the mount does it; Ctrl-C leaves it to it
  larder scrub --rate 50M /mnt/fast
  larder scrub --stop /mnt/fast
  larder scrub /var/cache/larder         a cache directory; one that nobody uses is scrubbed by this command

What does not hold is forgotten, and fetched again when it is asked for. It reads the disk, not what is in memory.
Exit codes: 0 done, whether something was healed or not; 1 stopped, or the disk failed; 3 and 4 as for larder.")]
pub(super) struct ScrubArgs {
    /// A mount point, or a cache directory
    #[arg(value_name = "DIR|CACHE")]
    pub path: PathBuf,
    /// The most that is read a second, or max; readers of the mount go first in any case
    #[arg(long, value_name = "SIZE", default_value = "max", value_parser = parse_scrub_rate)]
    pub rate: u64,
    /// End the scrub that is under way
    #[arg(long, conflicts_with_all = ["rate", "no_wait", "json"])]
    pub stop: bool,
    /// Leave it to the daemon, and do not look on
    #[arg(short = 'b', long, conflicts_with = "json")]
    pub no_wait: bool,
    /// Tell the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder resize`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder resize /var/cache/larder --cache-size 100G
  larder resize /var/cache/larder --slots 1000000
  larder resize /var/cache/larder              an index as large as suits the size that the cache has

A new index is written beside the old one, so that the disk needs room for both; chunk files are renamed, not copied.
What does not fit any more is dropped, the oldest first. If it is interrupted, the next use of the cache clears up.
Exit codes: as for larder; 4 where the cache is mounted.")]
pub(super) struct ResizeArgs {
    /// A cache directory
    #[arg(value_name = "CACHE")]
    pub cache: PathBuf,
    /// The most that the cache takes on disk, its index included [default: as it is]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
    /// Chunk slots [default: after the size; as it is where only --files is given]
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,
    /// Files that the cache can know [default: after the size; as it is where only --slots is given]
    #[arg(long, value_name = "N")]
    pub files: Option<u64>,
}

/// `larder info`.
#[derive(Args, Debug)]
pub(super) struct InfoArgs {
    /// A file or directory on a larder mount
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// `larder completions`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder completions bash > ~/.local/share/bash-completion/completions/larder
  larder completions zsh > /usr/local/share/zsh/site-functions/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// What plays the remote of the demo.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum DemoRemote {
    /// A web server.
    Web,
    /// A directory.
    Dir,
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
    /// What plays the slow remote: a web server (in this process), or a directory
    #[arg(long, value_name = "KIND", value_enum, default_value = "web")]
    pub remote: DemoRemote,
    /// The round trip of the simulated slow remote
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub round_trip: Duration,
    /// The bandwidth of the simulated slow remote, per second
    #[arg(long, value_name = "SIZE", default_value = "400M", value_parser = parse_size)]
    pub bandwidth: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ChunkPolicy;
    use crate::vfs::MetadataTtl;
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
        assert_eq!(mount.metadata_ttl, MetadataTtl::seconds(60));
        assert!(!mount.foreground && !mount.allow_other);
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
