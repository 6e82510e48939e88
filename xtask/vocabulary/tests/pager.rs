//! The pager's protocol as its JSON. Broken by: a renamed field or request, or a response that does
//! not survive the way through JSON.

use apf_vocabulary::attack::Attack;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats, Status};
use serde_json::{from_str, to_string};

#[test]
fn requests_have_fixed_names_in_json() {
    let latency = Latency::Constant { micros: 200 };
    let parts = Parts { mailbox: 4096, ranges: vec![0..4096, 8192..12288] };
    for (request, json) in [
        (Request::Status {}, r#"{"request":"status"}"#),
        (Request::Stats {}, r#"{"request":"stats"}"#),
        (Request::Attack { attack: Attack::Lose }, r#"{"request":"attack","attack":"lose"}"#),
        (Request::Acknowledge { ack: 5 }, r#"{"request":"acknowledge","ack":5}"#),
        (Request::EndEvictions {}, r#"{"request":"end_evictions"}"#),
        (Request::Touched {}, r#"{"request":"touched"}"#),
        (Request::BringAhead { pages: vec![4096] }, r#"{"request":"bring_ahead","pages":[4096]}"#),
        (
            Request::Evict { ack: Some(7), only: None, eviction: Eviction::Lru { share: 0.5 }, seed: 3 },
            r#"{"request":"evict","ack":7,"only":null,"eviction":{"kind":"lru","share":0.5},"seed":3}"#,
        ),
        (
            Request::Evict { ack: None, only: Some(parts), eviction: Eviction::All, seed: 0 },
            r#"{"request":"evict","ack":null,"only":{"mailbox":4096,"ranges":[{"start":0,"end":4096},{"start":8192,"end":12288}]},"eviction":{"kind":"all"},"seed":0}"#,
        ),
        (Request::Restore { ack: None }, r#"{"request":"restore","ack":null}"#),
        (
            Request::SetLatency { latency, seed: 7 },
            r#"{"request":"set_latency","latency":{"model":"constant","micros":200},"seed":7}"#,
        ),
    ] {
        assert_eq!(to_string(&request).unwrap(), json);
        assert_eq!(from_str::<Request>(json).unwrap(), request);
    }
    assert_eq!(
        from_str::<Request>(r#"{"request":"evict"}"#).unwrap(),
        Request::Evict { ack: None, only: None, eviction: Eviction::All, seed: 0 }
    );
}

#[test]
fn requests_refuse_what_is_malformed() {
    for json in [
        "",
        "status",
        r#"{"request":"explode"}"#,
        r#"{"request":"status","ack":1}"#,
        r#"{"request":"evict","ack":-1}"#,
        r#"{"request":"evict","eviction":{"kind":"fraction"}}"#,
        r#"{"request":"set_latency","latency":{"model":"constant"}}"#,
    ] {
        assert!(from_str::<Request>(json).is_err(), "{json}");
    }
}

#[test]
fn responses_survive_json() {
    let status = Status {
        ram_bytes: 1 << 28,
        page_bytes: apf_vocabulary::PAGE_BYTES as u64,
        evicted_pages: 1,
        resident_pages: 65_535,
        in_flight: 0,
        latency: Latency::Constant { micros: 0 },
        error: Some("a \"quoted\"\nline".into()),
    };
    let evicted = Evicted {
        evicted_pages: 4,
        dropped_pages: 3,
        elapsed_us: 2,
        mailboxes: 1,
        write_protect_waits: u64::MAX,
    };
    let restored = Restored { restored_pages: 4, resident_pages: 3, elapsed_us: 2, mailboxes: 1 };
    for response in [
        Response::Status(status),
        Response::LatencySet {},
        Response::EvictionsEnded {},
        Response::Touched { pages: vec![8192, 4096] },
        Response::BringingAhead { pages: 1 },
        Response::Acknowledged { mailboxes: 1 },
        Response::Evicted(evicted),
        Response::Restored(restored),
        Response::Stats(Stats { served_pages: 9, vcpu_page_ins: 2, ..Stats::default() }),
        Response::Attacking { hits: 3 },
        Response::Error { error: "no".into() },
    ] {
        let line = to_string(&response).unwrap();
        assert!(!line.contains('\n'), "one line each");
        assert_eq!(from_str::<Response>(&line).unwrap(), response);
    }
}
