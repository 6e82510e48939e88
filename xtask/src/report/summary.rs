//! The report for a person with ten seconds.

use apf_report::number;

use super::{Latency, PassFigures, Report};

/// Puts it into words.
pub fn text(report: &Report) -> String {
    let (on, off) = (&report.asynchronous, &report.blocked);
    let c = &on.counters;
    let host = |count: Option<u64>| count.map_or("not accessible".into(), grouped);
    let wrong = |pass: &PassFigures| pass.wrong_pages + pass.wrong_verified_pages;
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let mut lines = vec![
        format!(
            "{}: {} tasks read {} pages at {} a page while one computes",
            report.setting,
            report.tasks,
            grouped(report.pages),
            report.setting.page_latency
        ),
        String::new(),
        row(["", "async", "blocked", ""]),
        row([
            "time",
            &format!("{:.2} s", on.pass.seconds),
            &format!("{:.2} s", off.pass.seconds),
            &format!("{:.1} times faster", report.speedup),
        ]),
        row(["computing kept", &percent(on.pass.compute_kept), &percent(off.pass.compute_kept), ""]),
        row([
            "wrong pages",
            &wrong(&on.pass).to_string(),
            &wrong(&off.pass).to_string(),
            &format!("of {} compared byte for byte", grouped(report.region_pages as u64)),
        ]),
        String::new(),
        format!(
            "  not present   {} in the guest ({} schedule + {} halt waits), {} in the host's trace",
            grouped(c.not_present),
            grouped(c.schedule_waits),
            grouped(c.halt_waits),
            host(report.host_trace.not_present)
        ),
        format!(
            "  outstanding   at most {} at once; {} faults beyond the host's limit stopped a core",
            grouped(c.most_outstanding),
            host(report.host_trace.synchronous)
        ),
        format!(
            "  ready         {} in the guest, {} in the host's trace",
            grouped(c.ready),
            host(report.host_trace.ready)
        ),
        String::new(),
        format!(
            "  {:<28}{:>9}{:>11}{:>11}{:>11}{:>11}",
            "latency in µs", "count", "p50", "p99", "p99.9", "max"
        ),
    ];
    lines.extend(report.latency.iter().map(latency));
    lines.join("\n")
}

fn row([name, on, off, note]: [&str; 4]) -> String {
    format!("  {name:<16}{on:>12}{off:>12}   {note}").trim_end().to_owned()
}

fn latency(l: &Latency) -> String {
    let name = format!("{} {}", l.wait, l.stage);
    format!(
        "  {name:<28}{:>9}{:>11.1}{:>11.1}{:>11.1}{:>11.1}",
        grouped(l.count),
        l.p50_us,
        l.p99_us,
        l.p999_us,
        l.max_us
    )
}

/// 12345 as 12,345.
fn grouped(count: u64) -> String {
    number::grouped(count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            ["0", "999", "1,000", "1,234,567"],
            [0, 999, 1000, 1_234_567].map(grouped).each_ref().map(String::as_str)
        );
    }
}
