//! All figures as [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text.
#![forbid(unsafe_code)]

use core::fmt;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

use apf_core::event::CoreId;
use apf_core::histogram::{Histogram, bucket, lower_bound};
use apf_core::report::ServiceStats;
use apf_core::stats::{CoreStats, Counter, StageHistograms};
use apf_core::{for_each_counter, for_each_service_counter};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::ask;
use crate::stall::{Pressure, Stall, stall};
use crate::status::{Off, Status, status};

/// The service's figures for a program's own registry:
/// [`register_collector`](Registry::register_collector) takes it. They are read at each scrape.
///
/// | metric | labels | is |
/// |---|---|---|
/// | `apf_state_info` | `state`, `reason` | [`status`] |
/// | `apf_armed_cores` | | cores on which the service is armed |
/// | `apf_NAME_total`, for high-water marks `apf_NAME` | `core` | each counter of [`CoreStats`] |
/// | `apf_service_NAME_total` | | each counter of [`ServiceStats`] |
/// | `apf_waiting` | `core` | faults that wait now |
/// | `apf_wait_seconds` | `core`, `wait`, `stage` | histograms of [`StageHistograms`] |
/// | `apf_stall_seconds_total` | `core`, `kind` | total of [`Stall::some`] and [`Stall::full`] |
/// | `apf_stall_ratio` | `core`, `kind`, `window` | their averages, from 0 to 1; the window is in seconds |
///
/// A histogram's sum is that of its buckets' middles: at most 1/64 off.
#[derive(Debug)]
pub struct Metrics;

/// Returns the service's figures ([`Metrics`]) as OpenMetrics text, whose media type is
/// `application/openmetrics-text; version=1.0.0; charset=utf-8`.
///
/// ```
/// let text = apf_service::metrics();
/// assert!(text.contains("apf_state_info{state=\"off\""));
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[must_use]
pub fn metrics() -> String {
    text(Metrics)
}

fn text(collector: impl Collector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes any text");
    text
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        encode_state(&mut encoder, status())?;
        encode_service(&mut encoder, ask::service_stats())?;
        let cores: Vec<_> = ask::stats().collect();
        encode_waiting(&mut encoder, &cores)?;
        encode_counters(&mut encoder, &cores)?;
        encode_stall(&mut encoder, &stall().collect::<Vec<_>>())?;
        encode_waits(&mut encoder, &cores, f64::from(ask::tsc_mhz()) * 1e6)
    }
}

fn encode_state(encoder: &mut DescriptorEncoder, status: Status) -> fmt::Result {
    let (state, reason) = match status {
        Status::Off(Off::NotStarted) => ("off", "not started".into()),
        Status::Off(Off::Stopped) => ("off", "stopped".into()),
        Status::Off(Off::Failed(error)) => ("off", error.to_string()),
        Status::Changing => ("changing", String::new()),
        Status::Running { .. } => ("running", String::new()),
        Status::Quiesced => ("quiesced", String::new()),
        Status::Lost(reason) => ("lost", reason.to_string()),
    };
    let help = "State of the service, and the reason if it is off";
    let mut metric = encoder.encode_descriptor("apf_state", help, None, MetricType::Info)?;
    metric.encode_info(&[("state", state), ("reason", &reason)])?;
    let cores = if let Status::Running { cores } = status { cores } else { 0 };
    let help = "Cores on which the service is armed";
    let metric = encoder.encode_descriptor("apf_armed_cores", help, None, MetricType::Gauge)?;
    ConstGauge::new(u32::from(cores)).encode(metric)
}

/// Makes a help text of documentation: its lines, without the Markdown and the full stop.
fn help(doc: &str) -> String {
    doc.replace(['`', '[', ']'], "").trim().trim_end_matches('.').into()
}

