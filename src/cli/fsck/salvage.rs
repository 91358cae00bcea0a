//! `--salvage DIR`: copies of what a repair is about to change or drop.
//!
//! Each run makes a numbered directory of its own in DIR, so that nothing is ever overwritten: `sectors/<offset in the
//! index, in hexadecimal>`, and files under the paths that they have in the cache directory. It is synced before the
//! first repair, and removed again where it cannot be finished.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use super::talk::Failure;
use super::tell::Salvaged;
use crate::check::Salvage;
use crate::check::exit;
use crate::format::Sector;

/// Files are copied in pieces of this size.
const PIECE: usize = 1 << 20;
/// Where the disk does not give a piece, it is read in smaller ones, and those that are lost become zeros.
const PAGE: usize = 4096;

/// Refuses a directory within the cache directory, or around it, and what is no directory.
pub(super) fn place(dir: &Path, cache: &Path) -> Result<(), Failure> {
    // A cache that is not there is refused elsewhere.
    let Ok(cache) = cache.canonicalize() else {
        return Ok(());
    };
    let dir = resolved(dir)?;
    match dir.starts_with(&cache) || cache.starts_with(&dir) {
        true => Err(Failure(
            exit::USAGE,
            format!(
                "--salvage {} is inside the cache directory {} or contains it: name a separate directory, preferably on another disk",
                dir.display(),
                cache.display()
            ),
        )),
        false => Ok(()),
    }?;
    // A repair that finds nothing to copy would not notice.
    let is_dir = dir.ancestors().find_map(|above| match above.metadata() {
        Ok(found) => Some(found.is_dir()),
        // It was asked for with a slash behind it.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Some(false),
        Err(_) => None,
    });
    match is_dir {
        Some(false) => Err(failed(&dir, &rustix::io::Errno::NOTDIR.into())),
        _ => Ok(()),
    }
}

/// A path without links, of which the last parts need not exist.
fn resolved(path: &Path) -> Result<PathBuf, Failure> {
    let whole = std::path::absolute(path);
    let whole = whole.map_err(|error| failed(path, &error))?;
    for above in whole.ancestors() {
        if let (Ok(found), Ok(rest)) = (above.canonicalize(), whole.strip_prefix(above)) {
            return Ok(found.join(rest));
        }
    }
    Ok(whole)
}

/// The directory of this run.
pub(super) struct Folder {
    cache: PathBuf,
    into: PathBuf,
    pieces: u64,
    bytes: u64,
}

impl Folder {
    /// Makes the next numbered directory in `dir`, and `dir` where it is missing.
    pub(super) fn begin(dir: &Path, cache: &Path) -> Result<Self, Failure> {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        private
            .recursive(true)
            .create(dir)
            .map_err(|error| failed(dir, &error))?;
        private.recursive(false);
        let mut number = 1u64;
        loop {
            let into = dir.join(number.to_string());
            match private.create(&into) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&into, &error)),
                Ok(()) => {
                    return Ok(Self {
                        cache: cache.into(),
                        into,
                        pieces: 0,
                        bytes: 0,
                    });
                }
            }
        }
    }

    /// Copies what `work` shows it, and syncs. Where anything fails the directory is removed again.
    pub(super) fn fill(
        mut self,
        work: impl FnOnce(&mut dyn Salvage) -> io::Result<()>,
    ) -> Result<Salvaged, Failure> {
        let filled = work(&mut self).and_then(|()| sync(&self.into));
        match filled {
            Ok(()) => Ok(Salvaged {
                into: self.into.display().to_string(),
                pieces: self.pieces,
                bytes: self.bytes,
            }),
            Err(error) => {
                // It is this run's own; what cannot be removed does no harm.
                let _ = fs::remove_dir_all(&self.into);
                Err(failed(&self.into, &error))
            }
        }
    }

    /// A new file in the folder; `None` where it was copied before.
    fn create(&self, path: &Path) -> io::Result<Option<File>> {
        let to = self.into.join(path);
        if let Some(parent) = to.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to);
        match file {
            Ok(file) => Ok(Some(file)),
            // The first copy is the one from before the repair.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn plain(&mut self, path: &Path) -> io::Result<()> {
        let from = self.cache.join(path);
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let flags = i32::try_from(flags).unwrap_or_default();
        let from = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(from)?;
        if let Some(mut to) = self.create(path)? {
            self.bytes += copy(&from, &mut to)?;
            self.pieces += 1;
        }
        Ok(())
    }
}

impl Salvage for Folder {
    fn sector(&mut self, offset: u64, bytes: &Sector) -> io::Result<()> {
        let path = Path::new("sectors").join(format!("{offset:012x}"));
        if let Some(mut file) = self.create(&path)? {
            file.write_all(bytes)?;
            self.pieces += 1;
            self.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        let below = path
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !below {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut left = vec![path.to_owned()];
        while let Some(path) = left.pop() {
            let from = self.cache.join(&path);
            let kind = match from.symlink_metadata() {
                Ok(found) => found.file_type(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            if kind.is_dir() {
                for entry in fs::read_dir(&from)? {
                    left.push(path.join(entry?.file_name()));
                }
            } else if kind.is_file() {
                self.plain(&path)?;
            } else if kind.is_symlink() {
                let to = self.into.join(&path);
                if let Some(parent) = to.parent() {
                    DirBuilder::new()
                        .recursive(true)
                        .mode(0o700)
                        .create(parent)?;
                }
                symlink(fs::read_link(&from)?, to)?;
            }
        }
        Ok(())
    }
}

/// Copies a file of which the disk may not give everything.
fn copy(from: &File, to: &mut File) -> io::Result<u64> {
    let len = from.metadata()?.len();
    let mut buffer = vec![0; PIECE];
    let mut done = 0;
    while done < len {
        let piece = usize::try_from(len - done).map_or(PIECE, |left| left.min(PIECE));
        let piece = buffer.get_mut(..piece).unwrap_or_default();
        if from.read_exact_at(piece, done).is_err() {
            let mut at = done;
            for page in piece.chunks_mut(PAGE) {
                if from.read_exact_at(page, at).is_err() {
                    page.fill(0);
                }
                at += page.len() as u64;
            }
        }
        to.write_all(piece)?;
        done += piece.len() as u64;
    }
    Ok(done)
}

fn sync(into: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(into)?)?)
}

fn failed(at: &Path, error: &io::Error) -> Failure {
    Failure(
        exit::OPERATIONAL,
        format!(
            "cannot salvage into {} ({error}), and nothing was changed: name a writable directory with enough free space",
            at.display()
        ),
    )
}
