//! Figures that a guest serves, summed up for people and scripts.

use std::collections::BTreeMap;

use prometheus_parse::{HistogramCount, Sample, Scrape, Value};
use serde::Serialize;

/// A guest's figures since its program started, over all its cores.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// State of the service: `running`, `off`, `lost`, …
    pub state: String,
    pub armed_cores: u64,
    /// Faults that the host told it of.
    pub not_present: u64,
    /// Ready events, wake-alls not counted.
    pub ready: u64,
    pub schedule_waits: u64,
    pub halt_waits: u64,
    /// Waits by halt, by reason.
    pub halts: BTreeMap<&'static str, u64>,
    /// Faults that wait now.
    pub waiting: u64,
    /// Most outstanding at once, of any core.
    pub most_outstanding: u64,
    /// Times that the limit of outstanding faults was reached.
    pub budget_spent: u64,
    /// Waits past the watchdog's limit.
    pub overdue: u64,
    pub restored: u64,
    /// Stall times of the core that has most of each; any mean is below them.
    pub some: Stall,
    pub full: Stall,
    /// Times of waits by schedule, from the fault until the task runs.
    pub schedule: Waits,
    /// Times of waits by halt.
    pub halt: Waits,
}

/// Stall time of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Stall {
    pub total_seconds: f64,
    /// Shares of the time, from 0 to 1.
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
}

/// Times of waits of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Waits {
    pub count: u64,
    /// Upper bound of the bucket that the percentile is in, in seconds; none without waits, or above the
    /// last bound.
    pub p50_at_most: Option<f64>,
    pub p99_at_most: Option<f64>,
    pub p999_at_most: Option<f64>,
    /// Waits in each bucket that has some.
    pub buckets: Vec<Bucket>,
}

/// Waits up to a time, and longer than the bucket before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// In seconds; none for the last bucket, which has no bound.
    pub at_most: Option<f64>,
    pub count: u64,
}

impl Figures {
    /// Parses OpenMetrics text; `None` if it has no figures of the service, or is not complete.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.ends_with("# EOF\n") {
            return None;
        }
        let samples = Samples(Scrape::parse(text.lines().map(|line| Ok(line.into()))).ok()?.samples);
        let state = samples.named("apf_state_info").next()?.labels.get("state")?;
        let state = state.chars().filter(|c| !c.is_control()).collect();
        let halts = [
            ("kernel", "apf_halt_kernel_text_total"),
            ("idle", "apf_halt_idle_total"),
            ("guard", "apf_halt_guard_total"),
            ("foreign stack", "apf_halt_foreign_stack_total"),
            ("cheaper", "apf_halt_cheaper_total"),
            ("no slot", "apf_overflow_halts_total"),
        ];
        Some(Self {
            state,
            armed_cores: samples.sum("apf_armed_cores"),
            not_present: samples.sum("apf_not_present_total"),
            ready: samples.sum("apf_ready_total"),
            schedule_waits: samples.sum("apf_schedule_waits_total"),
            halt_waits: samples.sum("apf_halt_waits_total"),
            halts: halts.map(|(reason, name)| (reason, samples.sum(name))).into(),
            waiting: samples.sum("apf_waiting"),
            most_outstanding: samples.most("apf_most_outstanding", &[]) as u64,
            budget_spent: samples.sum("apf_budget_spent_total"),
            overdue: samples.sum("apf_overdue_halts_total") + samples.sum("apf_service_overdue_total"),
            restored: samples.most("apf_restored_total", &[]) as u64,
            some: samples.stall("some"),
            full: samples.stall("full"),
            schedule: samples.waits("schedule"),
            halt: samples.waits("halt"),
        })
    }

    /// Times of both kinds of waits, by name.
    pub fn waits(&self) -> [(&'static str, &Waits); 2] {
        [("schedule", &self.schedule), ("halt", &self.halt)]
    }

    /// Reasons for which its cores halted.
    pub fn reasons(&self) -> String {
        let reasons = self.halts.iter().filter(|(_, count)| **count > 0);
        reasons.map(|(reason, count)| format!("{reason} {count}")).collect::<Vec<_>>().join(", ")
    }
}

/// A time for people.
pub fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".into(),
        Some(seconds) if seconds < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.0} s"),
    }
}

struct Samples(Vec<Sample>);

