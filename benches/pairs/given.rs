//! The command line.

use std::path::{Path, PathBuf};

pub(crate) const USAGE: &str = "Usage: cargo bench --bench pairs -- BEFORE AFTER [--pairs N] [--quick] [--dir DIR]
  BEFORE, AFTER  two binaries of larder, each made by `cargo build --release --bin larder` and then copied elsewhere
  --pairs N      how many pairs of each measure (default 10, with --quick 2)
  --quick        smaller files, fewer of them, and a cache of 64 GiB geometry: a trial of the command, not a result
  --dir DIR      where to work (default: the temporary directory, which TMPDIR sets)
The exit code is 0 if no median ratio is below 0.97, 1 if one is, 2 if the command line is invalid.";

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Bytes of the file whose cached blocks are read.
    pub(crate) warm_len: u64,
    /// Bytes of the file that is read cold.
    pub(crate) cold_len: u64,
    pub(crate) small_files: u64,
    /// `--cache-size` of the cache that is only mounted.
    pub(crate) geometry: &'static str,
    /// Reads of a turn, of 4 KiB and of 128 KiB.
    pub(crate) hits: [u64; 2],
    /// Bytes that the directory must have room for.
    pub(crate) needed: u64,
}

const FULL: Scale = Scale {
    warm_len: 256 << 20,
    cold_len: 1 << 30,
    small_files: 5000,
    geometry: "1T",
    hits: [20_000, 5000],
    needed: 9 << 30,
};

const QUICK: Scale = Scale {
    warm_len: 64 << 20,
    cold_len: 256 << 20,
    small_files: 1000,
    geometry: "64G",
    hits: [5000, 1000],
    needed: 2 << 30,
};

pub(crate) struct Given {
    /// BEFORE and AFTER.
    pub(crate) binaries: [PathBuf; 2],
    pub(crate) pairs: usize,
    pub(crate) scale: Scale,
    pub(crate) dir: PathBuf,
}

impl Given {
    /// Reads the command line; `None` if it names no binary. The error is a sentence for the user.
    pub(crate) fn from_args() -> Result<Option<Self>, String> {
        let mut args = std::env::args().skip(1);
        let (mut named, mut pairs, mut quick) = (Vec::new(), None, false);
        let mut dir = std::env::temp_dir();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // cargo adds it.
                "--bench" => {}
                "--quick" => quick = true,
                "--pairs" => {
                    let n = args.next().and_then(|n| n.parse::<usize>().ok());
                    pairs = Some(n.filter(|n| *n > 0).ok_or("--pairs needs a number")?);
                }
                "--dir" => dir = args.next().ok_or("--dir needs a directory")?.into(),
                flag if flag.starts_with('-') => return Err(format!("unknown option {flag}")),
                _ => named.push(binary(Path::new(&arg))?),
            }
        }
        if named.is_empty() {
            return Ok(None);
        }
        let binaries = named
            .try_into()
            .map_err(|_| "exactly two binaries are needed".to_owned())?;
        Ok(Some(Self {
            binaries,
            pairs: pairs.unwrap_or(if quick { 2 } else { 10 }),
            scale: if quick { QUICK } else { FULL },
            dir,
        }))
    }
}

fn binary(path: &Path) -> Result<PathBuf, String> {
    let found = path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let own = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let built = own.ancestors().nth(2).map(|dir| dir.join("larder"));
    if built.is_some_and(|built| built == found) {
        return Err(format!(
            "{}: `cargo bench` has just built this with the feature `testing`, which makes it slower. \
             Build with `cargo build --release --bin larder` and copy the binary elsewhere",
            path.display()
        ));
    }
    Ok(found)
}
