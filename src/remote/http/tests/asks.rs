//! Questions, listings, redirects, and trouble.

use super::*;
use crate::remote::api::{Listed, list_whole};
use crate::units::{FileKind, Timestamp};

const HTML: &str = "Content-Type: text/html";
const JSON: &str = "Content-Type: application/json";

/// A listing as nginx writes it, with its length.
fn listing(json: &str) -> Act {
    let length = format!("Content-Length: {}", json.len());
    say("200 OK", &[JSON, &length, DATE], json.as_bytes())
}

/// A certificate of an authority whose key is lost.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIIBmDCCAT+gAwIBAgIUeUIB+KbW+lBeRz/uWBC78s0FhEAwCgYIKoZIzj0EAwIw\n\
FjEUMBIGA1UEAwwLbGFyZGVyIHRlc3QwIBcNMjYxMTIxMTEwNzUxWhgPMjEyNjEw\n\
MjgxMTA3NTFaMBYxFDASBgNVBAMMC2xhcmRlciB0ZXN0MFkwEwYHKoZIzj0CAQYI\n\
KoZIzj0DAQcDQgAEpAJ06PpmI1Tb/7l+HKpBIUcJQAzPT1xwS6ztIEx4TQgmzNMv\n\
SC1nOe0M0kJoXQmh2/FyucDPwLXnI1wmTaKKj6NpMGcwHQYDVR0OBBYEFN0If4j4\n\
VTYHO/z0qM5Ar9RvpPPIMB8GA1UdIwQYMBaAFN0If4j4VTYHO/z0qM5Ar9RvpPPI\n\
MA8GA1UdEwEB/wQFMAMBAf8wFAYDVR0RBA0wC4IJbG9jYWxob3N0MAoGCCqGSM49\n\
BAMCA0cAMEQCIAD9nAp0Ouvw5djppjZGT3UzHv6KmClDuG/7EXX3sVMkAiBsR0It\n\
IqjiRbhG8yKnDtDUgS2++H6kRRUKp+/PyGxaXQ==\n\
-----END CERTIFICATE-----\n";

const ONE_FILE: &str =
    r#"[{ "name":"f", "type":"file", "mtime":"Wed, 01 Jan 2020 00:00:00 GMT", "size":36 }]"#;

#[tokio::test]
async fn a_head_tells_the_facts() {
    let modified = "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT";
    let headers = ["Content-Length: 36", TAG, modified, DATE];
    let origin = Origin::start(vec![say("200 OK", &headers, b"")]).await;
    let facts = origin.remote().stat(&name("d/a b")).await.unwrap();
    let secs = 1_577_836_800;
    assert_eq!(
        (facts.kind, facts.size, facts.mtime),
        (FileKind::File, 36, Timestamp { secs, nanos: 0 })
    );
    assert_eq!(
        (facts.ctime, facts.validator),
        (facts.mtime, Some(strong("v1")))
    );
    assert!(origin.heads()[0].starts_with("head /d/a%20b http"));
}

#[tokio::test]
async fn where_a_head_tells_nothing_the_first_byte_does() {
    let empty = || {
        say(
            "416 Range Not Satisfiable",
            &["Content-Range: bytes */0", TAG, DATE],
            b"",
        )
    };
    let cases = [
        (
            say("405 Method Not Allowed", &[], b""),
            part(0..1, 36, TAG, 1),
            36,
        ),
        (say("501 Not Implemented", &[], b""), whole(36, TAG, 36), 36),
        (say("200 OK", &[TAG], b""), part(0..1, 7, TAG, 1), 7),
        (
            say("200 OK", &["Content-Length: 0", TAG], b""),
            part(0..1, 36, TAG, 1),
            36,
        ),
        (say("200 OK", &["Content-Length: 0", TAG], b""), empty(), 0),
    ];
    for (head, get, size) in cases {
        let origin = Origin::start(vec![head, get]).await;
        let facts = origin.remote().stat(&name("f")).await.unwrap();
        assert_eq!((facts.kind, facts.size), (FileKind::File, size));
        assert_eq!(facts.validator, Some(strong("v1")));
        assert!(origin.heads()[1].contains("range: bytes=0-0"));
    }
}

#[tokio::test]
async fn each_refusal_is_its_own_error() {
    let none = || say("404 Not Found", &["Content-Length: 0"], b"");
    let origin = Origin::start(vec![none(), none()]).await;
    let error = origin.remote().stat(&name("f")).await.unwrap_err();
    assert!(matches!(error, RemoteError::NotFound));
    for (status, forbidden) in [
        ("401 Unauthorized", true),
        ("403 Forbidden", true),
        ("451 No", false),
    ] {
        let origin = Origin::start(vec![say(status, &[], b"")]).await;
        let error = origin.remote().stat(&name("f")).await.unwrap_err();
        assert_eq!(
            matches!(error, RemoteError::Forbidden),
            forbidden,
            "{error}"
        );
        if !forbidden {
            assert!(error.to_string().contains("451"), "{error}");
        }
    }
    let error = origin.remote().stat(&name("../f")).await.unwrap_err();
    assert!(matches!(error, RemoteError::NotFound));
}

