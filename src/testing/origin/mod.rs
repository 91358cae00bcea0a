//! An origin that can lie: a small HTTP/1.1 server on 127.0.0.1, written at the byte level, seeded and scriptable.
//!
//! It holds objects in versions ([`Object`], [`Version`]), knows HEAD and GET, ranges, conditions, keep-alive, directories
//! and their listings, and answers truthfully until a [`Fault`] is put on ([`Origin::fault`]). A [`Judge`] tells whether
//! what a reader got is of one version that the origin held.
//!
//! Invariants:
//!
//! * No fault alters the bytes of an object: what a place is said to hold it holds, in the version that is there. Lies are
//!   about places, lengths and versions; those a client can see through.
//! * Which request meets which fault follows from the seed and the requests before it ([`Origin::seed`]); an origin that
//!   is dropped in a panic prints its seed.
//! * A connection that a fault made hang stays so after [`Origin::calm`], until its client leaves.

mod answer;
mod body;
mod content;
mod judge;
mod listing;
mod request;
mod response;
mod script;
mod serve;
#[cfg(test)]
mod tests;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

pub use content::{Content, Etag, NOW, Object, Version};
pub use judge::Judge;
pub use listing::Listing;
pub use request::Method;
pub use script::{Fault, LengthLie, RangeLie, When};
pub use world::{Logged, Settings};

use serve::Shared;

/// The server; it ends with its connections when it is dropped.
pub struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    elsewhere: SocketAddr,
    tasks: [AbortHandle; 2],
    /// Its own runtime, where it was not started on another.
    runtime: Option<Runtime>,
}

impl Origin {
    /// Starts an origin with a thread of its own.
    pub fn start(seed: u64) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("origin")
            .enable_all()
            .build()?;
        let mut origin = Self::start_on(runtime.handle(), seed)?;
        origin.runtime = Some(runtime);
        Ok(origin)
    }

    /// Starts an origin on a runtime that many of them may share.
    pub fn start_on(handle: &Handle, seed: u64) -> io::Result<Self> {
        let _inside = handle.enter();
        let (here, address) = listen()?;
        let (there, elsewhere) = listen()?;
        let shared = Arc::new(Shared::new(seed, address, elsewhere));
        let tasks = [(here, false), (there, true)].map(|(listener, elsewhere)| {
            let serving = serve::accept(listener, Arc::clone(&shared), elsewhere);
            handle.spawn(serving).abort_handle()
        });
        Ok(Self {
            shared,
            address,
            elsewhere,
            tasks,
            runtime: None,
        })
    }

    /// The seed that everything random follows from.
    pub fn seed(&self) -> u64 {
        self.shared.world().seed()
    }

    /// Its URL, with a slash at its end.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The URL of the other server, to which [`Fault::RedirectElsewhere`] leads. It has the same objects and no faults, and
    /// sends back what [`Fault::RedirectBack`] leads there.
    pub fn elsewhere(&self) -> String {
        format!("http://{}/", self.elsewhere)
    }

    /// Changes how it serves.
    pub fn set(&self, settings: Settings) {
        self.shared.world().settings = settings;
    }

    /// Puts an object, or a new version of one. Names have no slash at either end; one within them makes directories.
    pub fn put(&self, name: &str, object: Object) {
        self.shared.world().put(name, object);
    }

    /// Gives an object a new version of `size` bytes, younger than the ones before and otherwise like the last.
    pub fn replace(&self, name: &str, size: u64) {
        self.shared.world().replace(name, Some(size));
    }

    /// Takes an object away. Its versions stay known to judges.
    pub fn remove(&self, name: &str) {
        self.shared.world().remove(name);
    }

    /// Every version that an object ever had; the last is the present one.
    pub fn versions(&self, name: &str) -> Vec<Arc<Version>> {
        self.shared.world().versions(name)
    }

    /// Puts a fault on. A request meets the first one that wants it.
    pub fn fault(&self, fault: Fault, when: When) {
        self.shared.world().script.add(fault, when);
    }

    /// Ends all faults, for requests that have not begun.
    pub fn calm(&self) {
        self.shared.world().script.clear();
    }

    /// Ends all faults for one name, for requests that have not begun; the others go on.
    pub fn calm_for(&self, name: &str) {
        self.shared.world().script.spare(name);
    }

    /// The requests so far, in the order in which they came.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.world().log.clone()
    }

    /// How many requests there were with this method for this name.
    pub fn requests(&self, method: Method, name: &str) -> usize {
        let world = self.shared.world();
        let hits = world
            .log
            .iter()
            .filter(|l| l.method == method && l.name == name);
        hits.count()
    }

    /// The bytes of objects and listings that were sent.
    pub fn bytes_sent(&self) -> u64 {
        self.shared.world().log.iter().map(|l| l.body_bytes).sum()
    }

    /// The connections that are open, and the most that were at once.
    pub fn connections(&self) -> (usize, usize) {
        let world = self.shared.world();
        (world.open, world.most_open)
    }

    /// A judge of what one blob delivers of an object.
    pub fn judge(&self, name: &str) -> Judge {
        Judge::new(Arc::clone(&self.shared), name)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed of the fault origin was {}", self.seed());
        }
        self.tasks.iter().for_each(AbortHandle::abort);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A socket at a port of its own.
fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let socket = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    socket.set_nonblocking(true)?;
    let address = socket.local_addr()?;
    Ok((TcpListener::from_std(socket)?, address))
}
