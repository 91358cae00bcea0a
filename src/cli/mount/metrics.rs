//! `--metrics ADDR`: a small web server that gives a mount's counters to Prometheus.
//!
//! It has a thread of its own and answers one question on each connection. No client waits for others: every connection is
//! taken at once, and where too many are open the oldest of them is ended, which is the one that had the most time. A
//! connection that takes long is ended as well. So whatever is done to it, the mount goes on as ever. It ends when it is
//! dropped.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::exposition::MEDIA_TYPE;
use crate::cli::error::Failure;

/// How many connections are open at a time: each takes a file descriptor, which the mount needs too.
const CONNECTIONS: usize = 32;
/// How long one connection may take, from its first byte to its last.
const PATIENCE: Duration = Duration::from_secs(10);

/// The text that is given.
pub(super) type Text = Arc<dyn Fn() -> String + Send + Sync>;

/// An address that was taken and at which nothing is answered yet.
pub(super) struct Bound(TcpListener);

impl Bound {
    /// Takes the address `HOST:PORT`; without a host it is every address of this machine.
    pub(super) fn take(address: &str) -> Result<Self, Failure> {
        let listener = match address.strip_prefix(':') {
            Some(port) => TcpListener::bind(format!("[::]:{port}"))
                .or_else(|_| TcpListener::bind(format!("0.0.0.0:{port}"))),
            None => TcpListener::bind(address),
        };
        listener.map(Self).map_err(|e| {
            Failure::failed(format_args!(
                "cannot give metrics at {address}: {e}. Choose another address with --metrics, or leave it out"
            ))
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers with what `text` gives from now on.
    pub(super) fn serve(self, text: Text) -> io::Result<Server> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(1)
            .thread_name("larder-metrics")
            .enable_all()
            .build()?;
        self.0.set_nonblocking(true)?;
        let listener = {
            let _within = runtime.enter();
            tokio::net::TcpListener::from_std(self.0)?
        };
        runtime.spawn(accept(listener, text));
        Ok(Server(Some(runtime)))
    }
}

/// A server at work.
pub(super) struct Server(Option<Runtime>);

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, text: Text) {
    let mut open = VecDeque::<JoinHandle<()>>::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors, for instance: it passes.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        open.retain(|connection| !connection.is_finished());
        if open.len() >= CONNECTIONS
            && let Some(oldest) = open.pop_front()
        {
            oldest.abort();
        }
        open.push_back(tokio::spawn(serve(stream, Arc::clone(&text))));
    }
}

async fn serve(stream: TcpStream, text: Text) {
    let serve = service_fn(|request| {
        let answer = answer(&request, &text);
        async { Ok::<_, Infallible>(answer) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    let served = http
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), serve);
    if let Ok(Err(error)) = tokio::time::timeout(PATIENCE, served).await {
        tracing::debug!("a connection for metrics ended: {error}");
    }
}

fn answer(request: &Request<Incoming>, text: &Text) -> Response<Full<Bytes>> {
    let (status, media_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, MEDIA_TYPE, text()),
        (&Method::GET | &Method::HEAD, _) => (
            StatusCode::NOT_FOUND,
            "text/plain",
            "larder gives its metrics at /metrics\n".to_owned(),
        ),
        _ => (
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET and HEAD\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn ask(at: SocketAddr, question: &str) -> String {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(question.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_while_others_hold_connections_open() {
        let bound = Bound::take("127.0.0.1:0").unwrap();
        let at = bound.address().unwrap();
        let _server = bound.serve(Arc::new(|| "larder_x 1\n".to_owned())).unwrap();
        // More than are served at a time, and each begins a question that it never ends.
        let idle: Vec<TcpStream> = (0..2 * CONNECTIONS)
            .map(|_| TcpStream::connect(at).unwrap())
            .collect();
        for mut stream in &idle {
            // One that was ended to make room takes no more.
            let _ = stream.write_all(b"GET /met");
        }
        let good = ask(at, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(
            good.contains(MEDIA_TYPE) && good.ends_with("\r\n\r\nlarder_x 1\n"),
            "{good}"
        );
        let other = ask(at, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(other.starts_with("HTTP/1.1 404"), "{other}");
        let post = ask(
            at,
            "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        );
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
        assert!(ask(at, "nonsense\r\n\r\n").contains("400"));
        // The oldest were ended to make room, long before their time was up; the youngest are still waited for.
        assert_eq!((&idle[0]).read(&mut [0]).unwrap_or(0), 0);
        let youngest = idle.last().unwrap();
        youngest.set_nonblocking(true).unwrap();
        let waits = (&*youngest).read(&mut [0]).unwrap_err();
        assert_eq!(waits.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_address_in_use_is_refused_with_a_way_out() {
        let bound = Bound::take(":0").unwrap();
        let port = bound.address().unwrap().port();
        let sentence = Bound::take(&format!(":{port}")).err().unwrap().sentence;
        assert!(sentence.contains(&port.to_string()), "{sentence}");
        assert!(sentence.contains("--metrics"), "{sentence}");
    }
}
