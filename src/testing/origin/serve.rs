//! The sockets of an origin: heads come in, responses are carried out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::content::Content;
use super::request::Request;
use super::response::{End, Response, Step};
use super::world::World;
use crate::units::ByteRange;

/// The longest head that is read.
const HEAD_MAX: usize = 64 << 10;
/// The bytes that are made and sent at once.
const PIECE: u64 = 64 << 10;

/// What the connections of an origin share.
pub(super) struct Shared(Mutex<World>);

impl Shared {
    pub(super) fn new(seed: u64, address: SocketAddr, elsewhere: SocketAddr) -> Self {
        Self(Mutex::new(World::new(seed, address, elsewhere)))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock()
    }
}

/// Serves every client that connects, until it is aborted; the connections end with it.
pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, elsewhere: bool) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let open = Open::new(Arc::clone(&shared));
                    connections.spawn(connection(stream, open, elsewhere));
                }
                // No more descriptors, say: it may pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Counts a connection while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        {
            let mut world = shared.world();
            world.open += 1;
            world.most_open = world.most_open.max(world.open);
        }
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.world().open -= 1;
    }
}

/// Answers the requests of one connection. An error is the client's leaving.
async fn connection(mut stream: TcpStream, open: Open, elsewhere: bool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(head) = read_head(&mut stream, &mut buffer).await? {
        let Some(request) = Request::parse(&head) else {
            let refusal =
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            return stream.write_all(refusal).await;
        };
        let round_trip = open.0.world().settings.round_trip;
        if !round_trip.is_zero() {
            tokio::time::sleep(round_trip).await;
        }
        let (response, entry) = open.0.world().answer(&request, elsewhere);
        let end = carry_out(&mut stream, response, &open.0, entry).await?;
        match end {
            End::Keep => {}
            End::Close => return stream.shutdown().await,
            End::Reset => {
                // What was sent gets a chance to arrive before the reset takes it away.
                tokio::time::sleep(Duration::from_millis(2)).await;
                return stream.set_zero_linger();
            }
        }
    }
    Ok(())
}

/// The next head, with its empty line; `None` at the end of the connection.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = buffer.split_off(at + 4);
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        if buffer.len() > HEAD_MAX || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Does what a response says, and notes the bytes of the body that went out.
async fn carry_out(
    stream: &mut TcpStream,
    response: Response,
    shared: &Shared,
    entry: usize,
) -> io::Result<End> {
    for step in response.steps {
        match step {
            Step::Send(bytes) => stream.write_all(&bytes).await?,
            Step::Body(content, range) => {
                send(
                    stream,
                    shared,
                    entry,
                    (content, range),
                    PIECE,
                    Duration::ZERO,
                )
                .await?;
            }
            Step::Drip(content, range, piece, pause) => {
                send(stream, shared, entry, (content, range), piece as u64, pause).await?;
            }
            Step::Hang => {
                let mut ignored = [0; 1024];
                while stream.read(&mut ignored).await? > 0 {}
                return Ok(End::Close);
            }
        }
    }
    Ok(response.end)
}

/// Sends a range of a content in pieces.
async fn send(
    stream: &mut TcpStream,
    shared: &Shared,
    entry: usize,
    (content, range): (Content, ByteRange),
    piece: u64,
    pause: Duration,
) -> io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let part = ByteRange::at(at, piece).clip(range);
        stream.write_all(&content.bytes(part)).await?;
        if let Some(logged) = shared.world().log.get_mut(entry) {
            logged.body_bytes += part.len();
        }
        at = part.end;
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    Ok(())
}
