//! Kinds of evictions, as text on the command line; `docs/experiments.md` explains each.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::{Deserialize, Serialize};

pub use apf_vocabulary::pager::Eviction;

/// Shorter periods would leave no time between evictions; longer ones would not recur in a sample.
const PERIODS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

/// A kind of eviction and its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evict {
    text: String,
    /// The pager's kind.
    pub kind: Eviction,
}

impl Default for Evict {
    fn default() -> Self {
        Self { text: "all".into(), kind: Eviction::All }
    }
}

impl Evict {
    /// Returns true if it takes everything, once.
    pub const fn is_all(&self) -> bool {
        matches!(self.kind, Eviction::All)
    }

    /// Checks that a guest makes progress if a page-in takes `latency`: between two evictions there
    /// must be time for the pages that it needs for anything, and for some more.
    pub fn leaves_time_for(&self, latency: Duration, taken: Taken) -> Result<()> {
        if let Eviction::Periodic { period_micros, share } = self.kind {
            let page_ins = taken.page_ins(share);
            let needed = latency * page_ins;
            ensure!(
                Duration::from_micros(period_micros) >= needed,
                "--evict {self}: the period is shorter than {page_ins} page-ins of {}, so the guest would make \
                 no progress; give at least {}",
                humantime::format_duration(latency),
                humantime::format_duration(needed)
            );
        }
        Ok(())
    }
}

/// Memory that evictions take from a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The data that it reads.
    Data,
    /// Its code and stacks as well.
    Everything,
}

impl Taken {
    /// Number of its pages that come in one after the other, whatever it does.
    fn page_ins(self, share: f64) -> u32 {
        // The pages that one instruction needs, and some more.
        const INSTRUCTION: u32 = 10;
        // Of 32 tasks that read and one that computes: with 100 page-ins between evictions
        // no pass had ended after six minutes, with 300 both did within two and a half.
        const PROGRAM: f64 = 300.0;
        match self {
            Self::Data => INSTRUCTION,
            Self::Everything => INSTRUCTION.max((PROGRAM * share).ceil() as u32),
        }
    }
}

impl fmt::Display for Evict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Evict {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The argument parser shows one line, without causes.
        kind(text).map(|kind| Self { text: text.to_owned(), kind }).map_err(|error| format!("{error:#}"))
    }
}

const FORMS: &str = "write all, fraction:0.25, periodic:500ms or periodic:500ms,0.25 (from one eviction to the \
                     next, share), lru:0.5, or resident:0.25 (the share that stays)";

fn kind(text: &str) -> Result<Eviction> {
    let Some((name, parameters)) = text.split_once(':') else {
        return match text {
            "all" => Ok(Eviction::All),
            "fraction" | "periodic" | "lru" | "resident" => bail!("{text} has parameters: {FORMS}"),
            _ => bail!("`{text}` is no kind of eviction: {FORMS}"),
        };
    };
    let fields: Vec<&str> = parameters.split(',').collect();
    Ok(match (name, &fields[..]) {
        ("fraction", [part]) => Eviction::Fraction { share: share(part)? },
        ("lru", [part]) => Eviction::Lru { share: share(part)? },
        ("resident", [part]) => Eviction::Resident { share: share(part)? },
        ("periodic", [each]) => Eviction::Periodic { period_micros: period(each)?, share: 1.0 },
        ("periodic", [each, part]) => {
            Eviction::Periodic { period_micros: period(each)?, share: share(part)? }
        }
        ("all" | "fraction" | "periodic" | "lru" | "resident", _) => {
            bail!("{name} has another number of parameters: {FORMS}")
        }
        _ => bail!("`{name}` is no kind of eviction: {FORMS}"),
    })
}

fn share(text: &str) -> Result<f64> {
    let text = text.trim();
    let share: f64 = text.parse().map_err(|error| anyhow!("the share `{text}` is not a number ({error})"))?;
    ensure!(share > 0.0 && share <= 1.0, "the share `{text}` is not above 0 and at most 1");
    Ok(share)
}

fn period(text: &str) -> Result<u64> {
    let text = text.trim();
    let period = humantime::parse_duration(text)
        .map_err(|error| anyhow!("the period `{text}` is not a duration such as 500ms ({error})"))?;
    let (shortest, longest) = PERIODS;
    ensure!((shortest..=longest).contains(&period), "the period `{text}` is not between 10ms and 60s");
    u64::try_from(period.as_micros()).context("at most a minute")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Evict, String> {
        text.parse()
    }

    #[test]
    fn every_form_is_understood_and_keeps_its_text() {
        for (text, kind) in [
            ("all", Eviction::All),
            ("fraction:0.25", Eviction::Fraction { share: 0.25 }),
            ("periodic:500ms", Eviction::Periodic { period_micros: 500_000, share: 1.0 }),
            ("periodic:2s,0.1", Eviction::Periodic { period_micros: 2_000_000, share: 0.1 }),
            ("lru:1", Eviction::Lru { share: 1.0 }),
            ("resident:0.25", Eviction::Resident { share: 0.25 }),
        ] {
            let evict = parsed(text).unwrap();
            assert_eq!((&evict.kind, evict.to_string().as_str()), (&kind, text));
        }
        assert_eq!(parsed("all").unwrap(), Evict::default());
    }

    #[test]
    fn errors_name_the_field() {
        for (text, field) in [
            ("", "no kind of eviction"),
            ("some:0.5", "`some` is no kind"),
            ("fraction", "has parameters"),
            ("all:1", "number of parameters"),
            ("fraction:0.5,1", "number of parameters"),
            ("fraction:", "the share ``"),
            ("fraction:0", "above 0"),
            ("fraction:1.01", "at most 1"),
            ("lru:NaN", "above 0"),
            ("lru:25%", "not a number"),
            ("periodic:0.5", "the period `0.5`"),
            ("periodic:1ms", "between 10ms"),
            ("periodic:2h", "60s"),
            ("periodic:1s,2", "the share `2`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(field), "{text}: {error}");
        }
    }

    #[test]
    fn a_period_must_leave_time() {
        let refused = |text: &str, latency_us, taken| {
            let error = parsed(text).unwrap().leaves_time_for(Duration::from_micros(latency_us), taken).err();
            error.map(|error| error.to_string())
        };
        assert_eq!(refused("periodic:100ms,0.5", 10_000, Taken::Data), None);
        let error = refused("periodic:100ms,0.5", 11_000, Taken::Data).unwrap();
        assert!(error.contains("periodic:100ms,0.5") && error.contains("11ms"), "{error}");
        assert_eq!(refused("periodic:6s", 20_000, Taken::Everything), None);
        let error = refused("periodic:2s", 20_000, Taken::Everything).unwrap();
        assert!(
            error.ends_with("300 page-ins of 20ms, so the guest would make no progress; give at least 6s"),
            "{error}"
        );
        assert_eq!(refused("periodic:2s,0.25", 20_000, Taken::Everything), None);
        assert_eq!(refused("lru:0.5", 1_000_000, Taken::Everything), None);
    }
}
