//! From arguments, environment and configuration file to what is asked: the built-in default of an option gives way to the
//! file's value, that to the environment's, and that to the command line's.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::builder::OsStr;
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use super::config::{FileConfig, is_settable};
use super::{Cli, Command as Asked};
use crate::cli::error::{Exit, Failure};
use crate::engine::ChunkPolicy;
use crate::units::shown;

const MOUNT: &str = "mount";

/// Why arguments are not understood.
#[derive(Debug)]
pub(in crate::cli) enum Misunderstood {
    /// What clap says; help and version are among it.
    Arguments(clap::Error),
    /// A configuration file that cannot be used.
    File(Failure),
}

/// Reads the arguments, the program's name first.
pub(in crate::cli) fn parse(args: &[OsString]) -> Result<Cli, Misunderstood> {
    let file = match config_file(args) {
        Some(path) => read(&path).map_err(Misunderstood::File)?,
        None => FileConfig::default(),
    };
    let mut cli = command(&file)
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(Misunderstood::Arguments)?;
    if let Asked::Mount(mount) = &mut cli.command
        && !file.rules.is_empty()
    {
        let otherwise = std::mem::replace(&mut mount.chunk_size, ChunkPolicy::Auto);
        mount.chunk_size = ChunkPolicy::Rules {
            rules: file.rules.into(),
            otherwise: Box::new(otherwise),
        };
    }
    Ok(cli)
}

/// The commands and options, with the values of a configuration file as defaults.
pub(super) fn command(file: &FileConfig) -> Command {
    Cli::command().mut_subcommand(MOUNT, |mount| {
        mount.mut_args(|arg| with_default(with_variable(arg), file))
    })
}

/// The options that a configuration file can set.
pub(in crate::cli) fn options_of_mount() -> Vec<Arg> {
    let command = Cli::command();
    let mount = command.find_subcommand(MOUNT);
    let args = mount.into_iter().flat_map(Command::get_arguments);
    args.filter(|arg| is_settable(arg)).cloned().collect()
}

/// `--cache-size` is `LARDER_CACHE_SIZE` as well.
fn with_variable(arg: Arg) -> Arg {
    match arg.get_long() {
        Some(name) if !arg.is_hide_set() => {
            let variable = format!("LARDER_{}", name.replace('-', "_").to_uppercase());
            arg.env(OsStr::from(variable)).hide_env(true)
        }
        _ => arg,
    }
}

fn with_default(arg: Arg, file: &FileConfig) -> Arg {
    let mut values = file.values.iter();
    match values.find(|(key, _)| arg.get_long() == Some(key)) {
        Some((_, values)) => {
            let values = values
                .iter()
                .map(|value| OsStr::from(value.as_os_str().to_owned()));
            arg.default_values(values)
        }
        None => arg,
    }
}

/// The configuration file that the arguments or the environment name: asked before the arguments are understood, because
/// it decides how they are.
fn config_file(args: &[OsString]) -> Option<PathBuf> {
    let command = command(&FileConfig::default()).ignore_errors(true);
    let matches = command.try_get_matches_from(args).ok()?;
    let mount = matches.subcommand_matches(MOUNT)?;
    mount.get_one::<PathBuf>("config").cloned()
}

fn read(path: &Path) -> Result<FileConfig, Failure> {
    let usage = |sentence: String| Failure::new(Exit::Usage, sentence);
    let path = std::path::absolute(path)?;
    let text = regular_text(&path).map_err(|error| {
        usage(format!(
            "cannot read the configuration file {}: {error}",
            shown(&path)
        ))
    })?;
    FileConfig::parse(&text, &path, &options_of_mount()).map_err(usage)
}

/// The text of a regular file: a pipe would be waited for, and be empty for the daemon, which reads the file too.
fn regular_text(path: &Path) -> io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::MountArgs;

    fn mount(more: &[&str]) -> MountArgs {
        let args = ["larder", "mount", "/a", "/b"].iter().chain(more);
        let args: Vec<OsString> = args.map(Into::into).collect();
        match parse(&args).unwrap().command {
            Asked::Mount(mount) => *mount,
            _ => panic!("not a mount"),
        }
    }

    #[test]
    fn a_file_gives_defaults_and_the_command_line_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("larder.toml");
        let text = "cache-size = \"1G\"\nallow-other = true\nheader = [\"A: 1\", \"B: 2\"]\nsettle = \"5s\"\n\
            options = \"noexec,noatime\"\n[[chunk-size]]\nmatch = \"*.x\"\nsize = \"1M\"\n";
        std::fs::write(&file, text).unwrap();
        let file = format!("--config={}", file.display());
        let args = mount(&[&file]);
        assert_eq!(args.cache_size, Some(1 << 30));
        assert!(args.allow_other && args.header.len() == 2);
        assert_eq!(args.options, ["noexec", "noatime"]);
        let name = |name: &[u8]| crate::units::ObjectName::new(name);
        assert_eq!(args.chunk_size.choose(&name(b"d/a.x"), 1).bytes(), 1 << 20);
        assert_eq!(args.chunk_size.choose(&name(b"d/a.y"), 1).bytes(), 64 << 10);
        let line = [
            "--cache-size=2G",
            "--allow-other=no",
            "--header=C: 3",
            "-o",
            "exec",
        ];
        let args = mount(&[&[file.as_str()][..], &line, &["--chunk-size=4M"]].concat());
        assert_eq!(args.cache_size, Some(2 << 30));
        assert!(!args.allow_other && args.header.len() == 1);
        assert_eq!(args.options, ["exec"]);
        assert_eq!(args.settle, std::time::Duration::from_secs(5));
        assert_eq!(args.chunk_size.choose(&name(b"d/a.x"), 1).bytes(), 1 << 20);
        assert_eq!(args.chunk_size.choose(&name(b"d/a.y"), 1).bytes(), 4 << 20);
    }

    fn refused(file: &Path) -> String {
        let args = ["larder", "mount", "/a", "/b", "--config"].map(OsString::from);
        let args: Vec<OsString> = args.into_iter().chain([file.into()]).collect();
        let Misunderstood::File(failure) = parse(&args).unwrap_err() else {
            panic!("not the file's fault");
        };
        assert_eq!(failure.exit, Exit::Usage);
        assert!(
            failure.sentence.contains(file.to_str().unwrap()),
            "{failure}"
        );
        failure.sentence
    }

    #[test]
    fn a_file_that_is_missing_or_a_pipe_is_named() {
        refused(Path::new("/no/such.toml"));
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, fifo, mode, 0).unwrap();
        assert!(refused(&pipe).contains("not a regular file"));
    }
}
