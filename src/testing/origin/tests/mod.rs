//! The fault origin, asked byte by byte over a plain socket.

mod client;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::units::ByteRange;
use client::{Answer, Client};

const SIZE: u64 = 100_000;

fn origin() -> Origin {
    let origin = Origin::start(5).unwrap();
    origin.put("d/a", Object::seeded(1, SIZE));
    origin
}

fn bytes(origin: &Origin, start: u64, end: u64) -> Bytes {
    let versions = origin.versions("d/a");
    versions
        .last()
        .unwrap()
        .object
        .content
        .bytes(ByteRange::new(start, end))
}

const RANGE: &str = "Range: bytes=100-4099\r\n";

/// The answer to a GET of 4000 bytes under a fault that ends the connection, and that connection.
fn ended_by(fault: Fault) -> (Origin, Answer, Client) {
    let origin = origin();
    origin.fault(fault, When::always());
    let mut client = Client::new(&origin.url());
    let answer = client.get("d/a", RANGE);
    (origin, answer, client)
}

/// The answer under a fault after which the origin would wait for another question: it hears that there is none, so that
/// a body ends where it ends, whatever length was told.
fn under(fault: Fault) -> (Origin, Answer) {
    let origin = origin();
    origin.fault(fault, When::always());
    let mut client = Client::new(&origin.url());
    client.send("GET /d/a", RANGE);
    client.0.shutdown(std::net::Shutdown::Write).unwrap();
    let answer = client.answer(true);
    (origin, answer)
}

/// Whether so much of the body of that answer comes, and then nothing.
fn stands_still_after(len: usize, fault: Fault) -> bool {
    let origin = origin();
    origin.fault(fault, When::always());
    let mut client = Client::new(&origin.url());
    client.send("GET /d/a", RANGE);
    client.answer(false);
    client.take(len).0.len() == len && client.is_still()
}

#[test]
fn without_faults_it_tells_the_truth_over_one_connection() {
    let origin = origin();
    let mut client = Client::new(&origin.url());
    client.send("HEAD /d/a", "");
    let head = client.answer(false);
    let etag = head.header("ETag").unwrap().to_owned();
    assert_eq!(
        (head.status, head.header("Content-Length")),
        (200, Some("100000"))
    );
    assert!(
        head.header("Last-Modified").unwrap().ends_with("GMT"),
        "{head:?}"
    );
    let part = client.get("d/a", &format!("{RANGE}If-Match: {etag}\r\n"));
    assert_eq!(part.status, 206);
    assert_eq!(part.header("Content-Range"), Some("bytes 100-4099/100000"));
    assert_eq!(part.body, bytes(&origin, 100, 4100));
    assert_eq!(client.get("d/a", "").body, bytes(&origin, 0, SIZE));
    assert_eq!(client.get("d/a", "If-Match: \"x\"\r\n").status, 412);
    assert_eq!(
        client
            .get("d/a", &format!("If-None-Match: {etag}\r\n"))
            .status,
        304
    );
    let beyond = client.get("d/a", "Range: bytes=100000-\r\n");
    assert_eq!(
        (beyond.status, beyond.header("Content-Range")),
        (416, Some("bytes */100000"))
    );
    assert_eq!(client.get("d/b", "").status, 404);
    let moved = client.get("d", "");
    assert_eq!(
        moved.header("Location"),
        Some(&*format!("{}d/", origin.url()))
    );
    let listing: serde_json::Value = serde_json::from_slice(&client.get("d/", "").body).unwrap();
    assert_eq!(
        (&listing[0]["name"], &listing[0]["size"]),
        (&"a".into(), &SIZE.into())
    );
    assert!(client.get("", "").body.starts_with(b"[{"));
    assert_eq!(client.get("e/", "").status, 404);
    assert_eq!(origin.connections(), (1, 1));
    assert_eq!(origin.requests(Method::Get, "d/a"), 5);
    let log = origin.log();
    let sent: u64 = log
        .iter()
        .filter(|l| l.name == "d/a")
        .map(|l| l.body_bytes)
        .sum();
    assert_eq!(sent, 4000 + SIZE, "refusals aside");
    assert!(origin.bytes_sent() > sent, "the listings");
}

