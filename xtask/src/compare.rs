//! `cargo xtask compare`: two documents of one kind side by side.

use std::path::PathBuf;

use anyhow::Result;
use apf_report::Report;
use apf_report::compare::{Comparison, Verdict};
use clap::Args;

use crate::draw;

/// Exit code if a metric is past the limit.
const REGRESSION: u8 = 1;
/// Exit code if they cannot be compared.
const NOT_COMPARABLE: u8 = 2;

/// `cargo xtask compare`
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The earlier document, or its folder
    first: PathBuf,
    /// The later one
    second: PathBuf,
    /// Share by which a median may become worse
    #[arg(long, default_value = "5%", value_parser = share)]
    limit: f64,
}

/// `cargo xtask compare`; the number is the exit code.
pub fn run(args: &CompareArgs) -> u8 {
    compare(args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        NOT_COMPARABLE
    })
}

fn compare(args: &CompareArgs) -> Result<u8> {
    let first = Report::read(&draw::document_of(&args.first))?;
    let second = Report::read(&draw::document_of(&args.second))?;
    let comparison = Comparison::new(&first, &second, args.limit)?;
    println!("{}", comparison.text(draw::look()));
    Ok(if comparison.count(Verdict::Regression) > 0 { REGRESSION } else { 0 })
}

/// "5%" as 0.05.
fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or("a share in percent is needed, as in 5%")?;
    match number.trim().parse::<f64>() {
        Ok(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err(format!("`{number}` is not a number of percent from 0 on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_percent() {
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("0.5 %"), Ok(0.005));
        for wrong in ["5", "-1%", "NaN%", "inf%", "%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }
}
