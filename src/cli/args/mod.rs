//! The command line: what can be said, its defaults and its help.

mod command;
mod config;
mod mount;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueHint};

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
  larder mount /mnt/slow /mnt/fast              a slow disk, an NFS mount
  larder mount https://example.org/data/ /mnt/data --cache-size 100G
  larder stats /mnt/fast                        what the cache did
  larder info /mnt/fast/some/file               what it knows of one file
  larder scrub /mnt/fast                        check all that is cached
  larder evict /mnt/fast/old                    drop what is cached of it
  larder umount /mnt/fast
  larder resize /ssd/larder --cache-size 200G   what is cached stays
  larder demo                                   see it work, in a minute

Exit codes: 0 done, 1 the operation failed, 2 the command line makes no sense, 3 the cache directory cannot be used, 4 the \
cache is in use, 5 cannot mount, 6 the remote cannot be used.

The environment variable LARDER_LOG sets what is logged: error, warn, info (the default), debug or trace.";

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
    /// Show what the cache knows of a file or a directory on a mount
    Info(InfoArgs),
    /// Check all cached data against its checksums, and drop what is damaged
    Scrub(ScrubArgs),
    /// Drop what is cached of files or directories, and give the disk space back
    Evict(EvictArgs),
    /// Drop all data that a mount's cache holds, or all that is known of names and attributes
    Flush(FlushArgs),
    /// Change the size of a mount's cache, and how much of its disk it leaves free, while it is in use
    SetSize(SetSizeArgs),
    /// Give a cache that is not mounted another size, or an index for more chunks and files; what is cached stays
    Resize(ResizeArgs),
    /// Make a sample tree, put it behind a simulated slow web server, mount it and show what the cache does
    Demo(DemoArgs),
    /// Print what a shell needs to complete the commands and options of larder and cachefsck
    Completions(CompletionsArgs),
}

/// `larder umount`.
#[derive(Args, Debug)]
pub(super) struct UmountArgs {
    /// The mount point
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
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
    #[arg(value_name = "DIR|CACHE", value_hint = ValueHint::DirPath)]
    pub path: PathBuf,
    /// Show one JSON object; with --interval, one on each line
    #[arg(long)]
    pub json: bool,
    /// Show what happens: a line after each interval, until Ctrl-C
    #[arg(short, long, value_name = "TIME", value_parser = parse_positive_duration)]
    pub interval: Option<Duration>,
    /// End after N lines
    #[arg(short = 'n', long, value_name = "N", requires = "interval")]
    pub count: Option<u64>,
}

/// `larder evict`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder evict /mnt/fast/film.mp4
  larder evict /mnt/fast/2019 /mnt/fast/2020   with all that is below them
  larder evict /mnt/fast                       as `larder flush /mnt/fast` does

The files stay on the mount, and open files stay readable: what is read again is fetched again. The directories are \
listed as find(1) lists them; no data is fetched. Only root and the user who mounted may evict.

Exit codes: 0 done, even if nothing was cached; 1 a path is missing, is not on a larder mount, or is not permitted (the \
other paths are done all the same).")]
pub(super) struct EvictArgs {
    /// Files and directories on larder mounts
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// Show the result as one JSON object for each path
    #[arg(long)]
    pub json: bool,
}

/// `larder flush`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder flush /mnt/fast                 drop all cached data
  larder flush --metadata /mnt/fast      drop names, sizes and times instead