impl Samples {
    fn named(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.metric == name)
    }

    /// Values of the samples with these labels.
    fn values(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let with = |sample: &&Sample| labels.iter().all(|(key, value)| sample.labels.get(key) == Some(value));
        self.named(name).filter(with).filter_map(|sample| match sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => Some(value),
            Value::Histogram(_) | Value::Summary(_) => None,
        })
    }

    fn sum(&self, name: &str) -> u64 {
        self.values(name, &[]).sum::<f64>() as u64
    }

    fn most(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.values(name, labels).fold(0.0, f64::max)
    }

    fn stall(&self, kind: &str) -> Stall {
        let average = |window| self.most("apf_stall_ratio", &[("kind", kind), ("window", window)]);
        Stall {
            total_seconds: self.most("apf_stall_seconds_total", &[("kind", kind)]),
            avg10: average("10"),
            avg60: average("60"),
            avg300: average("300"),
        }
    }

    fn waits(&self, wait: &str) -> Waits {
        let mut buckets: Vec<(f64, u64)> = Vec::new();
        for sample in self.named("apf_wait_seconds") {
            let Value::Histogram(counts) = &sample.value else { continue };
            if sample.labels.get("wait") != Some(wait) || sample.labels.get("stage") != Some("total") {
                continue;
            }
            for &HistogramCount { less_than, count } in counts {
                match buckets.iter_mut().find(|(bound, _)| *bound == less_than) {
                    Some((_, sum)) => *sum += count as u64,
                    None => buckets.push((less_than, count as u64)),
                }
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = buckets.last().map_or(0, |(_, count)| *count);
        let percentile = |share: f64| {
            let rank = (share * count as f64).ceil() as u64;
            let bucket = buckets.iter().find(|(_, up_to)| count > 0 && *up_to >= rank);
            bucket.map(|(bound, _)| *bound).filter(|bound| bound.is_finite())
        };
        let before = [0].into_iter().chain(buckets.iter().map(|(_, up_to)| *up_to));
        let each = buckets.iter().zip(before).map(|(&(bound, up_to), before)| Bucket {
            at_most: bound.is_finite().then_some(bound),
            count: up_to.saturating_sub(before),
        });
        Waits {
            count,
            p50_at_most: percentile(0.5),
            p99_at_most: percentile(0.99),
            p999_at_most: percentile(0.999),
            buckets: each.filter(|bucket| bucket.count > 0).collect(),
        }
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Figures of two cores in the form of `apf_service::metrics()`.
    pub const TEXT: &str = r#"# HELP apf_state State of the service.
# TYPE apf_state info
apf_state_info{state="running",reason=""} 1
# TYPE apf_armed_cores gauge
apf_armed_cores 2
# TYPE apf_not_present counter
apf_not_present_total{core="0"} 30
apf_not_present_total{core="1"} 4
# TYPE apf_ready counter
apf_ready_total{core="0"} 29
apf_ready_total{core="1"} 3
# TYPE apf_schedule_waits counter
apf_schedule_waits_total{core="0"} 28
apf_schedule_waits_total{core="1"} 4
# TYPE apf_halt_waits counter
apf_halt_waits_total{core="0"} 2
apf_halt_waits_total{core="1"} 0
# TYPE apf_halt_guard counter
apf_halt_guard_total{core="0"} 2
# TYPE apf_most_outstanding gauge
apf_most_outstanding{core="0"} 9
apf_most_outstanding{core="1"} 11
# TYPE apf_stall_ratio gauge
apf_stall_ratio{core="0",kind="some",window="10"} 0.125
apf_stall_ratio{core="1",kind="some",window="10"} 0.5
# TYPE apf_stall_seconds counter
apf_stall_seconds_total{core="0",kind="some"} 1.5
# TYPE apf_wait_seconds histogram
apf_wait_seconds_sum{core="0",wait="schedule",stage="total"} 0.1
apf_wait_seconds_count{core="0",wait="schedule",stage="total"} 10
apf_wait_seconds_bucket{le="0.001",core="0",wait="schedule",stage="total"} 0
apf_wait_seconds_bucket{le="0.005",core="0",wait="schedule",stage="total"} 9
apf_wait_seconds_bucket{le="10.0",core="0",wait="schedule",stage="total"} 9
apf_wait_seconds_bucket{le="+Inf",core="0",wait="schedule",stage="total"} 10
apf_wait_seconds_bucket{le="0.001",core="1",wait="schedule",stage="total"} 0
apf_wait_seconds_bucket{le="0.005",core="1",wait="schedule",stage="total"} 5
apf_wait_seconds_bucket{le="10.0",core="1",wait="schedule",stage="total"} 5
apf_wait_seconds_bucket{le="+Inf",core="1",wait="schedule",stage="total"} 5
apf_wait_seconds_bucket{le="+Inf",core="1",wait="schedule",stage="host"} 77
# EOF
"#;

    #[test]
    fn a_guests_figures_are_those_of_all_its_cores() {
        let figures = Figures::parse(TEXT).unwrap();
        assert_eq!((&*figures.state, figures.armed_cores), ("running", 2));
        assert_eq!((figures.not_present, figures.ready), (34, 32));
        assert_eq!((figures.schedule_waits, figures.halt_waits, figures.most_outstanding), (32, 2, 11));
        assert_eq!((figures.halts["guard"], &*figures.reasons()), (2, "guard 2"));
        assert_eq!((figures.some.total_seconds, figures.some.avg10, figures.full.avg10), (1.5, 0.5, 0.0));
        let waits = &figures.schedule;
        assert_eq!((waits.count, waits.p50_at_most, waits.p99_at_most), (15, Some(0.005), None));
        let buckets: Vec<_> = waits.buckets.iter().map(|bucket| (bucket.at_most, bucket.count)).collect();
        assert_eq!(buckets, [(Some(0.005), 14), (None, 1)]);
        assert_eq!((figures.halt.count, figures.halt.p50_at_most), (0, None));
    }

    #[test]
    fn text_that_is_cut_off_or_of_another_program_is_refused() {
        assert_eq!(Figures::parse(&TEXT[..TEXT.len() - 6]), None);
        assert_eq!(Figures::parse("# TYPE up gauge\nup 1\n# EOF\n"), None);
        assert_eq!(Figures::parse("<html></html>"), None);
    }

    #[test]
    fn times_have_units_that_people_read() {
        let text = [Some(5e-6), Some(0.02), Some(5.0), None].map(time);
        assert_eq!(text, ["5 µs", "20 ms", "5 s", "-"]);
    }
}