macro_rules! encode_service {
    ($($(#[doc = $doc:literal])* $name:ident;)*) => {
        fn encode_service(encoder: &mut DescriptorEncoder, stats: &ServiceStats) -> fmt::Result {
            $({
                let name = concat!("apf_service_", stringify!($name));
                let help = help(concat!($($doc),*));
                let metric = encoder.encode_descriptor(name, &help, None, MetricType::Counter)?;
                ConstCounter::new(stats.$name.get()).encode(metric)?;
            })*
            Ok(())
        }
    };
}
for_each_service_counter!(encode_service);

type Core<'a> = (CoreId, &'a CoreStats);

macro_rules! encode_counters {
    ($($(#[doc = $doc:literal])* $kind:ident $name:ident;)*) => {
        fn encode_counters(encoder: &mut DescriptorEncoder, cores: &[Core]) -> fmt::Result {
            $($kind(
                encoder,
                concat!("apf_", stringify!($name)),
                &help(concat!($($doc),*)),
                cores.iter().map(|&(core, stats)| (core, &stats.$name)),
            )?;)*
            Ok(())
        }
    };
}
for_each_counter!(encode_counters);

/// Encodes a counter of each core.
fn sum<'a>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    cores: impl Iterator<Item = (CoreId, &'a Counter)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (core, counter) in cores {
        let labels = [("core", core.0)];
        ConstCounter::new(counter.get()).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Encodes a high-water mark of each core.
fn most<'a>(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    cores: impl Iterator<Item = (CoreId, &'a Counter)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (core, counter) in cores {
        let labels = [("core", core.0)];
        let value = i64::try_from(counter.get()).unwrap_or(i64::MAX);
        ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn encode_waiting(encoder: &mut DescriptorEncoder, cores: &[Core]) -> fmt::Result {
    let help = "Faults that wait now";
    let mut metric = encoder.encode_descriptor("apf_waiting", help, None, MetricType::Gauge)?;
    for (core, stats) in cores {
        // A wait is counted when it begins, and recorded when it ends. Read in the other order, so
        // that none ends before it begins.
        let ended = count(&stats.schedule.total) + count(&stats.halt.total);
        let begun = stats.schedule_waits.get() + stats.halt_waits.get();
        let labels = [("core", core.0)];
        ConstGauge::new(begun.saturating_sub(ended)).encode(metric.encode_family(&labels)?)?;
    }
    Ok(())
}

fn count(histogram: &Histogram) -> u64 {
    histogram.nonempty().map(|(_, times)| u64::from(times)).sum()
}

/// Upper bounds of the histograms' buckets, in seconds.
const BOUNDS: [f64; 22] = [
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5,
    1.0, 2.0, 5.0, 10.0,
];

/// A histogram's sum in seconds, its count, and the counts between the bounds.
fn between_bounds(histogram: &Histogram, cycles_per_second: f64) -> (f64, u64, Vec<(f64, u64)>) {
    let mut buckets: Vec<_> = BOUNDS.iter().copied().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect();
    let (mut sum, mut count) = (0.0, 0);
    for (lowest, times) in histogram.nonempty() {
        let highest = lower_bound(bucket(lowest) + 1) - 1;
        let middle = (lowest + highest) as f64 / 2.0 / cycles_per_second;
        sum += middle * f64::from(times);
        count += u64::from(times);
        if let Some((_, bucket)) = buckets.iter_mut().find(|(bound, _)| middle <= *bound) {
            *bucket += u64::from(times);
        }
    }
    (sum, count, buckets)
}

fn encode_waits(encoder: &mut DescriptorEncoder, cores: &[Core], cycles_per_second: f64) -> fmt::Result {
    let help = "Time that a fault waited, by stage: fault to parked, host, ready to service, ready to running, \
                total";
    let mut metric =
        encoder.encode_descriptor("apf_wait", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (core, stats) in cores {
        for (wait, stages) in [("schedule", &stats.schedule), ("halt", &stats.halt)] {
            for (stage, histogram) in by_stage(stages) {
                let labels = [("core", &*format!("{}", core.0)), ("wait", wait), ("stage", stage)];
                let (sum, count, buckets) = between_bounds(histogram, cycles_per_second);
                metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
    }
    Ok(())
}

fn encode_stall(encoder: &mut DescriptorEncoder, cores: &[(CoreId, Stall)]) -> fmt::Result {
    let by_kind = |stall: &Stall| [("some", stall.some), ("full", stall.full)];
    let help =
        "Time in which a context waited for a page (some), and in which besides no task could run (full)";
    let mut metric =
        encoder.encode_descriptor("apf_stall", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for (core, stall) in cores {
        for (kind, Pressure { total, .. }) in by_kind(stall) {
            let labels = [("core", &*format!("{}", core.0)), ("kind", kind)];
            ConstCounter::new(total.as_secs_f64()).encode(metric.encode_family(&labels)?)?;
        }
    }
    let unit = Unit::Other("ratio".into());
    let help = "Recent share of that time, as an average that decays exponentially in the window";
    let mut metric = encoder.encode_descriptor("apf_stall", help, Some(&unit), MetricType::Gauge)?;
    for (core, stall) in cores {
        for (kind, Pressure { avg10, avg60, avg300, .. }) in by_kind(stall) {
            for (window, percent) in [("10", avg10), ("60", avg60), ("300", avg300)] {
                let labels = [("core", &*format!("{}", core.0)), ("kind", kind), ("window", window)];
                ConstGauge::new(percent / 100.0).encode(metric.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn by_stage(stages: &StageHistograms) -> [(&'static str, &Histogram); 5] {
    [
        ("fault_to_parked", &stages.fault_to_parked),
        ("host", &stages.host),
        ("ready_to_service", &stages.ready_to_service),
        ("ready_to_running", &stages.ready_to_running),
        ("total", &stages.total),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use std::println;

    /// Two cores whose figures are known.
    #[derive(Debug)]
    struct Two([CoreStats; 2]);

    impl Collector for Two {
        fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
            let cores = [(CoreId(0), &self.0[0]), (CoreId(1), &self.0[1])];
            encode_waiting(&mut encoder, &cores)?;
            encode_counters(&mut encoder, &cores)?;
            encode_waits(&mut encoder, &cores, 1e9)
        }
    }

    #[test]
    fn counters_and_histograms_of_each_core_are_in_the_text() {
        let two = Two(Default::default());
        two.0[1].not_present.add(7);
        two.0[1].most_outstanding.raise(5);
        two.0[0].schedule_waits.add(6);
        // 3 ns, 1 µs, 16.4 µs, and more than the last bound.
        for cycles in [3, 1000, 16_384, 20_000_000_000] {
            two.0[0].schedule.total.record(cycles);
        }
        let text = text(two);
        println!("{text}");
        for line in [
            "# HELP apf_not_present Page-not-present exceptions delivered by the host.",
            "# TYPE apf_not_present counter",
            "apf_not_present_total{core=\"0\"} 0",
            "apf_not_present_total{core=\"1\"} 7",
            "# TYPE apf_most_outstanding gauge",
            "apf_most_outstanding{core=\"1\"} 5",
            "apf_waiting{core=\"0\"} 2",
            "# UNIT apf_wait_seconds seconds",
            "apf_wait_seconds_count{core=\"0\",wait=\"schedule\",stage=\"total\"} 4",
            "apf_wait_seconds_bucket{le=\"0.000001\",core=\"0\",wait=\"schedule\",stage=\"total\"} 2",
            "apf_wait_seconds_bucket{le=\"0.00002\",core=\"0\",wait=\"schedule\",stage=\"total\"} 3",
            "apf_wait_seconds_bucket{le=\"10.0\",core=\"0\",wait=\"schedule\",stage=\"total\"} 3",
            "apf_wait_seconds_bucket{le=\"+Inf\",core=\"0\",wait=\"schedule\",stage=\"total\"} 4",
            "apf_wait_seconds_count{core=\"1\",wait=\"halt\",stage=\"host\"} 0",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "no {line:?}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    /// Stall times of one core.
    #[derive(Debug)]
    struct Stalled(Stall);

    impl Collector for Stalled {
        fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
            encode_stall(&mut encoder, &[(CoreId(1), self.0)])
        }
    }

    #[test]
    fn stall_times_are_in_the_text_in_seconds_and_shares() {
        let some = Pressure { total: Duration::from_millis(1500), avg10: 12.5, avg60: 50.0, avg300: 100.0 };
        let text = text(Stalled(Stall { some, full: Pressure::default() }));
        println!("{text}");
        for line in [
            "# TYPE apf_stall_seconds counter",
            "# UNIT apf_stall_seconds seconds",
            "apf_stall_seconds_total{core=\"1\",kind=\"some\"} 1.5",
            "apf_stall_seconds_total{core=\"1\",kind=\"full\"} 0.0",
            "# TYPE apf_stall_ratio gauge",
            "apf_stall_ratio{core=\"1\",kind=\"some\",window=\"10\"} 0.125",
            "apf_stall_ratio{core=\"1\",kind=\"some\",window=\"300\"} 1.0",
            "apf_stall_ratio{core=\"1\",kind=\"full\",window=\"60\"} 0.0",
        ] {
            assert!(text.lines().any(|found| found == line), "no {line:?}");
        }
    }

    #[test]
    fn the_sum_is_as_exact_as_the_buckets() {
        let histogram = Histogram::default();
        let values = [100_000_u64, 3_333_333, 777];
        values.iter().for_each(|&cycles| histogram.record(cycles));
        let (sum, count, _) = between_bounds(&histogram, 1.0);
        let exact = values.iter().sum::<u64>() as f64;
        assert_eq!(count, 3);
        assert!((sum - exact).abs() <= exact / 64.0, "{sum} for {exact}");
    }
}
