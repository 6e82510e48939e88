//! Forwarded ports of a guest's network.

use std::net::TcpListener;
use std::str::FromStr;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

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
    fn a_port_in_use_is_named() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = taken.local_addr().unwrap().port();
        let error = Forward { host, guest: 80 }.check().unwrap_err();
        assert!(format!("{error:#}").contains(&format!("port {host} of this machine")), "{error:#}");
        drop(taken);
        Forward { host, guest: 80 }.check().unwrap();
    }
}
