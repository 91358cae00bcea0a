//! How near an address is, and which redirects lead too near. Pure.
//!
//! A user who mounts a server trusts it with bytes, and not with requests to what only this machine can ask: services on its
//! loopback, and those on its own network link, as a cloud's metadata service, which hands out passwords.
//!
//! Private networks (10.0.0.0/8 and the like) are no nearer than the rest: a company's public name often leads there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// How near an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// This machine itself.
    Machine,
    /// The link that this machine is on, or a service of the cloud that only its machines reach.
    Link,
    /// Anything farther.
    World,
}

impl Reach {
    /// That of an address, in whatever form it is written.
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(address) => Self::of_v4(address),
                None => Self::of_v6(address),
            },
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0 | 127, ..] => Self::Machine,
            // The last two are where Oracle's and Alibaba's clouds have their metadata.
            [169, 254, ..] | [192, 0, 0, 192] | [100, 100, 100, 200] => Self::Link,
            _ => Self::World,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Self::Machine,
            // The second is where Amazon's cloud has its metadata.
            [0xfe80..=0xfebf, ..] | [0xfd00, 0xec2, ..] => Self::Link,
            _ => Self::World,
        }
    }

    /// Whether a redirect from here may lead there: to what is near only from what is as near in the same way.
    pub(super) fn may_lead_to(self, to: Self) -> bool {
        to == Self::World || to == self
    }
}

/// The IPv4 address that an IPv6 address stands for: mapped, compatible, by NAT64 (64:ff9b::/96) or by 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// The address that a URL names, where it does so by numbers; a local name stands for one.
pub(super) fn named(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = bare.trim_end_matches('.');
    if name == "localhost" || name.ends_with(".localhost") {
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST))
    } else {
        bare.parse().ok()
    }
}

/// A redirect that leads too near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooNear {
    /// Where it leads.
    pub(super) address: IpAddr,
    /// How near that is.
    pub(super) reach: Reach,
}

impl fmt::Display for TooNear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address;
        let whose = match self.reach {
            Reach::Machine => "an address of this machine itself",
            Reach::Link | Reach::World => "an address on this machine's own link",
        };
        write!(
            f,
            "it redirects to {address}, {whose}, which larder does not follow from another machine's server (mount that address itself \
             if its files are wanted)"
        )
    }
}

impl std::error::Error for TooNear {}

#[cfg(test)]
mod tests {
    use super::Reach::{Link, Machine, World};
    use super::*;

    #[test]
    fn every_form_of_an_address_is_as_near_as_the_address() {
        for (host, reach) in [
            ("127.0.0.1", Machine),
            ("127.255.0.9", Machine),
            ("127.1", Machine),
            ("2130706433", Machine),
            ("0x7f000001", Machine),
            ("0177.0.0.1", Machine),
            ("127.0.0.1.", Machine),
            ("0.0.0.0", Machine),
            ("0", Machine),
            ("[::]", Machine),
            ("[::1]", Machine),
            ("[::ffff:127.0.0.1]", Machine),
            ("[::ffff:7f00:1]", Machine),
            ("[::127.0.0.1]", Machine),
            ("[64:ff9b::127.0.0.1]", Machine),
            ("[2002:7f00:1::]", Machine),
            ("localhost", Machine),
            ("LOCALHOST.", Machine),
            ("a.localhost", Machine),
            ("169.254.169.254", Link),
            ("0xa9fea9fe", Link),
            ("[::ffff:169.254.169.254]", Link),
            ("[64:ff9b::a9fe:a9fe]", Link),
            ("[fe80::1]", Link),
            ("[febf::1]", Link),
            ("[fd00:ec2::254]", Link),
            ("100.100.100.200", Link),
            ("192.0.0.192", Link),
            ("[fec0::1]", World),
            ("[2001:db8::1]", World),
            ("[::ffff:192.0.2.1]", World),
            ("[::2:1]", Machine),
            ("[fd00::1]", World),
            ("10.0.0.1", World),
            ("192.168.0.1", World),
            ("128.0.0.1", World),
            ("169.253.0.1", World),
        ] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(named(&url).map(Reach::of), Some(reach), "{host}");
        }
        for host in ["h.example", "127.0.0.1.example", "localhost.example"] {
            let url = Url::parse(&format!("http://{host}/")).unwrap();
            assert_eq!(named(&url), None, "{host}");
        }
    }

    #[test]
    fn what_is_near_is_reached_from_as_near_alone() {
        let leads: Vec<_> = [Machine, Link, World]
            .map(|from| [Machine, Link, World].map(|to| from.may_lead_to(to)))
            .into();
        let (yes, no) = (true, false);
        assert_eq!(leads, [[yes, no, yes], [no, yes, yes], [no, no, yes]]);
    }

    #[test]
    fn the_sentence_names_the_address_and_the_way_out() {
        for (address, word) in [("127.0.0.1", "itself"), ("169.254.0.1", "link")] {
            let address: IpAddr = address.parse().unwrap();
            let reach = Reach::of(address);
            let said = TooNear { address, reach }.to_string();
            assert!(
                said.contains(&address.to_string()) && said.contains(word),
                "{said}"
            );
            assert!(said.contains("mount that address"), "{said}");
        }
    }
}