Open files stay readable: what is read again is fetched again. With --metadata the remote is asked anew for names, sizes \
and times, and cached data stays; the signal SIGHUP has the daemon do the same. Only root and the user who mounted may \
flush.")]
pub(super) struct FlushArgs {
    /// A mount point, or the cache directory of a mount
    #[arg(value_name = "DIR|CACHE", value_hint = ValueHint::DirPath)]
    pub path: PathBuf,
    /// Drop names, attributes and listings instead of data, even those that --metadata-ttl still lets larder believe
    #[arg(long)]
    pub metadata: bool,
    /// Show the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder set-size`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder set-size /mnt/fast 20G
  larder set-size /mnt/fast 5G --free-space-ratio 20%

The new size is kept for later mounts; the free space is kept until the unmount. A cache that takes more than the new \
size gives space back in the background. Its index stays as it is: `larder resize` makes one for more chunks and files, \
while the cache is not mounted. Only root and the user who mounted may change the size.")]
pub(super) struct SetSizeArgs {
    /// A mount point, or the cache directory of a mount
    #[arg(value_name = "DIR|CACHE", value_hint = ValueHint::DirPath)]
    pub path: PathBuf,
    /// The most that the cache takes on disk, its index included
    #[arg(value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    /// How much of its disk the cache leaves free: one share or three, as for `larder mount`
    #[arg(long, value_name = "SHARE", value_parser = parse_free_space)]
    pub free_space_ratio: Option<FreeSpace>,
    /// Show the limits as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder scrub`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder scrub /mnt/fast
  larder scrub --rate 50M /mnt/fast
  larder scrub --stop /mnt/fast
  larder scrub /var/cache/larder         the cache directory does as well

The daemon of the mount does the work, and goes on when this command is ended with Ctrl-C. A cache directory that no \
daemon uses is scrubbed by this command itself. Damaged data is dropped, and fetched again when a program reads it. The \
scrub reads the disk, not what is in memory.

Exit codes: 0 done, whether something was damaged or not; 1 stopped, or the disk failed; 3 and 4 as for larder.")]
pub(super) struct ScrubArgs {
    /// A mount point, or a cache directory
    #[arg(value_name = "DIR|CACHE", value_hint = ValueHint::DirPath)]
    pub path: PathBuf,
    /// How much is read in a second at most, or max for no limit; readers of the mount go first in any case
    #[arg(long, value_name = "SIZE", default_value = "max", value_parser = parse_scrub_rate)]
    pub rate: u64,
    /// Stop the scrub that is running
    #[arg(long, conflicts_with_all = ["rate", "no_wait", "json"])]
    pub stop: bool,
    /// Have the daemon do it, and do not wait
    #[arg(short = 'b', long, conflicts_with = "json")]
    pub no_wait: bool,
    /// Show the result as one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `larder resize`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder resize /var/cache/larder --cache-size 100G
  larder resize /var/cache/larder --slots 1000000
  larder resize /var/cache/larder        an index that suits the cache's size

A new index is written beside the old one, so that the disk needs room for both; chunk files are renamed, not copied. \
What no longer fits is dropped, the oldest first. After an interruption the next use of the cache puts things in order.

Exit codes: as for larder; 4 if the cache is mounted.")]
pub(super) struct ResizeArgs {
    /// A cache directory
    #[arg(value_name = "CACHE", value_hint = ValueHint::DirPath)]
    pub cache: PathBuf,
    /// The most that the cache takes on disk, its index included [default: unchanged]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub cache_size: Option<u64>,
    /// How many chunks the cache can hold [default: to suit the size; unchanged if only --files is given]
    #[arg(long, value_name = "N")]
    pub slots: Option<u64>,
    /// How many files the cache can know [default: to suit the size; unchanged if only --slots is given]
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
  D=~/.local/share/bash-completion/completions
  larder completions bash > $D/larder
  larder completions bash cachefsck > $D/cachefsck
  larder completions zsh > /usr/local/share/zsh/site-functions/_larder
  larder completions fish > ~/.config/fish/completions/larder.fish

Those of bash complete the mount points of this machine as well: `larder umount <TAB>`.")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
    /// Whose command line is completed
    #[arg(value_name = "PROGRAM", value_enum, default_value = "larder")]
    pub program: Program,
}

/// The programs of larder.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Program {
    /// The file system.
    Larder,
    /// The checker.
    Cachefsck,
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
    /// Leave it mounted until Ctrl-C, so that you can look around in it
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
    /// How long each request to the simulated remote takes
    #[arg(long, value_name = "TIME", default_value = "20ms", value_parser = parse_duration)]
    pub round_trip: Duration,
    /// How many bytes a second the simulated remote delivers
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

    /// Lines of one paragraph that end although the next word would have fitted: broken once by hand and once by clap.
    fn broken_twice(help: &str, width: usize) -> Vec<String> {
        let lines: Vec<&str> = help.lines().collect();
        let is_text = |line: &str| !line.is_empty() && !line.starts_with(' ');
        let pairs = lines
            .windows(2)
            .filter(|pair| is_text(pair[0]) && is_text(pair[1]));
        let fits = pairs.filter(|pair| {
            let next = pair[1].split(' ').next().unwrap_or_default();
            let heads = [pair[0], pair[1]]
                .iter()
                .any(|line| line.starts_with("Usage") || line.ends_with(':'));
            !heads && pair[0].chars().count() + 1 + next.chars().count() <= width
        });
        fits.map(|pair| pair[0].to_owned()).collect()
    }

    #[test]
    fn help_is_wrapped_once_and_fits() {
        assert_eq!(broken_twice("one two\nthree", 80), ["one two"]);
        for width in [80, 100, 120] {
            let mut all = vec![Cli::command(), crate::cli::fsck::command()];
            all.extend(Cli::command().get_subcommands().cloned());
            for command in all {
                let name = command.get_name().to_owned();
                let mut command = command.term_width(width);
                for help in [command.render_help(), command.render_long_help()] {
                    let help = help.to_string();
                    assert_eq!(broken_twice(&help, width), [""; 0], "{name} at {width}");
                    let long = help.lines().find(|line| line.chars().count() > width);
                    assert_eq!(long, None, "{name} at {width}");
                }
            }
        }
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
