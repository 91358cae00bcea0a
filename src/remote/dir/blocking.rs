//! Questions that may block, each on a thread of the runtime's.
//!
//! A process that has no file descriptor left gets one as soon as another question ends. So a question that finds none
//! waits, and holds no thread meanwhile: the questions that hold descriptors get on. The wait ends with the deadline of
//! the question, which is the caller's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::remote::api::RemoteError;

/// The first pause of a question without a descriptor; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Set once the log was told that descriptors are short.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Runs what may block on a thread for it, and again where it found no descriptor.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl Fn() -> Result<T, RemoteError> + Send + Sync + 'static,
) -> Result<T, RemoteError> {
    let work = Arc::new(work);
    let mut pause = FIRST_PAUSE;
    loop {
        let run = Arc::clone(&work);
        match tokio::task::spawn_blocking(move || run()).await {
            Ok(Err(RemoteError::NoDescriptor)) => {}
            Ok(result) => return result,
            Err(error) => {
                return Err(RemoteError::Unreachable(format!(
                    "a request to the directory was aborted: {error}"
                )));
            }
        }
        if !TOLD.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "larder has no file descriptor left: its requests to the remote wait for one (a higher `ulimit -n` \
                gives it more)"
            );
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn a_question_without_a_descriptor_is_asked_again() {
        let tries = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&tries);
        let answer = blocking(move || match counted.fetch_add(1, Ordering::Relaxed) {
            0..3 => Err(RemoteError::NoDescriptor),
            _ => Ok(7),
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert_eq!(tries.load(Ordering::Relaxed), 4);
        let answer = blocking(|| Err::<(), _>(RemoteError::Forbidden)).await;
        assert!(matches!(answer, Err(RemoteError::Forbidden)));
    }
}