#[test]
fn objects_come_in_versions_of_which_old_ones_stay_known() {
    let origin = origin();
    let mut client = Client::new(&origin.url());
    let etag = client.get("d/a", RANGE).header("ETag").unwrap().to_owned();
    origin.replace("d/a", SIZE);
    let versions = origin.versions("d/a");
    assert!(versions[1].modified() > versions[0].modified() && versions[1].size() == SIZE);
    assert_eq!(
        client.get("d/a", &format!("If-Match: {etag}\r\n")).status,
        412
    );
    assert_eq!(client.get("d/a", RANGE).body, bytes(&origin, 100, 4100));
    origin.put(
        "d/a",
        Object::seeded(2, 3)
            .with_etag(Etag::Weak)
            .without_modified(),
    );
    let weak = client.get("d/a", "");
    assert!(weak.header("ETag").unwrap().starts_with("W/\"") && weak.body.len() == 3);
    assert_eq!(weak.header("Last-Modified"), None);
    origin.put(
        "d/a",
        Object::seeded(2, SIZE)
            .with_etag(Etag::Absent)
            .without_ranges(),
    );
    let whole = client.get("d/a", RANGE);
    assert_eq!(
        (whole.status, whole.header("ETag"), whole.body.len()),
        (200, None, 100_000)
    );
    origin.remove("d/a");
    assert_eq!(client.get("d/a", "").status, 404);
    assert_eq!(origin.versions("d/a").len(), 4);
}

#[test]
fn bodies_end_where_the_script_says() {
    let (origin, cut, mut client) = ended_by(Fault::Cut { at: 128 });
    assert_eq!(
        (cut.header("Content-Length"), client.ends()),
        (Some("4000"), true)
    );
    assert_eq!(cut.body, bytes(&origin, 100, 2100));
    let (_origin, truncated, mut client) = ended_by(Fault::Truncate { by: 1 });
    assert_eq!((truncated.body.len(), client.ends()), (3999, true));
    assert!(stands_still_after(1000, Fault::Stall { at: 64 }));
    let (_origin, early, mut client) = ended_by(Fault::EarlyClose);
    assert_eq!((early.body.len(), client.ends()), (4000, true));
    let drip = Fault::Drip {
        piece: 1,
        pause: Duration::from_secs(3600),
    };
    assert!(stands_still_after(1, drip));
    let (origin, mut client) = (self::origin(), None);
    origin.fault(Fault::Reset { at: 128 }, When::always());
    let client = client.insert(Client::new(&origin.url()));
    client.send("GET /d/a", RANGE);
    let (got, error) = client.take(usize::MAX);
    let kind = error.map(|error| error.kind());
    assert!(
        kind == Some(std::io::ErrorKind::ConnectionReset) && got.len() > 2000,
        "{kind:?}"
    );
    origin.calm();
    origin.fault(Fault::Silence, When::nth(1));
    let mut client = Client::new(&origin.url());
    client.send("GET /d/a", RANGE);
    assert!(client.is_still(), "silence is no end");
    assert_eq!(
        Client::new(&origin.url()).get("d/a", "").status,
        200,
        "nth(1) is over"
    );
}

