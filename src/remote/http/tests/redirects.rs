//! Redirects to other servers and back, and to what is too near. A server at 127.0.0.9 counts as one of the world here.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::clients::Resolver;
use super::super::reach::Reach;
use super::*;
use crate::remote::api::BoxFuture;

const WORLD: &str = "127.0.0.9:0";
const NEAR: &str = "127.0.0.1:0";

fn to(place: impl std::fmt::Display) -> Act {
    let location = format!("Location: {place}");
    say("302 Found", &[&location, "Content-Length: 0"], b"")
}

fn reach(address: IpAddr) -> Reach {
    match address.to_string().as_str() {
        "127.0.0.9" => Reach::World,
        _ => Reach::of(address),
    }
}

/// The addresses of the names here. One that changes has another address each time.
fn lookup(name: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let both: [IpAddr; 2] = [[127, 0, 0, 9].into(), [127, 0, 0, 1].into()];
    let found = match name.as_str() {
        "world.example" => vec![both[0]],
        "near.example" => vec![both[1]],
        "link.example" => vec![
            [169, 254, 169, 254].into(),
            [0xfe80, 0, 0, 0, 0, 0, 0, 1].into(),
        ],
        "both.example" => both.into(),
        "changes.example" => vec![both[ASKED.fetch_add(1, Ordering::Relaxed).min(1)]],
        name => panic!("{name} was looked up"),
    };
    Box::pin(async { Ok(found) })
}

fn remote(origin: &Origin) -> HttpRemote {
    HttpRemote::over(&origin.url, settings(), Resolver::made_up(lookup, reach)).unwrap()
}

/// The URL of a server under another name.
fn as_name(origin: &Origin, name: &str) -> String {
    format!("http://{name}:{}/f", origin.url.port().unwrap())
}

fn bytes() -> Act {
    part(10..20, 36, TAG, 10)
}

/// What a fetch of ten bytes gets, or why it gets none.
async fn read(remote: &HttpRemote) -> Result<Vec<u8>, String> {
    let (result, notes) = fetched(remote, 10..20, None, true).await;
    match result {
        Ok(()) => Ok(notes.data),
        Err(RemoteError::Untrusted(why)) => Err(why),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn who_left_the_server_comes_back_without_secrets() {
    let home = Origin::start_at(NEAR, Vec::new()).await;
    let away = Origin::start_at(NEAR, vec![to(format!("{}private", home.url))]).await;
    let script = vec![to(&away.url), to("/further"), bytes(), bytes()];
    home.go_on(script);
    let remote = home.remote();
    assert_eq!(read(&remote).await.unwrap(), &CONTENT[10..20]);
    let (here, there) = (home.heads(), away.heads());
    assert_eq!((here.len(), there.len()), (3, 1));
    let has_secrets = |head: &String| head.contains("authorization") || head.contains("x-key");
    assert!(has_secrets(&here[0]));
    for head in here[1..].iter().chain(&there) {
        assert!(!has_secrets(head) && !head.contains("hidden"), "{head}");
    }
    assert!(here[1].starts_with("get /private ") && here[2].starts_with("get /further "));
    // The next question begins at home.
    assert_eq!(read(&remote).await.unwrap(), &CONTENT[10..20]);
    assert!(has_secrets(&home.heads()[3]));
}

#[tokio::test]
async fn nobody_from_elsewhere_leads_to_this_machine_or_its_link() {
    let near = Origin::start_at(NEAR, vec![bytes()]).await;
    let port = near.url.port().unwrap();
    let cases = [
        (format!("http://127.0.0.1:{port}/f"), "127.0.0.1"),
        (format!("http://0x7f.1:{port}/f"), "127.0.0.1"),
        (format!("http://localhost:{port}/f"), "127.0.0.1"),
        (
            format!("http://[::ffff:127.0.0.1]:{port}/f"),
            "::ffff:127.0.0.1",
        ),
        (as_name(&near, "near.example"), "127.0.0.1"),
        (
            "http://169.254.169.254/latest/meta-data/".into(),
            "169.254.169.254",
        ),
        ("http://link.example/latest/meta-data/".into(), "fe80::1"),
    ];
    for (place, address) in cases {
        let world = Origin::start_at(WORLD, vec![to(&place)]).await;
        let why = read(&remote(&world)).await.unwrap_err();
        assert!(
            why.contains(&format!("redirects to {address}, an address")),
            "{why}"
        );
        assert!(!why.contains("meta-data"), "{why}");
        assert_eq!(world.heads().len(), 1, "it is asked once: {place}");
    }
    assert_eq!(
        near.heads().len(),
        0,
        "a redirect from elsewhere came through"
    );
}

#[tokio::test]
async fn a_chain_over_another_server_is_one_from_elsewhere() {
    let world = Origin::start_at(WORLD, Vec::new()).await;
    let near = Origin::start_at(NEAR, vec![to(&world.url), bytes()]).await;
    world.go_on(vec![to(&near.url)]);
    let why = read(&remote(&near)).await.unwrap_err();
    assert!(why.contains("127.0.0.1"), "{why}");
    assert_eq!(near.heads().len(), 1);
}

#[tokio::test]
async fn what_counts_is_the_address_of_the_connection() {
    // Both redirects lead to one name, which is another address the second time.
    let other = Origin::start_at(WORLD, vec![bytes()]).await;
    let port = other.url.port().unwrap();
    let trap = Origin::start_at(&format!("127.0.0.1:{port}"), vec![bytes()]).await;
    let name = as_name(&other, "changes.example");
    let world = Origin::start_at(WORLD, vec![to(&name), to(&name)]).await;
    let remote = remote(&world);
    assert_eq!(read(&remote).await.unwrap(), &CONTENT[10..20]);
    let why = read(&remote).await.unwrap_err();
    assert!(why.contains("127.0.0.1"), "{why}");
    assert_eq!(trap.heads().len(), 0);
}

#[tokio::test]
async fn redirects_within_the_world_and_within_this_machine_are_followed() {
    for (from, there, name) in [
        (WORLD, WORLD, "world.example"),
        (WORLD, WORLD, "127.0.0.9"),
        // What a name has of good addresses is enough.
        (WORLD, WORLD, "both.example"),
        (NEAR, NEAR, "near.example"),
        (NEAR, NEAR, "127.0.0.1"),
        (NEAR, WORLD, "world.example"),
    ] {
        let there = Origin::start_at(there, vec![bytes()]).await;
        let origin = Origin::start_at(from, vec![to(as_name(&there, name))]).await;
        let read = read(&remote(&origin)).await;
        assert_eq!(read.as_deref(), Ok(&CONTENT[10..20]), "{from} to {name}");
        assert_eq!(there.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_server_of_this_machine_leads_to_no_metadata() {
    let near = Origin::start_at(NEAR, vec![to("http://169.254.169.254/latest/")]).await;
    let why = read(&near.remote()).await.unwrap_err();
    assert!(why.contains("169.254.169.254"), "{why}");
}
