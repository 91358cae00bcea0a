//! A server that wants to be asked less: whom it told to wait waits, and the others are served.

use super::*;

/// Longer than any test.
const LATER: &str = "Retry-After: 60";
const PATIENCE: Duration = Duration::from_secs(300);

fn there() -> Act {
    say("200 OK", &["Content-Length: 36", TAG, DATE], b"")
}

/// An origin that answers `busy` to the first question, and the next ones well.
async fn busy_once(busy: &str, headers: &[&str]) -> Origin {
    let mut script = vec![say(busy, headers, b"")];
    script.extend((0..20).map(|_| there()));
    Origin::start(script).await
}

#[tokio::test]
async fn one_who_was_told_to_wait_holds_up_no_other() {
    for busy in ["429 Too Many Requests", "503 Service Unavailable"] {
        let origin = busy_once(busy, &[LATER, "Content-Length: 0"]).await;
        let remote = Arc::new(origin.remote_at("", PATIENCE));
        let waits = tokio::spawn({
            let remote = Arc::clone(&remote);
            async move { remote.stat(&name("told")).await }
        });
        while origin.heads().is_empty() {
            tokio::task::yield_now().await;
        }
        for n in 0..20 {
            let facts = remote.stat(&name(&format!("other-{n}"))).await.unwrap();
            assert_eq!(facts.size, 36);
        }
        assert!(!waits.is_finished(), "{busy}: it was told to wait");
        waits.abort();
        let heads = origin.heads();
        let told = heads.iter().filter(|head| head.starts_with("head /told "));
        assert_eq!((told.count(), heads.len()), (1, 21), "{busy}");
    }
}

#[tokio::test]
async fn one_who_cannot_wait_so_long_is_told_at_once_and_again_without_a_question() {
    let origin = busy_once("429 Too Many Requests", &[LATER, "Content-Length: 0"]).await;
    // Less than the server asks for.
    let remote = origin.remote_at("", Duration::from_secs(50));
    for _ in 0..3 {
        let error = remote.stat(&name("told")).await.unwrap_err();
        assert!(
            matches!(&error, RemoteError::Unreachable(why) if why.contains("429")),
            "{error}"
        );
        assert_eq!(remote.stat(&name("other")).await.unwrap().size, 36);
    }
    let heads = origin.heads();
    let told = heads.iter().filter(|head| head.starts_with("head /told "));
    assert_eq!((told.count(), heads.len()), (1, 4));
}

#[tokio::test]
async fn a_refusal_without_a_time_is_asked_again() {
    let origin = busy_once("429 Too Many Requests", &["Content-Length: 0"]).await;
    let remote = origin.remote_at("", PATIENCE);
    for n in 0..20 {
        let facts = remote.stat(&name(&format!("f-{n}"))).await.unwrap();
        assert_eq!(facts.size, 36);
    }
    assert_eq!(origin.heads().len(), 21);
}
