//! A server whose memory is out, under clients that nobody here wrote.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{Xtask, number};

/// Sixty-four values of 16 KiB are stored, read back after an eviction, and read by sixteen connections
/// after another one. Then the server answers once after a restore in another VMM, and once after the next restore,
/// with the pages of the first answer brought in ahead.
const CLIENT: &str = r#"
    set -e
    cd "$(mktemp -d)"
    ask() { redis-cli -h 10.0.5.3 "$@"; }
    for second in $(seq 60); do ask ping 2>&1 | grep -q PONG && break; sleep 1; done
    values() {
        awk -v form="$1" 'BEGIN {
            for (key = 1; key <= 64; key++) {
                value = sprintf("%08d", key)
                while (length(value) < 16384) value = value value
                printf form, key, value
            }
        }'
    }
    values 'SET value:%d %s\n' | ask | sort | uniq -c
    values '%.0s%s\n' > right
    echo @evict; read -r evicted
    echo @counts; read -r counts; echo "before $counts"
    ask --raw mget $(seq -f value:%g 64) > got
    cmp right got && echo the values are right
    redis-benchmark -h 10.0.5.3 -c 16 -n 128 -r 128 -d 16384 -t set --csv | tail -1
    echo @evict; read -r evicted
    redis-benchmark -h 10.0.5.3 -c 16 -n 256 -r 128 -d 16384 -t get --csv | tail -1
    echo @counts; read -r counts; echo "after $counts"
    restore() {
        echo @restore; read -r pages
        echo @counts; read -r counts; echo "restored $1 $counts"
        ask ping
        echo @counts; read -r counts; echo "answered $1 $counts"
    }
    restore cold
    echo @learn; read -r pages
    restore known
    ask --raw mget $(seq -f value:%g 64) > got
    cmp right got && echo the restored values are right
    echo @evict; read -r pages
    curl --silent --show-error --fail http://10.0.5.3:9100/metrics
    ask shutdown nosave || true
"#;

/// In another run of the same server, the pages of an earlier one are brought in ahead after an eviction.
const AGAIN: &str = r#"
    ask() { redis-cli -h 10.0.5.3 "$@"; }
    for second in $(seq 60); do ask ping 2>&1 | grep -q PONG && break; sleep 1; done
    ask set key value
    echo @evict; read -r pages
    ask get key
    echo @counts; read -r counts; echo "again $counts"
    ask shutdown nosave || true
"#;

/// Returns the counts that the client was told after the word `when`.
fn counts(text: &str, when: &str) -> Value {
    let line = text.lines().find_map(|line| line.strip_prefix(when)?.strip_prefix(' '));
    serde_json::from_str(line.expect("a line with counts")).expect("JSON")
}

/// Has a parser that nobody here wrote read the figures.
fn parsed(text: &str) {
    const PARSER: &str = "import sys; from prometheus_client.openmetrics.parser import *
families = list(text_string_to_metric_families(sys.stdin.read()))
assert any(family.name == 'apf_wait_seconds' for family in families), families";
    let first = text.find("# HELP apf_").expect("figures");
    let last = text.find("# EOF\n").expect("their end");
    // The kernel prints in the midst of what its program prints.
    let figures = text[first..last].lines().filter(|line| line.starts_with("# ") || line.starts_with("apf_"));
    let figures = figures.chain(["# EOF", ""]).collect::<Vec<_>>().join("\n");
    let mut parser =
        Command::new("/usr/bin/python3").args(["-c", PARSER]).stdin(Stdio::piped()).spawn().unwrap();
    parser.stdin.take().unwrap().write_all(figures.as_bytes()).unwrap();
    assert!(parser.wait().unwrap().success(), "{figures}");
}

/// Returns the service's figure `name` of core 0.
fn figure(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("{core=\"0\"} "));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).trim().parse().expect("a number")
}

