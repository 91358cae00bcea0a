//! Whether what a reader got is right: every byte that one blob delivers is of one version that the origin held.

use std::sync::Arc;

use super::content::Version;
use super::serve::Shared;
use crate::units::ByteRange;

/// Judges the answers of one blob (one inode, one handle), in the order in which they came.
pub struct Judge {
    shared: Arc<Shared>,
    name: String,
    /// The versions that fit everything so far; `None` before the first byte.
    candidates: Option<Vec<Arc<Version>>>,
    /// Whether an answer may end where the origin claimed that the object ends.
    believes_sizes: bool,
}

impl Judge {
    pub(super) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self {
            shared,
            name: name.to_owned(),
            candidates: None,
            believes_sizes: false,
        }
    }

    /// The same for a client that cannot know better than the origin where the object ends: an answer that ends at a
    /// size that was claimed is right as far as it goes.
    #[must_use]
    pub fn believing_sizes(self) -> Self {
        Self {
            believes_sizes: true,
            ..self
        }
    }

    /// Judges the answer to a read of `range`. Errors with a sentence that says what is wrong with it.
    pub fn accept(&mut self, range: ByteRange, answer: &[u8]) -> Result<(), String> {
        let (versions, claimed) = {
            let world = self.shared.world();
            (world.versions(&self.name), world.claimed(&self.name))
        };
        // Once bytes were delivered, a version that came later cannot be the one that they are of. An empty answer before
        // that binds to nothing.
        let bound = self.candidates.is_some();
        let known = self.candidates.take().unwrap_or(versions);
        let before: Vec<usize> = known.iter().map(|v| v.number).collect();
        let end = range.start + answer.len() as u64;
        let ends_at = |size: u64| end == size.clamp(range.start, range.end);
        let cut = self.believes_sizes && claimed.iter().any(|size| ends_at(*size));
        let fits = |version: &Arc<Version>| {
            let whole = ends_at(version.size()) || cut && end <= version.size();
            whole
                && version
                    .object
                    .content
                    .bytes(ByteRange::new(range.start, end))
                    == *answer
        };
        let left: Vec<_> = known.iter().filter(|v| fits(v)).cloned().collect();
        if left.is_empty() {
            let sizes: Vec<u64> = known.iter().map(|v| v.size()).collect();
            self.candidates = Some(known);
            return Err(format!(
                "{}: a read of {range} brought {} bytes that are not of one version: until then they could be of {before:?} \
                 (sizes {sizes:?}; sizes that were claimed: {claimed:?}); {}",
                self.name,
                answer.len(),
                self.whose(range, answer)
            ));
        }
        self.candidates = (bound || !answer.is_empty()).then_some(left);
        Ok(())
    }

    /// The numbers of the versions that the answers so far can be of; `None` before the first byte.
    pub fn candidates(&self) -> Option<Vec<usize>> {
        let left = self.candidates.as_ref()?;
        Some(left.iter().map(|version| version.number).collect())
    }

    /// Whose bytes an answer has, for a person who looks for the reason.
    fn whose(&self, range: ByteRange, answer: &[u8]) -> String {
        let end = range.start + answer.len() as u64;
        let mut words = Vec::new();
        for version in self.shared.world().versions(&self.name) {
            let held = version
                .object
                .content
                .bytes(ByteRange::new(range.start, end));
            let equal = held.iter().zip(answer).filter(|(a, b)| a == b).count();
            let first = held.iter().zip(answer).position(|(a, b)| a != b);
            words.push(format!(
                "{equal} bytes are those of version {} (first other at {first:?})",
                version.number
            ));
        }
        words.join(", ")
    }
}
