//! Times of page-ins, as text on the command line; `docs/experiments.md` explains each.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

pub use apf_vocabulary::pager::Latency;

/// More is not an experiment but a hang. The pager cuts what it draws there, too.
const LONGEST: Duration = Duration::from_secs(10);
/// Durations a replayed file may have: they go to the pager in one line.
const MOST_LINES: usize = 100_000;

/// A model and the text that said so. A replayed file has been read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageLatency {
    text: String,
    /// The pager's model.
    pub model: Latency,
}

impl PageLatency {
    /// The same for every page.
    pub fn constant(latency: Duration) -> Self {
        let micros = micros(latency);
        Self { text: humantime::format_duration(latency).to_string(), model: Latency::Constant { micros } }
    }

    /// Its mean, to say how long a run may take.
    /// Returns true if each page takes the same time.
    pub const fn is_constant(&self) -> bool {
        matches!(self.model, Latency::Constant { .. })
    }

    pub fn mean(&self) -> Duration {
        let micros = match &self.model {
            Latency::Constant { micros } => *micros as f64,
            Latency::Uniform { from_micros, to_micros } => (from_micros + to_micros) as f64 / 2.0,
            Latency::Exponential { mean_micros } => *mean_micros as f64,
            Latency::Lognormal { median_micros, sigma } => {
                *median_micros as f64 * (sigma * sigma / 2.0).exp()
            }
            Latency::Bimodal { usual_micros, rare_micros, rare_share } => {
                *usual_micros as f64 * (1.0 - rare_share) + *rare_micros as f64 * rare_share
            }
            Latency::Replay { micros } => micros.iter().sum::<u64>() as f64 / micros.len() as f64,
        };
        Duration::from_secs_f64(micros / 1e6).min(LONGEST)
    }
}

impl fmt::Display for PageLatency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PageLatency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The argument parser shows one line, without causes.
        model(text).map(|model| Self { text: text.to_owned(), model }).map_err(|error| format!("{error:#}"))
    }
}

fn model(text: &str) -> Result<Latency> {
    let Some((name, parameters)) = text.split_once(':') else {
        return Ok(Latency::Constant { micros: micros(duration("the duration", text)?) });
    };
    let fields: Vec<&str> = parameters.split(',').collect();
    Ok(match (name, &fields[..]) {
        ("constant", [each]) => Latency::Constant { micros: micros(duration("the duration", each)?) },
        ("uniform", [bounds]) => {
            let (from, to) = bounds.split_once("..").context("uniform is written uniform:1ms..5ms")?;
            let (from, to) = (duration("the lower bound", from)?, duration("the upper bound", to)?);
            ensure!(from <= to, "the lower bound is above the upper bound");
            Latency::Uniform { from_micros: micros(from), to_micros: micros(to) }
        }
        ("exponential", [mean]) => Latency::Exponential { mean_micros: micros(duration("the mean", mean)?) },
        ("lognormal", [median, sigma]) => Latency::Lognormal {
            median_micros: micros(duration("the median", median)?),
            sigma: number("the standard deviation", sigma, 3.0)?,
        },
        ("bimodal", [usual, rare, share]) => Latency::Bimodal {
            usual_micros: micros(duration("the usual duration", usual)?),
            rare_micros: micros(duration("the rare duration", rare)?),
            rare_share: number("the share of the rare duration", share, 1.0)?,
        },
        ("replay", _) => Latency::Replay { micros: replay(Path::new(parameters))? },
        ("constant" | "uniform" | "exponential" | "lognormal" | "bimodal", _) => {
            bail!("{name} has another number of parameters: {FORMS}")
        }
        _ => bail!("`{name}` is no distribution: {FORMS}"),
    })
}

const FORMS: &str = "write 20ms, uniform:1ms..5ms, exponential:20ms (mean), lognormal:20ms,0.5 \
                     (median, sigma), bimodal:1ms,50ms,0.1 (usual, rare, share of the rare), or replay:FILE";

fn duration(field: &str, text: &str) -> Result<Duration> {
    let text = text.trim();
    let duration = humantime::parse_duration(text)
        .map_err(|error| anyhow!("{field} `{text}` is not a duration such as 20ms ({error})"))?;
    ensure!(duration <= LONGEST, "{field} `{text}` is above 10s: not an experiment but a hang");
    Ok(duration)
}

fn number(field: &str, text: &str, most: f64) -> Result<f64> {
    let number: f64 =
        text.trim().parse().map_err(|error| anyhow!("{field} `{text}` is not a number ({error})"))?;
    ensure!((0.0..=most).contains(&number), "{field} `{text}` is not between 0 and {most}");
    Ok(number)
}

fn replay(file: &Path) -> Result<Vec<u64>> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let micros: Vec<u64> = lines
        .map(|(index, line)| {
            let latency = duration("the duration", line)
                .with_context(|| format!("{}, line {}", file.display(), index + 1))?;
            Ok(micros(latency))
        })
        .collect::<Result<_>>()?;
    ensure!(!micros.is_empty(), "{} has no duration in it: write one a line", file.display());
    ensure!(micros.len() <= MOST_LINES, "{} has more than {MOST_LINES} durations", file.display());
    Ok(micros)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dirs;

    fn parsed(text: &str) -> Result<PageLatency, String> {
        text.parse()
    }

    #[test]
    fn every_form_is_understood_and_has_its_mean() {
        for (text, mean_us) in [
            ("20ms", 20_000),
            ("0ms", 0),
            ("uniform:1ms..5ms", 3_000),
            ("exponential:20ms", 20_000),
            ("lognormal:20ms,0", 20_000),
            ("bimodal:1ms,50ms,0.1", 5_900),
        ] {
            let latency = parsed(text).unwrap();
            assert_eq!((latency.mean().as_micros(), latency.to_string().as_str()), (mean_us, text));
        }
        assert_eq!(PageLatency::constant(Duration::from_millis(20)), parsed("20ms").unwrap());
    }

    #[test]
    fn errors_name_the_field() {
        for (text, field) in [
            ("20", "the duration"),
            ("uniform:1ms..x", "the upper bound"),
            ("uniform:5ms..1ms", "the lower bound is above"),
            ("exponential:", "the mean"),
            ("exponential:1ms,2ms", "number of parameters"),
            ("lognormal:1ms,-1", "the standard deviation"),
            ("lognormal:1ms,NaN", "the standard deviation"),
            ("bimodal:1ms,2ms,1.5", "the share"),
            ("bimodal:1ms,11s,0.5", "the rare duration"),
            ("pareto:1ms", "no distribution"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_is_replayed_and_its_errors_name_file_and_line() {
        let scratch = dirs::scratch("latency-test").unwrap();
        let file = scratch.path().join("recorded");
        let text = format!("replay:{}", file.display());
        fs::write(&file, "1ms\n\n250us\n").unwrap();
        assert_eq!(parsed(&text).unwrap().model, Latency::Replay { micros: vec![1000, 250] });
        fs::write(&file, "1ms\nsoon\n").unwrap();
        let error = parsed(&text).unwrap_err();
        assert!(error.contains("recorded, line 2") && error.contains("`soon`"), "{error}");
        fs::write(&file, "\n").unwrap();
        assert!(parsed(&text).unwrap_err().contains("no duration"));
        assert!(parsed("replay:/nowhere/at/all").unwrap_err().contains("/nowhere/at/all"));
    }
}
