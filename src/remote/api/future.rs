//! The futures of a trait object.

use std::future::Future;
use std::pin::Pin;

/// A future that a remote returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
