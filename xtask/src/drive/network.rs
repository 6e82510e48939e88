//! A guest's network.

use std::net::TcpListener;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The tap device of the lab (`images/lab/init`), in which the guest gets the address 10.0.5.3.
const LAB_TAP: &str = "tap10";
/// The longest name of a network device (Linux's `IFNAMSIZ`, without its end).
const LONGEST_NAME: usize = 15;

/// A network that a guest's card is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// One of its own that the VMM makes, and ports of the host that are forwarded into it.
    User(Vec<Forward>),
    /// That of a tap device of the host.
    Tap(String),
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "user" => Ok(Self::User(vec![])),
            None if text == "tap" => Ok(Self::Tap(LAB_TAP.into())),
            Some(("tap", name)) => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_name) {
                    return Err(format!("`{name}` is no name of a network device"));
                }
                Ok(Self::Tap(name.into()))
            }
            _ => Err("write user, tap, or tap:NAME with the name of a tap device".into()),
        }
    }
}

impl Network {
    /// Arguments for QEMU's network card.
    pub fn arguments(&self) -> Vec<String> {
        let network = match self {
            Self::User(forwards) => {
                let forward =
                    |forward: &Forward| format!(",hostfwd=tcp:127.0.0.1:{}-:{}", forward.host, forward.guest);
                format!("user,id=net{}", forwards.iter().map(forward).collect::<String>())
            }
            // The device is there and up.
            Self::Tap(name) => format!("tap,id=net,ifname={name},script=no,downscript=no"),
        };
        let card = "virtio-net-pci,netdev=net,disable-legacy=on";
        ["-netdev", &network, "-device", card].map(str::to_owned).into()
    }
}

/// A TCP port of the host that is forwarded to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    pub host: u16,
    pub guest: u16,
}

impl FromStr for Forward {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse().ok().filter(|&port: &u16| port > 0);
        let ports = text.split_once(':').and_then(|(host, guest)| Some((port(host)?, port(guest)?)));
        let (host, guest) = ports.ok_or("write HOST:GUEST, two ports such as 8080:80")?;
        Ok(Self { host, guest })
    }
}

impl Forward {
    /// Checks that the port of the host is free.
    pub fn check(self) -> Result<()> {
        TcpListener::bind(("127.0.0.1", self.host)).map(drop).with_context(|| {
            format!(
                "--forward {}:{}: port {} of this machine cannot be taken",
                self.host, self.guest, self.host
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_is_two_ports() {
        assert_eq!("8080:80".parse(), Ok(Forward { host: 8080, guest: 80 }));
        for bad in ["80", ":80", "0:80", "80:0", "80:http", "1:65536", "1:2:3"] {
            assert!(bad.parse::<Forward>().unwrap_err().contains("8080:80"), "{bad}");
        }
    }

    #[test]
    fn a_network_is_the_vmms_own_or_a_tap_device() {
        assert_eq!("user".parse(), Ok(Network::User(vec![])));
        assert_eq!("tap".parse(), Ok(Network::Tap(LAB_TAP.into())));
        assert_eq!("tap:br-1.0".parse(), Ok(Network::Tap("br-1.0".into())));
        // A comma would start another option of QEMU's.
        for bad in ["", "tap:", "tap:a,b", "tap:a/b", "tap:0123456789abcdef", "user:x", "bridge"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = taken.local_addr().unwrap().port();
        let error = Forward { host, guest: 80 }.check().unwrap_err();
        assert!(format!("{error:#}").contains(&format!("port {host} of this machine")), "{error:#}");
        drop(taken);
        Forward { host, guest: 80 }.check().unwrap();
    }
}
