//! A client that asks byte by byte over a plain socket.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// A connection, and what came over it.
pub(super) struct Client(pub(super) TcpStream);

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.split("\r\n").skip(1);
        let found = lines
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| *n == name);
        found.map(|(_, value)| value)
    }
}

impl Client {
    pub(super) fn new(url: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(300)))
            .unwrap();
        Self(stream)
    }

    /// Whether nothing comes for a while, not even the end.
    pub(super) fn is_still(&mut self) -> bool {
        let brief = Some(Duration::from_millis(100));
        self.0.set_read_timeout(brief).unwrap();
        matches!(self.take(1), (bytes, Some(_)) if bytes.is_empty())
    }

    pub(super) fn send(&mut self, line: &str, headers: &str) {
        let text = format!("{line} HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        self.0.write_all(text.as_bytes()).unwrap();
    }

    /// Everything up to the end of the connection or `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> (Vec<u8>, Option<std::io::Error>) {
        let (mut got, mut piece) = (Vec::new(), vec![0; 65536]);
        while got.len() < len {
            let room = piece.len().min(len - got.len());
            match self.0.read(&mut piece[..room]) {
                Ok(0) => break,
                Ok(n) => got.extend_from_slice(&piece[..n]),
                Err(error) => return (got, Some(error)),
            }
        }
        (got, None)
    }

    /// An answer with as much of a body as Content-Length says or as there is.
    pub(super) fn answer(&mut self, with_body: bool) -> Answer {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let (byte, error) = self.take(1);
            assert!(!byte.is_empty(), "no head: {error:?}");
            head.extend(byte);
        }
        let mut answer = Answer {
            status: String::from_utf8_lossy(&head[9..12]).parse().unwrap(),
            head: String::from_utf8(head).unwrap(),
            body: Vec::new(),
        };
        if with_body {
            let len = answer.header("Content-Length").and_then(|l| l.parse().ok());
            answer.body = self.take(len.unwrap_or(usize::MAX)).0;
        }
        answer
    }

    pub(super) fn get(&mut self, name: &str, headers: &str) -> Answer {
        self.send(&format!("GET /{name}"), headers);
        self.answer(true)
    }

    pub(super) fn ends(&mut self) -> bool {
        matches!(self.take(1), (bytes, None) if bytes.is_empty())
    }
}
