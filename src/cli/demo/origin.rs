//! The web server of the demo: a directory, in this process, behind a simulated round trip and a pipe of a given width.
//!
//! It does what a plain web server does for larder: listings as JSON in nginx's form, ranges, ETags made of time and size,
//! Last-Modified, conditional requests. What it does to a request is decided in `answer.rs`.

use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::Instant;

use super::answer::{self, Answer};
use super::traffic::Traffic;

/// How much goes through the pipe at once.
const PIECE: u64 = 128 << 10;
/// Pieces that wait for the connection to take them.
const AHEAD: usize = 4;

/// A web server that serves until it is dropped.
pub(super) struct Origin {
    server: Arc<Server>,
    address: SocketAddr,
    // Dropped, it ends everything that the server does.
    _runtime: Runtime,
}

struct Server {
    root: PathBuf,
    round_trip: Duration,
    bytes_per_second: u64,
    /// When the pipe is free again.
    free_at: Mutex<Option<Instant>>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Origin {
    /// Serves the directory `root` on a port of its own, to this machine alone.
    pub(super) fn serve(
        root: PathBuf,
        round_trip: Duration,
        bytes_per_second: u64,
    ) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("demo-origin")
            .enable_all()
            .build()?;
        let server = Arc::new(Server {
            root,
            round_trip,
            bytes_per_second: bytes_per_second.max(1),
            free_at: Mutex::default(),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        });
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener, Arc::clone(&server)));
        Ok(Self {
            server,
            address,
            _runtime: runtime,
        })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What it was asked, and the bytes that it sent.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: self.server.requests.load(Ordering::Relaxed),
            bytes: self.server.bytes.load(Ordering::Relaxed),
        }
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>) {
    loop {
        // A connection that is gone before it is taken needs no answer.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // Answers are small at their ends; waiting to fill a packet would be another round trip.
        let _ = stream.set_nodelay(true);
        let server = Arc::clone(&server);
        tokio::spawn(async move {
            let serve = service_fn(|request| Arc::clone(&server).serve(request));
            let http = hyper::server::conn::http1::Builder::new();
            let served = http.serve_connection(TokioIo::new(stream), serve).await;
            if let Err(error) = served {
                tracing::debug!("a connection to the demo's server ended: {error}");
            }
        });
    }
}

impl Server {
    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Pieces>, Infallible> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(self.round_trip).await;
        let Answer { mut response, body } = answer::answer(&self.root, &request);
        let length = body.len();
        response.headers_mut().insert(CONTENT_LENGTH, length.into());
        let body = match *request.method() {
            Method::HEAD => Pieces::nothing(),
            _ => self.send(body),
        };
        Ok(response.map(|()| body))
    }

    /// A body whose pieces go through the pipe one after the other.
    fn send(self: Arc<Self>, body: answer::Content) -> Pieces {
        let (sender, pieces) = channel(AHEAD);
        let left = body.len();
        tokio::spawn(async move {
            // The client may be gone; then there is nothing more to send.
            let _ = match body {
                answer::Content::Text(text) => self.pass(text.into(), &sender).await,
                answer::Content::Part { file, start, end } => {
                    self.pass_file(Arc::new(file), start, end, &sender).await
                }
            };
        });
        Pieces {
            pieces: Some(pieces),
            left,
        }
    }

    async fn pass_file(
        &self,
        file: Arc<File>,
        start: u64,
        end: u64,
        to: &Sender<Bytes>,
    ) -> io::Result<()> {
        let mut at = start;
        while at < end {
            let len = usize::try_from((end - at).min(PIECE)).map_err(io::Error::other)?;
            let file = Arc::clone(&file);
            let read = move || {
                let mut piece = vec![0u8; len];
                file.read_exact_at(&mut piece, at).map(|()| piece)
            };
            let piece = tokio::task::spawn_blocking(read).await??;
            self.pass(piece.into(), to).await?;
            at += len as u64;
        }
        Ok(())
    }

    async fn pass(&self, piece: Bytes, to: &Sender<Bytes>) -> io::Result<()> {
        let nanos = piece.len() as u64 * 1_000_000_000 / self.bytes_per_second;
        let arrives = {
            let mut free_at = self.free_at.lock();
            let now = Instant::now();
            let start = free_at.map_or(now, |free| free.max(now));
            *free_at.insert(start + Duration::from_nanos(nanos))
        };
        tokio::time::sleep_until(arrives).await;
        self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        to.send(piece).await.map_err(io::Error::other)
    }
}

/// A body that comes in pieces; one that ends early breaks the connection.
struct Pieces {
    pieces: Option<Receiver<Bytes>>,
    left: u64,
}

impl Pieces {
    fn nothing() -> Self {
        Self {
            pieces: None,
            left: 0,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let Some(pieces) = this.pieces.as_mut().filter(|_| this.left > 0) else {
            return Poll::Ready(None);
        };
        pieces.poll_recv(context).map(|piece| {
            Some(match piece {
                Some(piece) => {
                    this.left = this.left.saturating_sub(piece.len() as u64);
                    Ok(Frame::data(piece))
                }
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