#[tokio::test]
async fn a_directory_is_found_with_and_without_a_redirect() {
    let slash = say(
        "301 Moved Permanently",
        &["Location: http://elsewhere:1/d/"],
        b"",
    );
    let origin = Origin::start(vec![slash]).await;
    let facts = origin.remote().stat(&name("d")).await.unwrap();
    assert_eq!(
        (facts.kind, facts.perm, facts.size),
        (FileKind::Dir, 0o555, 0)
    );

    let script = vec![say("404 Not Found", &[], b""), say("200 OK", &[HTML], b"")];
    let origin = Origin::start(script).await;
    let facts = origin.remote().stat(&name("d")).await.unwrap();
    assert_eq!(facts.kind, FileKind::Dir);
    assert!(origin.heads()[1].starts_with("head /d/ http"));
}

#[tokio::test]
async fn secrets_go_to_the_server_itself_and_nowhere_else() {
    let other = Origin::start(vec![part(10..20, 36, TAG, 10)]).await;
    let away = format!("Location: {}g?token=t", other.url);
    let script = vec![
        say("302 Found", &["Location: /here", "Content-Length: 0"], b""),
        say("307 Temporary Redirect", &[&away, "Content-Length: 0"], b""),
    ];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
    for head in origin.heads() {
        assert!(
            head.contains("x-key: hidden") && head.contains("authorization: basic "),
            "{head}"
        );
    }
    let head = &other.heads()[0];
    assert!(
        head.starts_with("get /g?token=t ") && head.contains("range: bytes=10-19"),
        "{head}"
    );
    for secret in ["hidden", "authorization", "x-key", "referer"] {
        assert!(!head.contains(secret), "{head}");
    }
}

#[tokio::test]
async fn redirects_that_lead_nowhere_are_lies() {
    let to = |place: &str| say("302 Found", &[&format!("Location: {place}")], b"");
    let circle = (0..20).map(|n| to(&format!("/{}", n % 2))).collect();
    for script in [
        circle,
        vec![to("ftp://host/f")],
        vec![say("302 Found", &[], b"")],
    ] {
        let origin = Origin::start(script).await;
        let error = origin.remote().stat(&name("f")).await.unwrap_err();
        assert!(matches!(error, RemoteError::Untrusted(_)), "{error}");
    }
}

