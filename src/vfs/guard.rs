//! A panic is one failed request and one loud line, never a dead thread or a dead mount.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs one step of a request. Whatever the step owns (the reply above all) is dropped if it panics, and a dropped reply
/// is EIO.
pub fn guarded(what: &'static str, step: impl FnOnce()) {
    let Err(panic) = catch_unwind(AssertUnwindSafe(step)) else {
        return;
    };
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    tracing::error!("{what} panicked: {message}. This is a bug in larder; the request gets EIO");
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn a_panic_drops_what_the_step_owns_and_goes_no_further() {
        let owned = std::sync::Arc::new(());
        let held = std::sync::Arc::clone(&owned);
        guarded("a test", move || {
            let _held = held;
            panic!("on purpose");
        });
        assert_eq!(std::sync::Arc::strong_count(&owned), 1);
    }
}
