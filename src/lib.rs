//! larder: the local cache beneath a network file system.
//!
//! A [`remote`] is mounted as a directory; what is read is fetched in blocks, kept in a tagged cache on local disk and
//! served from there, across restarts and power cuts, within a fixed size. The floors of the house, lowest first:
//! [`units`], [`mod@format`], [`storage`] and [`remote`], [`engine`] and [`check`], [`vfs`], [`fuse`], [`host`], [`cli`].
//! A file imports from lower floors and its own folder only; `tests/it/house.rs` holds that.
//!
//! To embed the cache over a remote of one's own, see [`host::OpenedCache`]; `examples/embed.rs` does it:
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use larder::{engine::*, host::OpenedCache, remote::Remote, units::{ByteRange, ObjectName}};
//! # fn of(remote: Arc<dyn Remote>) -> Result<(), Box<dyn std::error::Error>> {
//! let opened = OpenedCache::open("cache".as_ref(), 10 << 30, Config::default())?;
//! let source = opened.attach(Arc::clone(&remote), "", ChunkPolicy::Auto);
//! let name = ObjectName::new(*b"some/blob");
//! let reader = source.blob(&name, &opened.stat(&remote, &name)?).reader();
//! let bytes = reader.read_blocking(ByteRange::at(4096, 100))?;
//! # Ok(())
//! # }
//! ```

pub mod check;
#[cfg(feature = "cli")]
pub mod cli;
pub mod engine;
pub mod format;
#[cfg(feature = "fuse")]
pub mod fuse;
pub mod host;
pub mod remote;
mod runtime;
pub mod storage;
#[cfg(feature = "testing")]
pub mod testing;
pub mod units;
pub mod vfs;
