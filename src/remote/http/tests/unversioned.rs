//! Fetches of objects of which the server names no version: only what one single response delivers is one.

use super::*;

const NO_TAG: &str = "X-None: 1";

fn stamp(validator: &Option<Validator>) -> u64 {
    match validator {
        Some(Validator::Stamp(stamp)) => *stamp,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_part_of_no_known_version_is_never_delivered() {
    let origin = Origin::start(vec![part(10..20, 36, NO_TAG, 10), whole(36, NO_TAG, 36)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!((notes.data.as_slice(), notes.asked_whole), (CONTENT, 1));
    stamp(&notes.validator());
    assert!(notes.versions[0].1);
    assert!(!origin.heads()[1].contains("range:"));
}

#[tokio::test]
async fn one_response_of_all_of_it_is_a_version() {
    let origin = Origin::start(vec![part(0..20, 20, NO_TAG, 20)]).await;
    let (result, notes) = fetched(&origin.remote(), 0..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        (notes.data.as_slice(), notes.asked_whole),
        (&CONTENT[..20], 0)
    );
    stamp(&notes.validator());
}

#[tokio::test]
async fn what_breaks_off_is_not_continued() {
    let origin = Origin::start(vec![whole(36, NO_TAG, 20), whole(36, NO_TAG, 36)]).await;
    let (result, notes) = fetched(&origin.remote(), 0..36, None, true).await;
    assert!(
        matches!(result, Err(RemoteError::Unreachable(_))),
        "{result:?}"
    );
    assert_eq!(notes.data, &CONTENT[..20]);
    assert_eq!(origin.heads().len(), 1);
}

#[tokio::test]
async fn a_stamp_names_one_response_and_no_other() {
    let head = || say("200 OK", &["Content-Length: 36", DATE], b"");
    let script = vec![whole(36, NO_TAG, 36), head(), whole(36, NO_TAG, 36), head()];
    let origin = Origin::start(script).await;
    let remote = origin.remote();
    let (_, notes) = fetched(&remote, 0..36, None, true).await;
    let first = notes.validator();
    // Its response is over: the object is another version now, which can be fetched once.
    let (result, notes) = fetched(&remote, 10..20, first.as_ref(), true).await;
    assert!(notes.versions.is_empty());
    let second = changed_to(result);
    assert_ne!(stamp(&first), stamp(&second));
    let (result, notes) = fetched(&remote, 10..20, second.as_ref(), true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        (notes.validator(), notes.data.as_slice()),
        (second.clone(), CONTENT)
    );
    let (result, _) = fetched(&remote, 10..20, second.as_ref(), true).await;
    assert_ne!(changed_to(result), second);
}

#[tokio::test]
async fn a_response_of_another_size_is_another_version() {
    let head = say("200 OK", &["Content-Length: 36", DATE], b"");
    let origin = Origin::start(vec![head, whole(30, NO_TAG, 30)]).await;
    let remote = origin.remote();
    let (result, _) = fetched(&remote, 10..20, Some(&Validator::Stamp(5)), true).await;
    let offered = changed_to(result);
    let (result, notes) = fetched(&remote, 10..20, offered.as_ref(), true).await;
    assert_ne!(changed_to(result), offered);
    assert!(notes.data.is_empty());
}

#[tokio::test]
async fn a_version_that_the_receiver_goes_over_to_is_still_to_be_had() {
    let origin = Origin::start(vec![whole(36, NO_TAG, 36), whole(36, NO_TAG, 36)]).await;
    let remote = origin.remote();
    let mut notes = Notes {
        refuses: true,
        ..Notes::default()
    };
    let range = ByteRange::new(0, 36);
    let result = remote.fetch(&name("f"), range, None, &mut notes).await;
    let offered = changed_to(result);
    let (result, notes) = fetched(&remote, 0..36, offered.as_ref(), true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.validator(), offered);
}

#[tokio::test]
async fn a_version_that_appears_or_vanishes_is_a_change() {
    let head = say("200 OK", &["Content-Length: 36", TAG, DATE], b"");
    let origin = Origin::start(vec![head, part(10..20, 36, NO_TAG, 10)]).await;
    let remote = origin.remote();
    let (result, _) = fetched(&remote, 10..20, Some(&Validator::Stamp(5)), true).await;
    assert_eq!(changed_to(result), Some(strong("v1")));
    let (result, notes) = fetched(&remote, 10..20, Some(&strong("v1")), true).await;
    stamp(&changed_to(result));
    assert!(notes.data.is_empty());
}

#[tokio::test]
async fn whoever_asks_meanwhile_is_told_of_the_response_on_its_way() {
    let go = Arc::new(Notify::new());
    let Act::Say(half) = whole(36, NO_TAG, 20) else {
        unreachable!("it is said")
    };
    let origin = Origin::start(vec![Act::Hold(half, Arc::clone(&go))]).await;
    let remote = Arc::new(origin.remote());
    let first = {
        let remote = Arc::clone(&remote);
        tokio::spawn(async move { fetched(&remote, 0..36, None, true).await })
    };
    while remote
        .face()
        .web
        .shared
        .stamps
        .current(&name("f"))
        .is_none()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let current = remote.face().web.shared.stamps.current(&name("f")).unwrap();
    for bound in [None, current.validator.as_ref()] {
        let (result, notes) = fetched(&remote, 10..20, bound, false).await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(
            (notes.validator(), notes.asked_whole),
            (current.validator.clone(), 1)
        );
    }
    // A receiver that does not share those bytes cannot have that version; one that was not bound to it may have another.
    let (result, notes) = fetched(&remote, 10..20, current.validator.as_ref(), true).await;
    assert!(matches!(result, Err(RemoteError::Unreachable(_))) && notes.data.is_empty());
    let (result, notes) = fetched(&remote, 10..20, None, true).await;
    assert!(changed_to(result) != current.validator && notes.data.is_empty());
    go.notify_one();
    let (_, notes) = first.await.unwrap();
    assert_eq!(notes.validator(), current.validator);
    assert_eq!(remote.face().web.shared.stamps.current(&name("f")), None);
}
