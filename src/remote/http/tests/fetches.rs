//! Fetches of objects that have a version.

use super::*;

#[tokio::test]
async fn a_range_is_asked_for_and_delivered() {
    let origin = Origin::start(vec![part(10..20, 36, TAG, 10)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
    let (facts, settled) = &notes.versions[0];
    assert_eq!(
        (facts.size, facts.validator.clone()),
        (36, Some(strong("v1")))
    );
    assert_eq!(
        (facts.perm, facts.uid, facts.gid, *settled),
        (0o444, 7, 8, true)
    );
    let head = &origin.heads()[0];
    assert!(head.starts_with("get /f http/1.1"), "{head}");
    for line in [
        "range: bytes=10-19",
        "accept-encoding: identity",
        "x-key: hidden",
    ] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("if-match"), "{head}");
    assert_eq!(notes.asked_whole, 0);
}

#[tokio::test]
async fn what_breaks_off_is_continued_in_the_same_version() {
    let script = vec![part(10..20, 36, TAG, 4), part(14..20, 36, TAG, 6)];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
    assert_eq!(notes.versions.len(), 1);
    let head = &origin.heads()[1];
    assert!(
        head.contains("range: bytes=14-19") && head.contains("if-match: \"v1\""),
        "{head}"
    );
}

#[tokio::test]
async fn what_breaks_off_is_not_continued_in_another_version() {
    let script = vec![
        part(10..20, 36, TAG, 4),
        part(14..20, 36, "ETag: \"v2\"", 6),
    ];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert_eq!(changed_to(result), Some(strong("v2")));
    assert_eq!(notes.data, &CONTENT[10..14]);
}

#[tokio::test]
async fn one_version_has_one_size() {
    let script = vec![part(10..20, 36, TAG, 4), part(14..20, 35, TAG, 6)];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(matches!(result, Err(RemoteError::Changed(facts)) if facts.size == 35));
    assert_eq!(notes.data, &CONTENT[10..14]);
}

#[tokio::test]
async fn another_version_than_the_one_asked_for_is_never_delivered() {
    let other = "ETag: \"v2\"";
    for answer in [part(10..20, 36, other, 10), whole(36, other, 36)] {
        let origin = Origin::start(vec![answer]).await;
        let (result, notes) = fetched(&origin.remote(), 10..20, Some(&strong("v1")), true).await;
        assert_eq!(changed_to(result), Some(strong("v2")));
        assert!(notes.data.is_empty() && notes.versions.is_empty());
    }
}

#[tokio::test]
async fn of_an_object_that_ends_earlier_comes_what_there_is() {
    let origin = Origin::start(vec![part(10..15, 15, TAG, 5)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    // The sink was told the size first, and may have refused.
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.versions[0].0.size, 15);
    assert_eq!(notes.data, CONTENT[10..15]);
}

#[tokio::test]
async fn a_refused_condition_is_a_new_version_or_a_lie() {
    for (now, is_new) in [("ETag: \"v2\"", true), (TAG, false)] {
        let script = vec![
            say("412 Precondition Failed", &["Content-Length: 0"], b""),
            say("200 OK", &["Content-Length: 36", now, DATE], b""),
        ];
        let origin = Origin::start(script).await;
        let (result, notes) = fetched(&origin.remote(), 10..20, Some(&strong("v1")), true).await;
        if is_new {
            assert_eq!(changed_to(result), Some(strong("v2")))
        } else {
            assert!(matches!(result, Err(RemoteError::Untrusted(_))))
        }
        assert!(notes.data.is_empty());
        assert!(origin.heads()[1].starts_with("head /f"));
    }
}

#[tokio::test]
async fn a_server_that_ignores_ranges_delivers_the_whole_object_once() {
    let origin = Origin::start(vec![whole(36, TAG, 36)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!((notes.data.as_slice(), notes.asked_whole), (CONTENT, 1));

    let origin = Origin::start(vec![whole(36, TAG, 36)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, false).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(notes.data.is_empty());

    let origin = Origin::start(vec![whole(20, TAG, 20)]).await;
    let (result, notes) = fetched(&origin.remote(), 0..20, None, false).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(
        (notes.data.as_slice(), notes.asked_whole),
        (&CONTENT[..20], 0)
    );
}

/// The server would send the rest, or wait for ever with it: the test has no use for it.
#[tokio::test]
async fn a_whole_object_ends_when_its_rest_is_of_no_use() {
    let origin = Origin::start(vec![whole(36, TAG, 20)]).await;
    let mut notes = Notes {
        takes_whole: true,
        is_modest: true,
        ..Notes::default()
    };
    let range = ByteRange::new(10, 20);
    let remote = origin.remote();
    let result = remote.fetch(&name("f"), range, None, &mut notes).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, CONTENT[..20]);
    assert_eq!(origin.heads().len(), 1, "it is not asked again");
}

#[tokio::test]
async fn a_whole_object_that_breaks_off_begins_again_and_nothing_comes_twice() {
    let origin = Origin::start(vec![
        whole(36, TAG, 20),
        whole(36, TAG, 5),
        whole(36, TAG, 36),
    ])
    .await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, CONTENT);
    assert_eq!((notes.versions.len(), notes.asked_whole), (1, 1));

    let script = vec![whole(36, TAG, 20), whole(36, "ETag: \"v2\"", 36)];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert_eq!(changed_to(result), Some(strong("v2")));
    assert_eq!(notes.data, &CONTENT[..20]);
}

#[tokio::test]
async fn a_server_that_forgets_ranges_midway_delivers_no_byte_twice() {
    let origin = Origin::start(vec![part(10..20, 36, TAG, 4), whole(36, TAG, 36)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_delivers_nothing() {
    let length = "Content-Length: 10";
    let fits = "Content-Range: bytes 10-19/36";
    let answers: &[(&str, &[&str])] = &[
        (
            "206 Partial Content",
            &["Content-Range: bytes 0-9/36", length, TAG],
        ),
        (
            "206 Partial Content",
            &["Content-Range: bytes 10-19/*", length, TAG],
        ),
        ("206 Partial Content", &[length, TAG]),
        (
            "206 Partial Content",
            &[fits, length, TAG, "Content-Encoding: gzip"],
        ),
        (
            "206 Partial Content",
            &[fits, length, TAG, "ETag: \"other\""],
        ),
        (
            "206 Partial Content",
            &[
                fits,
                length,
                TAG,
                "Content-Type: multipart/byteranges; boundary=b",
            ],
        ),
        ("206 Partial Content", &[fits, "Content-Length: 9", TAG]),
        ("200 OK", &[length, TAG, "Content-Encoding: gzip"]),
        ("200 OK", &[TAG]),
        ("204 No Content", &[TAG]),
        ("304 Not Modified", &[TAG]),
    ];
    for (status, headers) in answers {
        let origin = Origin::start(vec![say(status, headers, &CONTENT[10..20])]).await;
        let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
        assert!(
            matches!(result, Err(RemoteError::Untrusted(_))),
            "{headers:?}: {result:?}"
        );
        assert!(notes.data.is_empty(), "{headers:?}");
    }
}

#[tokio::test]
async fn more_than_was_announced_is_a_lie() {
    let headers = [
        "Content-Range: bytes 10-19/36",
        "Transfer-Encoding: chunked",
        TAG,
        DATE,
    ];
    for body in [
        b"b\r\nabcdefghijk\r\n0\r\n\r\n".as_slice(),
        b"a\r\nabcdefghij\r\n1\r\nk\r\n0\r\n\r\n",
    ] {
        let origin = Origin::start(vec![say("206 Partial Content", &headers, body)]).await;
        let (result, _) = fetched(&origin.remote(), 10..20, None, true).await;
        assert!(
            matches!(result, Err(RemoteError::Untrusted(_))),
            "{result:?}"
        );
    }
    let fits = b"4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n";
    let origin = Origin::start(vec![say("206 Partial Content", &headers, fits)]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, b"abcdefghij");
}

#[tokio::test]
async fn a_young_version_is_announced_as_provisional() {
    let young = "Last-Modified: Thu, 02 Jan 2020 00:00:00 GMT";
    let headers = [
        "Content-Range: bytes 10-19/36",
        TAG,
        young,
        DATE,
        "Content-Length: 10",
    ];
    let origin = Origin::start(vec![say("206 Partial Content", &headers, &CONTENT[10..20])]).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(!notes.versions[0].1);
}

#[tokio::test]
async fn a_file_that_became_a_directory_has_changed() {
    let headers = ["Location: /f/", "Content-Length: 0"];
    let origin = Origin::start(vec![say("301 Moved Permanently", &headers, b"")]).await;
    let (result, _) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(
        matches!(result, Err(RemoteError::Changed(facts)) if facts.kind == crate::units::FileKind::Dir)
    );
}
