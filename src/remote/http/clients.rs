//! The clients: one for the server that is mounted, and one for each place that redirects may come from.
//!
//! Invariants:
//!
//! * Away from the mounted server no connection is made to an address that the redirect may not lead to. It is the address
//!   of the connection that counts, and not what a name resolved to before.
//! * Connections that were made for one are used by no other.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::tls::Certificate;
use reqwest::{Client, ClientBuilder, Response, Url};

use super::reach::{self, Reach, TooNear};
use super::settings::{HttpSettings, SettingsError};
use super::trouble::sentence;
use crate::remote::api::BoxFuture;

/// The longest that a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes in flight of one response over HTTP/2, where memory allows: enough for a gigabit at 60 ms.
const STREAM_WINDOW: u32 = 8 << 20;

/// What the machine says of names and addresses.
#[derive(Clone)]
pub(super) struct Resolver {
    /// The addresses of a name.
    lookup: fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>,
    /// How near one is.
    reach: fn(IpAddr) -> Reach,
}

impl Resolver {
    /// As it is.
    pub(super) fn real() -> Self {
        Self {
            lookup: |name| {
                Box::pin(async move {
                    let found = tokio::net::lookup_host((name, 0)).await?;
                    Ok(found.map(|address| address.ip()).collect())
                })
            },
            reach: Reach::of,
        }
    }

    #[cfg(test)]
    pub(super) fn made_up(
        lookup: fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>,
        reach: fn(IpAddr) -> Reach,
    ) -> Self {
        Self { lookup, reach }
    }
}

/// All clients of one mount.
pub(super) struct Clients {
    home: Client,
    away: [OnceLock<Client>; 3],
    resolver: Resolver,
    proxies: Matcher,
    trust: Trust,
    timeout: Duration,
    in_flight: u32,
}

/// Whose certificates are believed.
struct Trust {
    more: Vec<Certificate>,
    only_more: bool,
}

impl Trust {
    fn of(&self, builder: ClientBuilder) -> ClientBuilder {
        if self.only_more {
            builder.tls_certs_only(self.more.clone())
        } else {
            builder.tls_certs_merge(self.more.clone())
        }
    }
}

impl Clients {
    pub(super) fn new(
        base: &Url,
        more: Vec<Certificate>,
        settings: &HttpSettings,
        resolver: Resolver,
    ) -> Result<Self, SettingsError> {
        let (timeout, in_flight) = (settings.timeout, settings.memory.in_flight);
        let mut trust = Trust {
            more,
            only_more: false,
        };
        let home = match trust.of(builder(timeout, in_flight)).build() {
            // A machine without any certificates can still ask a server without TLS, or one of its own.
            Err(_) if base.scheme() == "http" || !trust.more.is_empty() => {
                trust.only_more = true;
                trust.of(builder(timeout, in_flight)).build()
            }
            built => built,
        };
        Ok(Self {
            home: home.map_err(|error| SettingsError::Tls(sentence(error)))?,
            away: Default::default(),
            resolver,
            proxies: Matcher::from_system(),
            trust,
            timeout,
            in_flight,
        })
    }

    /// The client for the mounted server.
    pub(super) fn home(&self) -> &Client {
        &self.home
    }

    /// The client for `url`, to which a redirect led from so near.
    pub(super) fn away(&self, url: &Url, from: Reach) -> Result<&Client, reqwest::Error> {
        if self.is_proxied(url) {
            // All that is resolved here is the proxy's name; it resolves the other, and decides for itself.
            return Ok(&self.home);
        }
        let place = match from {
            Reach::Machine => &self.away[0],
            Reach::Link => &self.away[1],
            Reach::World => &self.away[2],
        };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let resolver = self.resolver.clone();
        let guard = builder(self.timeout, self.in_flight).dns_resolver(Guard { from, resolver });
        let client = self.trust.of(guard).build()?;
        Ok(place.get_or_init(|| client))
    }

    /// How near the server is that answered: by the address of the connection, where that is the server's.
    pub(super) fn reach_of(&self, url: &Url, response: &Response) -> Reach {
        let peer = response.remote_addr().map(|peer| peer.ip());
        let address = peer.filter(|_| !self.is_proxied(url));
        let address = address.or_else(|| reach::named(url));
        address.map_or(Reach::World, self.resolver.reach)
    }

    /// What is wrong with a redirect to `url` from so near, as far as its text tells: an address in it is never resolved.
    pub(super) fn too_near(&self, from: Reach, url: &Url) -> Option<TooNear> {
        let address = reach::named(url)?;
        refusal(from, address, &self.resolver)
    }

    fn is_proxied(&self, url: &Url) -> bool {
        let uri = url.as_str().parse::<hyper::Uri>();
        uri.is_ok_and(|uri| self.proxies.intercept(&uri).is_some())
    }
}

fn builder(timeout: Duration, in_flight: u32) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .connect_timeout(CONNECT.min(timeout))
        .pool_max_idle_per_host(64)
        .pool_idle_timeout(Duration::from_secs(60))
        .http2_initial_stream_window_size(STREAM_WINDOW.min(in_flight))
        .http2_initial_connection_window_size(in_flight)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(10))
}

fn refusal(from: Reach, address: IpAddr, resolver: &Resolver) -> Option<TooNear> {
    let reach = (resolver.reach)(address);
    (!from.may_lead_to(reach)).then_some(TooNear { address, reach })
}

/// Resolves names to those of their addresses that a redirect may lead to.
struct Guard {
    from: Reach,
    resolver: Resolver,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (from, resolver) = (self.from, self.resolver.clone());
        let found = (resolver.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let (mut good, mut refused) = (Vec::new(), None);
            for address in found.await? {
                match refusal(from, address, &resolver) {
                    None => good.push(SocketAddr::new(address, 0)),
                    some => refused = some,
                }
            }
            match refused {
                Some(refused) if good.is_empty() => Err(refused.into()),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}