#[tokio::test]
async fn trouble_that_passes_is_waited_for() {
    let script = vec![
        say("503 Service Unavailable", &["Retry-After: 0"], b""),
        say("429 Too Many Requests", &["Content-Length: 0"], b""),
        Act::Say(Vec::new()),
        part(10..20, 36, TAG, 10),
    ];
    let origin = Origin::start(script).await;
    let (result, notes) = fetched(&origin.remote(), 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
    assert_eq!(origin.heads().len(), 4);
}

#[tokio::test]
async fn trouble_that_stays_ends_with_its_name() {
    let script = (0..200).map(|_| say("502 Bad Gateway", &[], b"")).collect();
    let origin = Origin::start(script).await;
    let remote = origin.remote_at("", Duration::from_secs(4));
    let error = remote.stat(&name("f")).await.unwrap_err();
    assert!(
        matches!(&error, RemoteError::Unreachable(why) if why.contains("502")),
        "{error}"
    );
    assert!(origin.heads().len() > 1);
}

/// No server gets a longer peace than a minute. No request waits for this deadline: what comes after it is refused at once.
const SHORTER_THAN_A_PEACE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_server_that_asks_for_peace_beyond_the_deadline_has_it() {
    let script = vec![say("429 Too Many Requests", &["Retry-After: 60"], b"")];
    let origin = Origin::start(script).await;
    let remote = origin.remote_at("", SHORTER_THAN_A_PEACE);
    for _ in 0..3 {
        let error = remote.stat(&name("f")).await.unwrap_err();
        assert!(
            matches!(&error, RemoteError::Unreachable(why) if why.contains("429")),
            "{error}"
        );
    }
    assert_eq!(origin.heads().len(), 1);
}

#[tokio::test]
async fn the_trouble_of_one_file_or_of_another_server_silences_no_other_request() {
    let later = "Retry-After: 3600";
    let busy = Origin::start(vec![say("429 Too Many Requests", &[later], b"")]).await;
    let away = format!("Location: {}g", busy.url);
    let script = vec![
        say("503 Service Unavailable", &[later], b""),
        say("302 Found", &[&away, "Content-Length: 0"], b""),
        say("200 OK", &["Content-Length: 36", TAG, DATE], b""),
    ];
    let origin = Origin::start(script).await;
    let remote = origin.remote_at("", SHORTER_THAN_A_PEACE);
    for status in ["503", "429"] {
        let error = remote.stat(&name("f")).await.unwrap_err();
        assert!(
            matches!(&error, RemoteError::Unreachable(why) if why.contains(status)),
            "{error}"
        );
    }
    assert_eq!(remote.stat(&name("g")).await.unwrap().size, 36);
    assert_eq!((origin.heads().len(), busy.heads().len()), (3, 1));
}

#[tokio::test]
async fn a_request_waits_as_long_as_503_asks() {
    let script = vec![
        say("503 Service Unavailable", &["Retry-After: 1"], b""),
        say("200 OK", &["Content-Length: 36", TAG, DATE], b""),
    ];
    let origin = Origin::start(script).await;
    let began = tokio::time::Instant::now();
    let remote = origin.remote();
    assert_eq!(remote.stat(&name("f")).await.unwrap().size, 36);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_no_web_server_is_asked_once() {
    let script = (0..9)
        .map(|_| Act::Say(b"SSH-2.0-x\r\n\r\n".to_vec()))
        .collect();
    let origin = Origin::start(script).await;
    let error = origin.remote().look().await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("does not come from a web server"),
        "{error}"
    );
    assert_eq!(origin.heads().len(), 1);
}

#[tokio::test]
async fn a_web_server_that_stumbles_is_asked_again() {
    let head = || say("200 OK", &["Content-Length: 36", TAG, DATE], b"");
    let strange = Act::Say(b"left over\r\n\r\n".to_vec());
    let origin = Origin::start(vec![head(), strange, head()]).await;
    let remote = origin.remote();
    for _ in 0..2 {
        assert_eq!(remote.stat(&name("f")).await.unwrap().size, 36);
    }
    assert_eq!(origin.heads().len(), 3);
}

#[tokio::test]
async fn a_server_without_tls_is_asked_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
    let asked = Arc::new(Mutex::new(0));
    let count = Arc::clone(&asked);
    let task = tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            *count.lock() += 1;
            let mut hello = [0; 64];
            let _ = connection.read(&mut hello).await;
            let _ = connection
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await;
        }
    });
    // An authority of its own: the test must not depend on the certificates of this machine.
    let ca = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca.path(), AUTHORITY).unwrap();
    let settings = HttpSettings {
        ca_file: Some(ca.path().into()),
        ..settings()
    };
    let remote = HttpRemote::new(&url, settings).unwrap();
    let error = remote.look().await.unwrap_err();
    task.abort();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
    assert_eq!(*asked.lock(), 1);
}