/// Would fail if a value were wrong after it was out, if the calls of a server stopped its core at most
/// pages, if its connections did not wait at the same time, if it did not survive a restore, or if pages known from
/// an earlier one, or from an earlier run, came by faults again.
#[test]
fn a_server_answers_foreign_clients_while_its_memory_is_out() {
    let Some(xtask) = Xtask::find("serve") else { return };
    assert_eq!(xtask.call(&["setup", "--clients"]).code(), 0);
    let built = xtask.call(&["build", "--server"]);
    assert_eq!(built.code(), 0, "{}", built.text);
    let server = built.text.lines().find_map(|line| line.strip_prefix("server ")).expect("a path").trim();
    let record = xtask.folder().join("working-set.json");
    let run = |client: &str, args: &[&str]| {
        let options = "--host lab --net=tap --memory 128MiB --page-latency 5ms --client-at".split(' ');
        let first = ["--app", server, "--working-set", record.to_str().expect("UTF-8")].into_iter();
        let last = ["ready to accept connections", "--client", client, "--"].into_iter();
        xtask.run(&first.chain(options).chain(last).chain(args.iter().copied()).collect::<Vec<_>>())
    };
    let ended = run(CLIENT, &["--metrics", "9100"]);
    let text = &ended.text;
    assert_eq!(ended.code(), 0, "{text}");
    assert!(text.contains("64 OK") && text.contains("the values are right"), "{text}");
    assert!(text.contains("\"SET\",") && text.contains("\"GET\","), "redis-benchmark ran: {text}");
    let (before, after) = (counts(text, "before"), counts(text, "after"));
    let grown = |name: &str| number(&after, name) - number(&before, name);
    // Pages of the device's own thread are in neither. What stops the core is the kernel's own memory.
    let (told, stopped) = (grown("host.not_present"), grown("pager.vcpu_page_ins"));
    assert!(told >= 64.0 * 4.0 && told > stopped, "told of {told}, stopped for {stopped}: {text}");
    assert!(number(&after, "pager.in_flight_max") >= 4.0, "{after}");
    // A task that is alone on its core halts by choice: the slower the machine, the more often.
    let [schedule, halt, chosen] = ["schedule_waits", "halt_waits", "halt_cheaper"]
        .map(|name| figure(text, &format!("apf_{name}_total")));
    assert!(
        schedule > halt - chosen,
        "{schedule} waits by schedule, {halt} by halt, {chosen} by choice: {text}"
    );
    let by_faults = |when: &str| {
        let [before, after] =
            ["restored", "answered"].map(|moment| counts(text, &format!("{moment} {when}")));
        number(&after, "pager.served_pages") - number(&before, "pager.served_pages")
    };
    let [cold, known] = ["cold", "known"].map(by_faults);
    assert!(cold >= 100.0 && 4.0 * known < cold, "{cold} pages by faults, then {known}: {text}");
    assert!(text.contains("the restored values are right"), "{text}");
    assert_eq!(figure(text, "apf_restored_total"), 2.0);
    parsed(text);
    let report = xtask.report().expect("a report");
    assert_eq!((number(&report, "exit_code"), number(&report, "client_exit_code")), (0.0, 0.0));

    // Pages that nobody needs, and addresses that are none, cost time and nothing else.
    let mut set: Value = serde_json::from_slice(&fs::read(&record).expect("it was learnt")).expect("JSON");
    let pages = set["pages"].as_array_mut().expect("a list");
    let known = pages.len() as f64;
    pages.extend(
        [0, 0x1001, u64::MAX].into_iter().chain((1024..1536).map(|page| page << 12)).map(Value::from),
    );
    fs::write(&record, set.to_string()).unwrap();
    let ended = run(AGAIN, &[]);
    assert!(ended.code() == 0 && ended.text.lines().any(|line| line == "value"), "{}", ended.text);
    let again = counts(&ended.text, "again");
    let [ahead, by_faults] = ["pager.ahead_pages", "pager.served_pages"].map(|name| number(&again, name));
    assert!(
        2.0 * ahead >= known && by_faults < cold,
        "{ahead} of {known} ahead, {by_faults} and {cold} by faults"
    );
}
