//! Rules of the engine that a test can have broken on its thread, one at a time, so that it shows that it would see
//! that (`tests/it/shuttle.rs`, `tests/it/recount.rs`). Without the feature `testing` every rule holds, and nothing
//! asks.

/// A rule that keeps the readers of a slot apart from its next tenant, or the size limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(
    not(feature = "testing"),
    expect(unreachable_pub, reason = "only tests name the rules")
)]
pub enum Rule {
    /// A slot is not taken from its tenant while a check of it is under way.
    RetireSparesChecked,
    /// An inline read gives nothing of a retired slot.
    InlineSeesRetired,
    /// A fill that comes late to a retired slot writes nothing.
    FillSeesRetired,
    /// A block is verified only if no page may have come in from disk since it was asked for.
    VerifyHeedsDoubts,
    /// No fill writes before it is known what the chunk files take.
    FillAwaitsCount,
}

#[cfg(feature = "testing")]
pub use switch::break_rule;
#[cfg(feature = "testing")]
pub(crate) use switch::is_broken;

/// Whether a rule is broken: never.
#[cfg(not(feature = "testing"))]
pub(crate) const fn is_broken(_: Rule) -> bool {
    false
}

#[cfg(feature = "testing")]
mod switch {
    use std::cell::Cell;

    use super::Rule;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// Breaks a rule on this thread, until the guard is dropped.
    #[must_use]
    pub fn break_rule(rule: Rule) -> impl Drop {
        struct Guard;
        impl Drop for Guard {
            fn drop(&mut self) {
                BROKEN.set(None);
            }
        }
        BROKEN.set(Some(rule));
        Guard
    }

    /// Whether this thread has broken the rule.
    pub(crate) fn is_broken(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }
}