#[tokio::test]
async fn an_answer_that_stands_still_is_asked_for_again() {
    let still = Arc::new(Notify::new());
    let Act::Say(some) = part(10..20, 36, TAG, 4) else {
        unreachable!("it is said")
    };
    let script = vec![
        Act::Hold(Vec::new(), Arc::clone(&still)),
        Act::Hold(some, still),
        part(14..20, 36, TAG, 6),
    ];
    let origin = Origin::start(script).await;
    let remote = origin.remote_at("", Duration::from_secs(16));
    let (result, notes) = fetched(&remote, 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(notes.data, &CONTENT[10..20]);
}

#[tokio::test]
async fn no_secret_is_in_an_error() {
    let script = vec![say(
        "302 Found",
        &["Location: http://127.0.0.1:1/x?token=hidden"],
        b"",
    )];
    let origin = Origin::start(script).await;
    let remote = origin.remote_at("", Duration::from_secs(2));
    let error = remote.stat(&name("f")).await.unwrap_err();
    let shown = format!("{error} {error:?} {}", remote.principal());
    assert!(
        !shown.contains("hidden") && !shown.contains("token"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_look_tells_directory_from_file() {
    let origin = Origin::start(vec![listing(ONE_FILE), listing(ONE_FILE)]).await;
    let remote = origin.remote_at("d/", Duration::from_secs(240));
    assert!(remote.look().await.unwrap().is_empty());
    assert!(remote.lists_facts());
    assert_eq!(remote.identity(), format!("{}d/", origin.url));
    let entries = list_whole(&remote, &ObjectName::root()).await.unwrap();
    assert_eq!((entries.len(), &*entries[0].name), (1, b"f".as_slice()));
    assert!(matches!(&entries[0].listed, Listed::Facts(facts) if facts.size == 36));

    let head = || say("200 OK", &["Content-Length: 36", TAG, DATE], b"");
    let origin = Origin::start(vec![head(), head(), part(10..20, 36, TAG, 10)]).await;
    let remote = origin.remote_at("d/f", Duration::from_secs(240));
    assert!(remote.look().await.unwrap().is_empty());
    assert_eq!(remote.identity(), format!("{}d/", origin.url));
    let entries = list_whole(&remote, &ObjectName::root()).await.unwrap();
    assert_eq!((entries.len(), &*entries[0].name), (1, b"f".as_slice()));
    let (result, _) = fetched(&remote, 10..20, None, true).await;
    assert!(result.is_ok(), "{result:?}");
    assert!(matches!(
        remote.stat(&name("other")).await,
        Err(RemoteError::NotFound)
    ));
}

#[tokio::test]
async fn a_look_at_a_server_that_lists_nothing_says_so() {
    let cases = [
        ("404 Not Found", true),
        ("200 OK", true),
        ("401 Unauthorized", false),
        ("403 Forbidden", false),
    ];
    for (status, mounts) in cases {
        let origin =
            Origin::start(vec![say(status, &[HTML], b"hello"), say(status, &[], b"")]).await;
        let looked = origin.remote().look().await;
        if mounts {
            assert!(looked.unwrap()[0].contains("has no directory listing"))
        } else {
            assert!(matches!(looked, Err(RemoteError::Forbidden)))
        }
    }
    let script = vec![
        say("403 Forbidden", &[], b""),
        say("403 Forbidden", &[], b""),
    ];
    let origin = Origin::start(script).await;
    let open = HttpSettings {
        headers: Vec::new(),
        credentials: None,
        ..settings()
    };
    let remote = HttpRemote::new(&origin.url, open).unwrap();
    assert!(remote.look().await.unwrap()[0].contains("403"));
}

#[tokio::test]
async fn a_look_at_a_server_that_only_redirects_fails() {
    let circle = (0..20)
        .map(|n| say("302 Found", &[&format!("Location: /{}", n % 2)], b""))
        .collect();
    let nowhere = vec![say("302 Found", &["Location: ftp://host/"], b"")];
    for script in [circle, nowhere] {
        let origin = Origin::start(script).await;
        let error = origin.remote().look().await.unwrap_err();
        assert!(matches!(error, RemoteError::Untrusted(_)), "{error}");
    }
}

#[tokio::test]
async fn a_listing_is_of_the_directory_asked_for_or_none() {
    let lost = say("302 Found", &["Location: /login/"], b"");
    let origin = Origin::start(vec![lost, listing(ONE_FILE)]).await;
    let error = list_whole(&origin.remote(), &name("d")).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unlistable(_)), "{error}");
    let page = say("200 OK", &[HTML, "Content-Length: 5"], b"hello");
    let origin = Origin::start(vec![page]).await;
    let error = list_whole(&origin.remote(), &name("d")).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unlistable(_)), "{error}");
    let head = origin.heads()[0].clone();
    assert!(head.starts_with("get /d/ http"));
    // Caddy would answer with JSON of its own.
    assert!(
        head.contains("accept: text/html") && !head.contains("json"),
        "{head}"
    );
    let origin = Origin::start(vec![say("404 Not Found", &[], b"")]).await;
    let error = list_whole(&origin.remote(), &name("d")).await.unwrap_err();
    assert!(matches!(error, RemoteError::NotFound), "{error}");
}

#[tokio::test]
async fn a_promise_of_facts_is_kept_where_a_listing_has_none() {
    let nginx_page = "<html>\r\n<head><title>Index of /d/</title></head>\r\n<body>\r\n<h1>Index of /d/</h1><hr><pre>\
        <a href=\"../\">../</a>\r\n<a href=\"gone\">gone</a>   01-Jan-2020 00:00     1\r\n\
        <a href=\"f\">f</a>    01-Jan-2020 00:00      36\r\n</pre><hr></body>\r\n</html>\r\n";
    let length = format!("Content-Length: {}", nginx_page.len());
    let script = vec![
        listing(r#"[{ "name":"d", "type":"directory", "mtime":"Wed, 01 Jan 2020 00:00:00 GMT" }]"#),
        say("301 Moved Permanently", &["Location: /d/"], b""),
        say("200 OK", &[HTML, &length], nginx_page.as_bytes()),
        say("404 Not Found", &[], b""),
        say("200 OK", &["Content-Length: 36", TAG, DATE], b""),
    ];
    let origin = Origin::start(script).await;
    let remote = origin.remote();
    remote.look().await.unwrap();
    assert!(remote.lists_facts());
    // Which of the two entries is gone depends on whose question comes first.
    let entries = list_whole(&remote, &name("d")).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert!(matches!(&entries[0].listed, Listed::Facts(facts) if facts.size == 36));
}
