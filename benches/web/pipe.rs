//! Distance: a relay that holds every byte back for half a round trip in each direction.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What may be on its way in one direction of one connection, in pieces of [`PIECE`] bytes.
const ON_ITS_WAY: usize = 128;
const PIECE: usize = 256 << 10;

pub(crate) struct Pipe {
    port: u16,
    _runtime: Runtime,
}

impl Pipe {
    /// Relays to a port of this machine.
    pub(crate) fn start(to: u16, round_trip: Duration) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads");
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(async move {
                    // The handshake takes a round trip, too.
                    tokio::time::sleep(round_trip).await;
                    let Ok(far) = TcpStream::connect(("127.0.0.1", to)).await else {
                        return;
                    };
                    let _ = (near.set_nodelay(true), far.set_nodelay(true));
                    let ((near_in, near_out), (far_in, far_out)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(
                        relay(near_in, far_out, round_trip / 2),
                        relay(far_in, near_out, round_trip / 2)
                    );
                });
            }
        });
        Self {
            port,
            _runtime: runtime,
        }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

async fn relay(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    delay: Duration,
) {
    let (send, mut receive) = mpsc::channel::<(Instant, Bytes)>(ON_ITS_WAY);
    let reading = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match from.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            let piece = buffer.split().freeze();
            if send.send((Instant::now() + delay, piece)).await.is_err() {
                return;
            }
        }
    };
    let writing = async move {
        while let Some((due, piece)) = receive.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
