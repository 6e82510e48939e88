//! Forms of the verb's options.

use std::net::{SocketAddr, ToSocketAddrs};

use apf_load::Popularity;
use bytesize::ByteSize;

/// Finds a server's address.
pub fn server(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map_err(|error| format!("no address is found: {error}"));
    found?.next().ok_or_else(|| "no address is found".into())
}

/// Reads requests a second.
pub fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001..=1e6, "0.001 to 1000000 requests a second")
}

/// Reads a share of all requests.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, 0.0..=1.0, "a share from 0 to 1")
}

/// Reads the size of a value.
pub fn value_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    let range = ByteSize::b(64)..=ByteSize::mib(1);
    if range.contains(&size) { Ok(size) } else { Err("choose from 64B to 1MiB".into()) }
}

/// Reads how often keys are asked for.
pub fn popularity(text: &str) -> Result<Popularity, String> {
    match text.split_once(':') {
        None if text == "uniform" => Ok(Popularity::Uniform),
        Some(("zipf", exponent)) => {
            number(exponent, 0.0..=10.0, "an exponent from 0 to 10").map(Popularity::Zipf)
        }
        _ => Err("choose uniform or zipf:0.99".into()),
    }
}

/// Writes how often keys are asked for, in the form that is read.
pub fn text(popularity: Popularity) -> String {
    match popularity {
        Popularity::Uniform => "uniform".into(),
        Popularity::Zipf(exponent) => format!("zipf:{exponent}"),
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>, choice: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("choose {choice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood_and_nonsense_refused() {
        for form in ["uniform", "zipf:0.99", "zipf:0"] {
            assert_eq!(popularity(form).map(text), Ok(form.to_owned()));
        }
        for form in ["", "zipf", "zipf:", "zipf:-1", "zipf:nan", "uniform:1"] {
            assert!(popularity(form).is_err(), "{form}");
        }
        assert_eq!(value_size("16KiB"), Ok(ByteSize::kib(16)));
        assert!(value_size("63B").is_err() && value_size("2MiB").is_err() && value_size("x").is_err());
        assert_eq!((rate("0.5"), share("1")), (Ok(0.5), Ok(1.0)));
        assert!(rate("0").is_err() && rate("inf").is_err() && share("1.1").is_err() && share("nan").is_err());
        assert_eq!(server("127.0.0.1:80"), Ok(SocketAddr::from(([127, 0, 0, 1], 80))));
        assert!(server("127.0.0.1").is_err());
    }
}