#[test]
fn lengths_and_places_lie_as_told() {
    let length = |lie| {
        under(Fault::Length(lie))
            .1
            .header("Content-Length")
            .unwrap()
            .to_owned()
    };
    assert_eq!(length(LengthLie::Larger(5)), "4005");
    assert_eq!(length(LengthLie::Smaller(5)), "3995");
    assert_eq!(length(LengthLie::Garbage), "4000 or so");
    let two = under(Fault::Length(LengthLie::Two)).1;
    assert!(two.head.contains("Length: 4000\r\n") && two.head.contains("Length: 4001\r\n"));
    let place = |lie| {
        let (origin, answer) = under(Fault::Range(lie));
        let said = answer.header("Content-Range").map(str::to_owned);
        // Whatever place is named, the bytes are those of that place.
        let named = said.as_ref().and_then(|said| {
            let (start, end) = said
                .strip_prefix("bytes ")?
                .split('/')
                .next()?
                .split_once('-')?;
            Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()? + 1))
        });
        let (start, end) = named.unwrap_or((100, 4100));
        assert_eq!(answer.body, bytes(&origin, start, end), "{lie:?}");
        said
    };
    assert_eq!(place(RangeLie::Start).unwrap(), "bytes 50-4049/100000");
    assert_eq!(place(RangeLie::EndBefore).unwrap(), "bytes 100-2099/100000");
    assert_eq!(place(RangeLie::EndAfter).unwrap(), "bytes 100-5099/100000");
    assert_eq!(place(RangeLie::TotalMore).unwrap(), "bytes 100-4099/100007");
    assert_eq!(place(RangeLie::TotalLess).unwrap(), "bytes 100-4099/50000");
    assert_eq!(place(RangeLie::TotalUnknown).unwrap(), "bytes 100-4099/*");
    assert_eq!(place(RangeLie::Garbage).unwrap(), "bytes of some kind");
    assert_eq!(place(RangeLie::Missing), None);
}

