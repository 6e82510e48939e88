//! Lines from the guest to the driver: one JSON object each, behind a prefix, on the console.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::attack::Attack;
use crate::counters::Counters;
use crate::fault::Row;
use crate::grid::Point;
use crate::mode::Mode;
use crate::pager::Parts;
use crate::sample::Sample;

/// Start of a console line that is a [`Message`].
pub const PREFIX: &str = "@apf ";

/// One line of the guest. A line with a request number is a request, which the host acknowledges
/// in the [mailbox](crate::mailbox).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Message {
    /// Start of the program.
    Hello {
        /// Frequency of the time-stamp counter.
        tsc_mhz: u32,
        /// Number of cores that the kernel started.
        cores: usize,
        /// Number of pages of the memory filled with fingerprints.
        region_pages: usize,
        /// Address of the image's entry point.
        entry: u64,
        /// Addresses of the kernel's code, if it is not in the image.
        #[serde(default)]
        kernel: Option<Range<u64>>,
    },
    /// Failed start of the service.
    ServiceOff {
        /// Reason.
        reason: String,
    },
    /// Request to evict the guest's memory.
    Evict {
        /// Request number.
        request: u64,
        /// Parts to evict; all memory if absent.
        #[serde(default)]
        only: Option<Parts>,
        /// Share of these parts that stays in memory, and no more from then on; as set for the run if absent.
        #[serde(default)]
        local: Option<f64>,
        /// Time that page-ins take from now on; as set for the run if absent.
        #[serde(default)]
        page_latency_us: Option<u64>,
        /// Seed of random latencies.
        #[serde(default)]
        seed: u64,
    },
    /// Request to bring everything back at once.
    Restore {
        /// Request number.
        request: u64,
    },
    /// Request to the host to attack the guest in this way from now on.
    Attack {
        /// Request number.
        request: u64,
        /// The attack.
        attack: Attack,
    },
    /// Start of an experiment.
    Samples {
        /// Number of its samples.
        total: usize,
    },
    /// Start of a sample; the service is on or off as its mode wants.
    SampleBegins {
        /// Way in which faults wait.
        mode: Mode,
        /// Point at which it is measured.
        point: Point,
    },
    /// Request to end the host's counts for the sample: it is measured and the service is off.
    SampleMeasured {
        /// Request number.
        request: u64,
    },
    /// Result of a sample.
    Sample {
        /// The sample without its faults.
        sample: Box<Sample>,
        /// The faults, in rows since there are thousands.
        #[serde(default)]
        faults: Vec<Row>,
    },
    /// Start of a check.
    CheckBegins {
        /// Name of the check.
        name: String,
    },
    /// Result of a check.
    Check(Check),
    /// Counts of all checks; the service is off.
    Counted {
        /// Counts of the service.
        counters: Counters,
        /// Ready events among them that the program raised itself, in place of the host.
        played: u64,
    },
    /// End of all samples: all memory is back, and every page has been compared.
    Compared {
        /// Number of pages of the memory filled with fingerprints.
        pages: u64,
        /// Number of them with wrong content.
        wrong: u64,
        /// Counts of the service since the program started.
        counters: Counters,
    },
    /// End of the program, with all its work done.
    Done,
}

/// Result of a check.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Check {
    /// Name of the check.
    pub name: String,
    /// True if everything was as it must be.
    pub passed: bool,
    /// Figures, or the failure.
    pub detail: String,
    /// Counts of the service from its start to its end; high-water marks since the program
    /// started.
    pub counts: Counters,
}

impl Message {
    /// Makes the message of a sample. The reader has to put its faults back.
    pub fn sample(mut sample: Sample) -> Self {
        let faults = std::mem::take(&mut sample.faults).into_iter().map(Row::from).collect();
        Self::Sample { sample: Box::new(sample), faults }
    }

    /// Reads the message of a console line; `None` if the line is none.
    ///
    /// # Errors
    /// The line has the prefix but is no message.
    pub fn parse(line: &str) -> Option<Result<Self, serde_json::Error>> {
        line.strip_prefix(PREFIX).map(serde_json::from_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::histogram::Histogram;

    #[test]
    fn messages_differ_from_other_lines() {
        let line = format!(
            "{PREFIX}{}",
            serde_json::to_string(&Message::Evict {
                request: 3,
                only: None,
                local: None,
                page_latency_us: None,
                seed: 0
            })
            .unwrap()
        );
        assert!(matches!(Message::parse(&line), Some(Ok(Message::Evict { request: 3, .. }))));
        assert!(Message::parse("[INFO] Welcome to Hermit").is_none());
        assert!(Message::parse("@apf {\"event\":\"ev").unwrap().is_err());
    }

    #[test]
    fn a_sample_survives_its_message_and_its_faults_travel_as_rows() {
        let row = (1, 2, 3, true, [4, 5, 6, 7, 8]);
        let sent = Sample {
            repetition: 1,
            metrics: Point::from([("ms_per_page".into(), 0.25)]),
            counts: Counters { not_present: 3, ..Counters::default() }.to_counts(),
            histograms: vec![Histogram { name: "x".into(), per_us: 2.0, buckets: vec![(8064, 1)] }],
            faults: vec![row.into()],
            ..Sample::new(Mode::Halt, Point::from([("tasks".into(), 4.0)]))
        };
        let text = serde_json::to_string(&Message::sample(sent.clone())).unwrap();
        assert!(text.ends_with("\"faults\":[[1,2,3,true,[4,5,6,7,8]]]}"), "{text}");
        let Ok(Message::Sample { mut sample, faults }) = serde_json::from_str(&text) else {
            panic!("{text}")
        };
        sample.faults = faults.into_iter().map(Fault::from).collect();
        assert_eq!(*sample, sent);
        assert_eq!(sample.counters().not_present, 3);
    }
}
