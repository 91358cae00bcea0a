//! The remote against an origin that says what a script tells it to, one answer for each connection.

mod asks;
mod fetches;
mod paced;
mod redirects;
mod unversioned;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{HttpMemory, HttpRemote, HttpSettings};
use crate::remote::Credentials;
use crate::remote::api::{Remote, RemoteError, Sink};
use crate::units::{ByteRange, Facts, ObjectName, Validator};

/// The objects here are the beginning of this.
const CONTENT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

const DATE: &str = "Date: Thu, 02 Jan 2020 00:00:00 GMT";
const TAG: &str = "ETag: \"v1\"";

/// What the origin does with a request.
enum Act {
    /// It sends these bytes and closes.
    Say(Vec<u8>),
    /// It sends these bytes, waits to be told, and closes.
    Hold(Vec<u8>, Arc<Notify>),
}

/// An answer: status, headers, body.
fn say(status: &str, headers: &[&str], body: &[u8]) -> Act {
    Act::Say(bytes_of(status, headers, body))
}

fn bytes_of(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// The answer 206 with the bytes `range` of an object of `total` bytes, cut after `sent` of them.
fn part(range: std::ops::Range<usize>, total: usize, tag: &str, sent: usize) -> Act {
    let place = format!(
        "Content-Range: bytes {}-{}/{total}",
        range.start,
        range.end - 1
    );
    let length = format!("Content-Length: {}", range.len());
    let body = &CONTENT[range];
    let headers = [place.as_str(), &length, tag, DATE];
    say(
        "206 Partial Content",
        &headers,
        &body[..sent.min(body.len())],
    )
}

/// The answer 200 with an object of `total` bytes, cut after `sent` of them.
fn whole(total: usize, tag: &str, sent: usize) -> Act {
    let length = format!("Content-Length: {total}");
    say("200 OK", &[&length, tag, DATE], &CONTENT[..sent.min(total)])
}

/// A running script.
struct Origin {
    url: Url,
    heads: Arc<Mutex<Vec<String>>>,
    script: UnboundedSender<Act>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    async fn start(script: Vec<Act>) -> Self {
        Self::start_at("127.0.0.1:0", script).await
    }

    async fn start_at(address: &str, script: Vec<Act>) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        let (acts, mut next) = unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(act) = next.recv().await {
                let (mut connection, _) = listener.accept().await.unwrap();
                let head = read_head(&mut connection).await;
                log.lock().push(head);
                tokio::spawn(perform(connection, act));
            }
        });
        let origin = Self {
            url,
            heads,
            script: acts,
            task,
        };
        origin.go_on(script);
        origin
    }

    /// Adds to the script.
    fn go_on(&self, script: Vec<Act>) {
        script
            .into_iter()
            .for_each(|act| drop(self.script.send(act)));
    }

    /// The requests so far, each as its head in lower case.
    fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }

    /// With a deadline that a busy machine does not meet: what is late is asked for again, and the script has no answer to
    /// that.
    fn remote(&self) -> HttpRemote {
        self.remote_at("", Duration::from_secs(240))
    }

    fn remote_at(&self, path: &str, timeout: Duration) -> HttpRemote {
        let settings = HttpSettings {
            timeout,
            ..settings()
        };
        HttpRemote::new(&self.url.join(path).unwrap(), settings).unwrap()
    }
}

async fn read_head(connection: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap().to_ascii_lowercase()
}

async fn perform(mut connection: TcpStream, act: Act) {
    match act {
        Act::Say(bytes) => drop(connection.write_all(&bytes).await),
        Act::Hold(bytes, go) => {
            let _ = connection.write_all(&bytes).await;
            go.notified().await;
        }
    }
    let _ = connection.shutdown().await;
}

fn settings() -> HttpSettings {
    HttpSettings {
        headers: vec![(
            HeaderName::from_static("x-key"),
            HeaderValue::from_static("hidden"),
        )],
        credentials: Some(Credentials {
            user: "ann".into(),
            password: "hidden".into(),
        }),
        ca_file: None,
        timeout: Duration::from_secs(3),
        uid: 7,
        gid: 8,
        memory: HttpMemory::default(),
    }
}

fn name(text: &str) -> ObjectName {
    ObjectName::new(text.as_bytes())
}

/// A sink that notes everything.
#[derive(Default)]
struct Notes {
    versions: Vec<(Facts, bool)>,
    data: Vec<u8>,
    asked_whole: u32,
    /// What it says to [`Sink::whole`].
    takes_whole: bool,
    /// What it says to a version.
    refuses: bool,
    /// It has enough of a whole object with the first bytes.
    is_modest: bool,
}

impl Notes {
    fn validator(&self) -> Option<Validator> {
        self.versions
            .first()
            .and_then(|(facts, _)| facts.validator.clone())
    }
}

impl Sink for Notes {
    fn version(&mut self, facts: &Facts, settled: bool) -> Result<(), RemoteError> {
        self.versions.push((facts.clone(), settled));
        if self.refuses {
            Err(RemoteError::Changed(Box::new(facts.clone())))
        } else {
            Ok(())
        }
    }

    fn data(&mut self, bytes: Bytes) {
        self.data.extend_from_slice(&bytes);
    }

    fn whole(&mut self) -> bool {
        self.asked_whole += 1;
        self.takes_whole
    }

    fn is_enough(&self) -> bool {
        self.is_modest && !self.data.is_empty()
    }
}

/// A fetch of `range` of the object `f`, and what the sink was given.
async fn fetched(
    remote: &HttpRemote,
    range: std::ops::Range<u64>,
    bound: Option<&Validator>,
    takes_whole: bool,
) -> (Result<(), RemoteError>, Notes) {
    let mut notes = Notes {
        takes_whole,
        ..Notes::default()
    };
    let range = ByteRange::new(range.start, range.end);
    let result = remote.fetch(&name("f"), range, bound, &mut notes).await;
    (result, notes)
}

fn strong(tag: &str) -> Validator {
    Validator::Strong(tag.as_bytes().into())
}

/// The validator that a fetch says the object has now.
fn changed_to(result: Result<(), RemoteError>) -> Option<Validator> {
    match result {
        Err(RemoteError::Changed(facts)) => facts.validator,
        other => panic!("{other:?}"),
    }
}