#[test]
fn answers_of_other_kinds_come_as_told() {
    let whole = under(Fault::WholeForRange).1;
    assert_eq!(
        (
            whole.status,
            whole.body.len(),
            whole.header("Content-Range")
        ),
        (200, 100_000, None)
    );
    let (origin, parts) = under(Fault::Multipart);
    let part = bytes(&origin, 100, 4100);
    assert!(parts.body.windows(4000).any(|w| w == part) && parts.body.ends_with(b"--PART--\r\n"));
    let gzip = under(Fault::Gzip).1;
    assert!(
        gzip.header("Content-Encoding") == Some("gzip") && gzip.body.starts_with(&[0x1f, 0x8b])
    );
    let fewer = under(Fault::ChunkedFewer(1)).1;
    assert!(fewer.body.starts_with(b"f9f\r\n") && fewer.body.ends_with(b"\r\n0\r\n\r\n"));
    let more = under(Fault::ChunkedMore(9)).1;
    assert!(more.body.starts_with(b"fa0\r\n") && more.body.len() > 4009);
    assert_eq!(more.header("Content-Length"), None);
    let slow_down = under(Fault::Status(429, Some("soon"))).1;
    assert_eq!(
        (slow_down.status, slow_down.header("Retry-After")),
        (429, Some("soon"))
    );
    assert_eq!(
        under(Fault::RedirectLoop).1.header("Location"),
        Some("/d/a")
    );
    let (origin, there) = under(Fault::RedirectElsewhere);
    assert_eq!(
        there.header("Location"),
        Some(&*format!("{}d/a", origin.elsewhere()))
    );
    let answer = Client::new(&origin.elsewhere()).get("d/a", RANGE);
    assert_eq!(answer.body, bytes(&origin, 100, 4100));
    assert_eq!(
        origin.log().iter().map(|l| l.elsewhere).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn validators_lie_as_told() {
    assert_eq!(under(Fault::NoEtag).1.header("ETag"), None);
    assert!(
        under(Fault::WeakEtag)
            .1
            .header("ETag")
            .unwrap()
            .starts_with("W/\"")
    );
    assert!(
        under(Fault::LyingEtag)
            .1
            .header("ETag")
            .unwrap()
            .starts_with("\"lie-")
    );
    let (origin, replaced) = under(Fault::Replace { same_size: true });
    let versions = origin.versions("d/a");
    assert_eq!((versions.len(), versions[1].size()), (2, SIZE));
    assert_eq!(replaced.body, bytes(&origin, 100, 4100));
    origin.calm();
    origin.fault(Fault::HeadLies, When::always());
    let mut client = Client::new(&origin.url());
    client.send("HEAD /d/a", "");
    assert_eq!(
        client.answer(false).header("ETag"),
        versions[0].etag().as_deref()
    );
    assert_eq!(
        client.get("d/a", "").header("ETag"),
        versions[1].etag().as_deref()
    );
    origin.calm();
    origin.fault(Fault::NoConditions, When::always());
    assert_eq!(client.get("d/a", "If-Match: \"x\"\r\n").status, 200);
    origin.fault(Fault::WrongListing, When::always().path("d/"));
    origin.calm();
    origin.fault(Fault::WrongListing, When::always().path("d/"));
    let listing: serde_json::Value = serde_json::from_slice(&client.get("d/", "").body).unwrap();
    assert_eq!(listing[0]["size"], SIZE + 5);
}

#[test]
fn a_required_header_is_required_here_only() {
    let origin = origin();
    origin.set(Settings {
        required: Some(("authorization".into(), "Basic eDp5".into())),
        ..Settings::default()
    });
    let mut client = Client::new(&origin.url());
    let refused = client.get("d/a", "");
    assert!(refused.status == 401 && refused.header("WWW-Authenticate").is_some());
    assert_eq!(
        client.get("d/a", "Authorization: Basic eDp5\r\n").status,
        200
    );
    assert_eq!(Client::new(&origin.elsewhere()).get("d/a", "").status, 200);
    let authorized: Vec<_> = origin.log().iter().map(|l| l.authorized).collect();
    assert_eq!(authorized, [false, true, false]);
}

#[test]
fn every_fault_of_the_catalogue_is_answered_somehow() {
    for fault in Fault::catalogue() {
        for method in ["GET", "HEAD"] {
            let origin = origin();
            origin.fault(fault.clone(), When::nth(1));
            let mut client = Client::new(&origin.url());
            client.send(&format!("{method} /d/a"), RANGE);
            while origin.log().is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            client.is_still();
            assert_eq!(origin.log()[0].fault, Some(fault.clone()), "{method}");
            assert_eq!(
                Client::new(&origin.url()).get("d/a", "").body,
                bytes(&origin, 0, SIZE * 9)
            );
        }
    }
}

#[test]
fn the_judge_catches_what_is_wrong_and_only_that() {
    let origin = origin();
    let old = |start, end| {
        origin.versions("d/a")[0]
            .object
            .content
            .bytes(ByteRange::new(start, end))
    };
    let (near, far) = (ByteRange::new(0, 50), ByteRange::new(99_990, 100_040));
    let first = (old(0, 50), old(99_990, SIZE));
    let mut judge = origin.judge("d/a");
    judge.accept(near, &first.0).unwrap();
    origin.replace("d/a", SIZE);
    let new = bytes(&origin, 99_990, SIZE);
    judge.accept(far, &first.1).unwrap();
    assert_eq!(judge.candidates(), Some(vec![0]));
    // Two versions in one blob, even though both were held.
    assert!(
        judge
            .accept(far, &new)
            .unwrap_err()
            .contains("not of one version")
    );
    let mut mixed = first.0.to_vec();
    mixed[25..].copy_from_slice(&bytes(&origin, 25, 50));
    assert!(origin.judge("d/a").accept(near, &mixed).is_err());
    // Too short, too long, from another place, zeros.
    assert!(origin.judge("d/a").accept(near, &first.0[..49]).is_err());
    assert!(
        origin
            .judge("d/a")
            .accept(far, &[&first.1[..], &[0]].concat())
            .is_err()
    );
    assert!(origin.judge("d/a").accept(near, &old(1, 51)).is_err());
    assert!(origin.judge("d/a").accept(near, &[0; 50]).is_err());
    assert!(origin.judge("d/a").accept(near, &[]).is_err());
    let beyond = ByteRange::new(SIZE, SIZE + 5);
    let mut judge = origin.judge("d/a");
    judge.accept(beyond, &[]).unwrap();
    assert_eq!(judge.candidates(), None, "nothing was delivered yet");
}

#[test]
fn the_judge_believes_a_claimed_size_only_if_told() {
    let origin = origin();
    origin.fault(Fault::Range(RangeLie::TotalLess), When::always());
    Client::new(&origin.url()).get("d/a", RANGE);
    let (across, short) = (
        ByteRange::new(49_990, 50_010),
        bytes(&origin, 49_990, 50_000),
    );
    assert!(origin.judge("d/a").accept(across, &short).is_err());
    let mut judge = origin.judge("d/a").believing_sizes();
    judge.accept(across, &short).unwrap();
    assert!(
        judge.accept(across, &short[..9]).is_err(),
        "any other end is wrong all the same"
    );
}
