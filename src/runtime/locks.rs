//! The engine's locks: `parking_lot`'s, which a test may have tell it before each of them is asked for.
//!
//! With the feature `testing` a thread can name a function that is called before every lock and whenever one is held by
//! another holder ([`on_lock`]). A scheduler that runs all tasks on that one thread (`tests/it/shuttle.rs`) then
//! decides at each lock who goes on, and sees the real engine in orders that threads take once in a million times.
//! Where no test asked, a lock costs one look at a thread-local more; the benches have that too. Without the feature
//! these are `parking_lot`'s types and nothing else.

#[cfg(not(feature = "testing"))]
pub(crate) use parking_lot::{Mutex, RwLock};

#[cfg(feature = "testing")]
pub use told::{Asked, on_lock};
#[cfg(feature = "testing")]
pub(crate) use told::{Mutex, RwLock};

#[cfg(feature = "testing")]
mod told {
    use std::cell::Cell;
    use std::time::Duration;

    use parking_lot::{MutexGuard, RwLockReadGuard, RwLockWriteGuard};

    /// Why the function of [`on_lock`] is called.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Asked {
        /// A lock is about to be asked for.
        First,
        /// It was refused: nothing is gained by asking again before another task went on.
        Again,
    }

    thread_local! {
        static HOOK: Cell<Option<fn(Asked)>> = const { Cell::new(None) };
    }

    /// Has `hook` called before every lock of the engine on this thread, until the guard is dropped. No lock blocks the
    /// thread meanwhile: one that is held is asked for again after another call.
    #[must_use]
    pub fn on_lock(hook: fn(Asked)) -> impl Drop {
        struct Guard;
        impl Drop for Guard {
            fn drop(&mut self) {
                HOOK.set(None);
            }
        }
        HOOK.set(Some(hook));
        Guard
    }

    /// What `attempt` gives, asked for until it does; `wait` gives it where no test listens.
    fn take<G>(attempt: impl Fn() -> Option<G>, wait: impl FnOnce() -> G) -> G {
        let Some(hook) = HOOK.get() else {
            return wait();
        };
        hook(Asked::First);
        loop {
            if let Some(guard) = attempt() {
                return guard;
            }
            hook(Asked::Again);
        }
    }

    #[derive(Default, Debug)]
    pub(crate) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(parking_lot::Mutex::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            take(|| self.0.try_lock(), || self.0.lock())
        }

        pub(crate) fn try_lock_for(&self, patience: Duration) -> Option<MutexGuard<'_, T>> {
            take(
                || self.0.try_lock().map(Some),
                || self.0.try_lock_for(patience),
            )
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            if let Some(hook) = HOOK.get() {
                hook(Asked::First);
            }
            self.0.try_lock()
        }
    }

    #[derive(Default, Debug)]
    pub(crate) struct RwLock<T>(parking_lot::RwLock<T>);

    impl<T> RwLock<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(parking_lot::RwLock::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
            take(|| self.0.try_read(), || self.0.read())
        }

        pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
            take(|| self.0.try_write(), || self.0.write())
        }
    }
}
