//! A mount that came to nothing takes back the cache that it made for itself, and only that: what was there before is noted
//! first.

use std::path::{Path, PathBuf};

use crate::storage::dir::{CHUNKS_NAME, CacheDir, INDEX_NAME, LOCK_NAME};

/// What was in the place of a cache directory before it was opened.
#[derive(Debug)]
pub struct Rollback {
    path: PathBuf,
    /// Files that were not there.
    absent: Vec<PathBuf>,
    /// The directories that were not there, the lowest first.
    absent_dirs: Vec<PathBuf>,
}

impl Rollback {
    /// Looks at the place of a cache; `others` are names in it that belong to the mount as well.
    pub fn prepare(path: &Path, others: &[&str]) -> Self {
        let is_absent = |path: &Path| path.symlink_metadata().is_err();
        let names = [INDEX_NAME, LOCK_NAME]
            .into_iter()
            .chain(others.iter().copied());
        let absent = names
            .map(|name| path.join(name))
            .filter(|path| is_absent(path));
        Self {
            path: path.into(),
            absent: absent.collect(),
            absent_dirs: [path.join(CHUNKS_NAME)]
                .into_iter()
                .chain(path.ancestors().map(Path::to_owned))
                .filter(|path| is_absent(path))
                .collect(),
        }
    }

    /// Removes what was made since, while the lock of `cache`, which is in this place, is held. Nothing is done where there
    /// was an index. Directories go only when they are empty. What cannot be removed stays: the next mount uses it.
    pub fn run(&self, cache: &CacheDir) {
        let index = self.path.join(INDEX_NAME);
        if !cache.is_locked() || !self.absent.contains(&index) {
            return;
        }
        for file in &self.absent {
            let _ = std::fs::remove_file(file);
        }
        for dir in &self.absent_dirs {
            let _ = std::fs::remove_dir(dir);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{CreateOptions, open_or_create};

    fn open(path: &Path) -> CacheDir {
        let options = CreateOptions {
            capacity: 16 << 20,
            slots: None,
            files: None,
        };
        open_or_create(path, &options, &mut |_| {}).unwrap()
    }

    #[test]
    fn what_was_made_goes_and_what_was_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a/b");
        let rollback = Rollback::prepare(&place, &["log"]);
        let cache = open(&place);
        std::fs::write(place.join("log"), "x").unwrap();
        rollback.run(&cache);
        drop(cache);
        assert!(!dir.path().join("a").exists(), "made for the cache alone");
        // A directory of the user's stays, with whatever is in it.
        std::fs::create_dir_all(&place).unwrap();
        std::fs::write(place.join(LOCK_NAME), "").unwrap();
        let rollback = Rollback::prepare(&place, &[]);
        let cache = open(&place);
        rollback.run(&cache);
        drop(cache);
        assert!(!place.join(INDEX_NAME).exists() && place.join(LOCK_NAME).exists());
        // A cache that was there is never touched.
        drop(open(&place));
        let rollback = Rollback::prepare(&place, &["log"]);
        let cache = open(&place);
        std::fs::write(place.join("log"), "x").unwrap();
        rollback.run(&cache);
        assert!(place.join(INDEX_NAME).exists() && place.join("log").exists());
    }
}
