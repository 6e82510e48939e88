//! Single faults as spans, in the trace event format that Perfetto and Chrome read.
//!
//! Each sample with faults is a process, each waiter at a time a thread of it: the document does
//! not know tasks, so the first free row is taken. A second row of counters shows how many faults
//! were outstanding.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Report;
use crate::document::{Fault, Sample};
use crate::lives::{Life, outstanding};

/// The trace; `None` if no single fault was recorded.
pub fn trace(report: &Report) -> Option<String> {
    let mhz = f64::from(report.setting.tsc_mhz);
    let with_faults = report.samples.iter().filter(|sample| !sample.faults.is_empty());
    let events: Vec<Value> = with_faults
        .enumerate()
        .flat_map(|(i, sample)| process(i + 1, &report.title(sample), sample, mhz))
        .collect();
    if events.is_empty() {
        return None;
    }
    let trace = json!({
        "displayTimeUnit": "ms",
        "otherData": {
            "experiment": report.experiment.name,
            "began": report.setting.began,
            "command": report.setting.command,
        },
        "traceEvents": events,
    });
    Some(trace.to_string() + "\n")
}

fn process(id: usize, title: &str, sample: &Sample, mhz: f64) -> Vec<Value> {
    let mut faults: Vec<&Fault> = sample.faults.iter().collect();
    faults.sort_by_key(|fault| (fault.fault, fault.running));
    let mut events = vec![named("process_name", id, 0, title)];
    let mut rows = Rows::default();
    for fault in faults {
        let row = rows.take(fault);
        events.extend(spans(id, row, fault, mhz));
    }
    events.extend(rows.names().map(|(row, name)| named("thread_name", id, row, &name)));
    events.extend(outstanding(&sample.faults).into_iter().map(|(time, count)| {
        let ts = micros(nanos(time, mhz));
        json!({"ph": "C", "pid": id, "tid": 0, "ts": ts, "name": "outstanding", "args": {"faults": count}})
    }));
    events
}

fn named(what: &str, pid: usize, tid: usize, name: &str) -> Value {
    json!({"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": what, "args": {"name": name}})
}

/// The fault as a whole, and its stages within. Each start and each end is an event: an end that a
/// reader computes from a duration may miss the next start by a rounding.
fn spans(pid: usize, tid: usize, fault: &Fault, mhz: f64) -> Vec<Value> {
    let life = Life::of(fault);
    let wait = if fault.halt { "halt" } else { "schedule" };
    let event = |phase: &str, name: &str, time: u64| {
        let ts = micros(nanos(time, mhz));
        json!({"ph": phase, "pid": pid, "tid": tid, "cat": wait, "name": name, "ts": ts})
    };
    let (mut begin, mut end) = (event("B", "fault", life.fault), event("E", "fault", life.running));
    // At both ends: some readers match them by it.
    let about = json!({
        "token": format!("{:#x}", fault.token),
        "rip": format!("{:#x}", fault.rip),
        "core": fault.core,
        "wait": wait,
    });
    (begin["args"], end["args"]) = (about.clone(), about);
    let stages = life.stages().into_iter().filter(|(_, from, to)| to > from);
    let within = stages.flat_map(|(name, from, to)| [event("B", name, from), event("E", name, to)]);
    [begin].into_iter().chain(within).chain([end]).collect()
}

fn nanos(cycles: u64, mhz: f64) -> u64 {
    (cycles as f64 * 1000.0 / mhz).round() as u64
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// Rows of each core, and the time from which each is free.
#[derive(Default)]
struct Rows {
    cores: BTreeMap<u16, Vec<(usize, u64)>>,
    taken: usize,
}

impl Rows {
    fn take(&mut self, fault: &Fault) -> usize {
        let rows = self.cores.entry(fault.core).or_default();
        if let Some(free) = rows.iter_mut().find(|(_, until)| *until <= fault.fault) {
            free.1 = fault.running;
            return free.0;
        }
        self.taken += 1;
        rows.push((self.taken, fault.running));
        self.taken
    }

    fn names(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.cores.iter().flat_map(|(core, rows)| {
            rows.iter().enumerate().map(move |(i, &(row, _))| (row, format!("core {core}, waiter {}", i + 1)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::example;

    fn events(report: &Report) -> Vec<Value> {
        let trace: Value = serde_json::from_str(&trace(report).expect("faults")).unwrap();
        trace["traceEvents"].as_array().unwrap().clone()
    }

    /// The rules of the trace event format that a reader relies on.
    #[test]
    fn spans_follow_the_trace_event_format_and_nest() {
        let report = example::report(example::overlap(1));
        let mut threads: BTreeMap<_, (f64, Vec<String>)> = BTreeMap::new();
        let mut whole = 0;
        for event in events(&report) {
            let name = event["name"].as_str().expect("a name").to_owned();
            let thread = (event["pid"].as_u64().expect("a pid"), event["tid"].as_u64().expect("a tid"));
            let ts = event["ts"].as_f64().expect("a time");
            let (before, open) = threads.entry(thread).or_default();
            match event["ph"].as_str().expect("a phase") {
                "B" => {
                    assert!(ts >= *before, "{event} begins before {before}");
                    assert_eq!(open.len(), usize::from(name != "fault"), "{event} within {open:?}");
                    whole += usize::from(name == "fault");
                    assert_eq!(event["args"]["rip"].is_string(), name == "fault", "{event}");
                    open.push(name);
                }
                "E" => {
                    assert!(ts >= *before, "{event} ends before {before}");
                    assert_eq!(event["args"]["rip"].is_string(), name == "fault", "{event}");
                    assert_eq!(open.pop(), Some(name), "{event}");
                }
                "M" => assert!(event["args"]["name"].is_string(), "{event}"),
                "C" => assert!(event["args"]["faults"].is_u64() && ts >= *before, "{event}"),
                other => panic!("phase {other}"),
            }
            // What names a thread or a process has no time.
            *before = if event["ph"] == "M" { *before } else { ts };
        }
        assert!(threads.values().all(|(_, open)| open.is_empty()), "a span has no end");
        let recorded: usize = report.samples.iter().map(|sample| sample.faults.len()).sum();
        assert_eq!(whole, recorded);
    }

    #[test]
    fn every_row_has_a_name_and_no_more_rows_than_waiters_are_needed() {
        let report = example::report(example::small().document());
        let events = events(&report);
        let rows = events.iter().filter(|event| event["name"] == "thread_name").count();
        assert!((2..=32).contains(&rows), "{rows}");
        let title = events.iter().find(|event| event["name"] == "process_name").unwrap();
        let expected = "async, tasks that read: 32, page latency in ms: 10, repetition 0";
        assert_eq!(title["args"]["name"], expected);
    }

    #[test]
    fn without_single_faults_there_is_no_trace() {
        let report = example::report(example::Made { details: false, ..example::small() }.document());
        assert_eq!(trace(&report), None);
    }
}
