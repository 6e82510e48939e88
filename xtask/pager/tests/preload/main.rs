//! The library as a VMM meets it: preloaded into a child process, whose memory is paged out under
//! several threads that write to it, by user-mode and kernel-mode accesses. Needs userfaultfd, but
//! no KVM.
//!
//! Broken by: a write or a fault that gets lost between an eviction and a fault, a page served before
//! its time, a mailbox that is not found, a restore that leaves a page behind, an eviction that takes
//! another share than it was told, or at another time. A lost fault shows as
//! a child that does not answer in time.
//!
//! `APF_PAGER_TEST_ROUNDS` sets the number of evictions under load (default 300).

mod child; // the "VMM"
mod parent; // starts it, and controls the pager

use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats};
use parent::Vmm;
use std::time::Duration;

/// Not a test of its own: what the child runs. At once done without the variable.
#[test]
fn child_under_preload() {
    if std::env::var_os(child::VARIABLE).is_some() {
        child::run();
    }
}

#[test]
fn nothing_is_lost() {
    let Some(mut vmm) = Vmm::start("load") else { return };
    let rounds = std::env::var("APF_PAGER_TEST_ROUNDS").map_or(300, |n| n.parse().unwrap());
    vmm.tell("work");
    let mut random = 1;
    for round in 1..=rounds {
        // Mostly without latency, where an eviction meets the most faults at their every stage.
        let micros = [0, 0, 0, 50, 0, 0, 700, 0][round as usize % 8];
        vmm.set_latency(micros);
        let ack = round % 10 == 0;
        if ack {
            vmm.tell(&format!("request {round}"));
        }
        let Evicted { evicted_pages, mailboxes, .. } = vmm.evict(ack.then_some(round));
        assert_eq!(evicted_pages, child::PAGES as u64, "all of memory, every time");
        if ack {
            assert_eq!(mailboxes, 1, "the one mailbox with this request");
            vmm.tell(&format!("acked {round}"));
        }
        if round % 7 == 0 {
            vmm.restore(None);
        }
        random = child::random(random);
        // Often no pause at all: an eviction that meets the faults of the one before.
        std::thread::sleep(Duration::from_micros([0, 0, 500, 5000][random as usize % 4]));
    }
    vmm.set_latency(0);
    let done = vmm.tell("verify");
    let stats = vmm.stats();
    println!("{rounds} evictions under load: {done}; {stats:?}");
    assert_eq!(stats.evictions, rounds);
    assert!(stats.served_pages > 0 && stats.write_protect_waits > 0, "the load was no load");
    assert_eq!(stats.retried_page_ins, 0, "this kernel has reasons that the pager does not expect");
}

#[test]
fn latency_is_kept_and_overlaps() {
    let Some(mut vmm) = Vmm::start("latency") else { return };
    const MICROS: u64 = 5000;
    vmm.set_latency(MICROS);

    vmm.evict(None);
    let fastest: u64 = vmm.tell("touch-one-by-one 40").parse().unwrap();
    assert!(fastest >= MICROS, "served after {fastest} us");
    assert_eq!(vmm.stats().served_pages, 40, "each page is one fault, touched before or not");

    vmm.evict(None);
    let together: u64 = vmm.tell("touch-together 64").parse().unwrap();
    assert!(together >= MICROS, "served after {together} us");
    assert!(together < 20 * MICROS, "64 faults took {together} us: one after the other?");
    println!("one by one: fastest {fastest} us; 64 together: {together} us; {:?}", vmm.stats());

    // Faults that wait when an eviction, and a change of latency, come are served all the same.
    vmm.set_latency(200_000);
    vmm.evict(None);
    vmm.tell("begin-touches 32");
    std::thread::sleep(Duration::from_millis(30));
    vmm.set_latency(0);
    vmm.evict(None);
    let Stats { in_flight, .. } = vmm.stats();
    assert_eq!(in_flight, 32);
    let waited: u64 = vmm.tell("end-touches").parse().unwrap();
    assert!(waited >= 200_000, "their time was set when they arrived, not {waited} us");
}

#[test]
fn restore_brings_everything_back() {
    let Some(mut vmm) = Vmm::start("restore") else { return };
    vmm.set_latency(60_000_000);
    vmm.tell("request 11");
    assert_eq!(vmm.evict(Some(11)).mailboxes, 1);
    // Waiters of a minute are released at once.
    vmm.tell("begin-touches 32");
    std::thread::sleep(Duration::from_millis(30));
    let Restored { restored_pages, resident_pages, mailboxes, .. } = vmm.restore(None);
    assert_eq!((restored_pages, resident_pages, mailboxes), (child::PAGES as u64, child::PAGES as u64, 0));
    vmm.tell("end-touches");
    vmm.tell("acked 11");

    // The mailbox is resident now: acknowledged in memory.
    vmm.tell("request 12");
    assert_eq!(vmm.restore(Some(12)).mailboxes, 1);
    vmm.tell("acked 12");
    // And the other case: it is in the store.
    vmm.tell("request 13");
    vmm.evict(None);
    let restored = vmm.restore(Some(13));
    assert_eq!((restored.restored_pages, restored.mailboxes), (child::PAGES as u64, 1));
    vmm.tell("acked 13");
    // In the store, and no longer in memory when the eviction that acknowledges it comes.
    vmm.tell("request 14");
    vmm.evict(None);
    assert_eq!(vmm.evict(Some(14)).mailboxes, 1);
    assert_eq!(vmm.evict(Some(999)).mailboxes, 0, "nobody asked for this");
    vmm.restore(None);
    vmm.tell("acked 14");
    // Alone, wherever it is.
    for (request, evict_before) in [(15, false), (16, true)] {
        vmm.tell(&format!("request {request}"));
        if evict_before {
            vmm.evict(None);
        }
        let answer = vmm.ask(&Request::Acknowledge { ack: request });
        assert_eq!(answer, Response::Acknowledged { mailboxes: 1 });
        vmm.restore(None);
        vmm.tell(&format!("acked {request}"));
    }

    vmm.tell("verify");
    assert_eq!(vmm.stats().served_pages, 0, "everything came by restore");
}

#[test]
fn a_part_goes_out_alone() {
    let Some(mut vmm) = Vmm::start("part") else { return };
    // The child's mailbox is its first page; where a guest would have it is up to us.
    const BASE: u64 = 0x5000_0000;
    const PAGE: u64 = PAGE_BYTES as u64;
    let page = |number: u64| BASE + number * PAGE;
    let parts = |ranges| Some(Parts { mailbox: page(0), ranges });
    vmm.set_latency(1000);
    vmm.tell("request 21");
    let evicted = vmm.evict_only(parts(vec![page(5000)..page(5004), page(5008)..page(5010)]), Some(21));
    assert_eq!((evicted.evicted_pages, evicted.mailboxes), (6, 1));
    vmm.tell("acked 21");
    vmm.tell("touch-together 64");
    assert_eq!(vmm.stats().served_pages, 3, "of every third page from 5000 on, three were out");
    // The mailbox itself, and what is out already and stays out.
    vmm.tell("request 22");
    vmm.evict(None);
    let evicted = vmm.evict_only(parts(vec![page(0)..page(1), page(1)..page(2)]), Some(22));
    assert_eq!((evicted.evicted_pages, evicted.mailboxes), (child::PAGES as u64, 1));
    vmm.tell("acked 22");
    let mut refused =
        |only, ack| match vmm.ask(&Request::Evict { ack, only, eviction: Eviction::All, seed: 0 }) {
            Response::Error { error } => error,
            other => panic!("{other:?}"),
        };
    let error = refused(parts(vec![page(0)..page(1), page(0)..page(child::PAGES as u64 + 1)]), Some(22));
    assert!(error.contains("guest's RAM of"), "{error}");
    for ack in [None, Some(999)] {
        let error = refused(parts(vec![page(0)..page(1), page(1)..page(2)]), ack);
        assert!(error.contains("no mailbox"), "{error}");
    }
    vmm.tell("verify");
}

#[test]
fn a_share_goes_out_and_the_rest_stays() {
    let Some(mut vmm) = Vmm::start("share") else { return };
    const PAGES: u64 = child::PAGES as u64;
    vmm.set_latency(0);
    vmm.tell("work");
    for (round, eviction) in [
        Eviction::Fraction { share: 0.25 },
        Eviction::Lru { share: 0.25 },
        Eviction::Periodic { period_micros: 60_000_000, share: 0.25 },
    ]
    .into_iter()
    .cycle()
    .take(60)
    .enumerate()
    {
        let Evicted { evicted_pages, .. } = vmm.evict_as(eviction, round as u64, None, None);
        assert_eq!(evicted_pages, PAGES / 4, "exactly the share, whatever was out before");
        std::thread::sleep(Duration::from_millis(3));
    }
    println!("{}; {:?}", vmm.tell("verify"), vmm.stats());
    assert!(vmm.stats().served_pages > 0, "the load was no load");
}

#[test]
fn what_was_paged_in_last_stays() {
    let Some(mut vmm) = Vmm::start("recent") else { return };
    vmm.set_latency(0);
    let mut touched = |seed, eviction: Eviction| {
        vmm.evict_as(eviction, seed, None, None);
        let before = vmm.stats().served_pages;
        vmm.tell("touch-together 64");
        vmm.stats().served_pages - before
    };
    assert_eq!(touched(1, Eviction::Lru { share: 1.0 }), 64);
    assert_eq!(touched(2, Eviction::Lru { share: 0.5 }), 0, "they are the most recent");
    assert_eq!(touched(3, Eviction::Lru { share: 1.0 }), 64, "all of them is all of them");
    let random = touched(4, Eviction::Fraction { share: 0.5 });
    assert!((16..48).contains(&random), "{random} of 64");
    assert_eq!(touched(4, Eviction::Fraction { share: 0.5 }), random, "the same seed");
}

#[test]
fn periodic_evictions_go_on_until_they_are_ended() {
    let Some(mut vmm) = Vmm::start("periodic") else { return };
    vmm.set_latency(0);
    vmm.tell("work");
    vmm.evict_as(Eviction::Periodic { period_micros: 5_000, share: 0.1 }, 1, None, None);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(vmm.ask(&Request::EndEvictions {}), Response::EvictionsEnded {});
    let ended = vmm.stats();
    assert!(ended.evictions >= 5, "{ended:?}");
    assert!(ended.dropped_pages > child::PAGES as u64 / 10, "{ended:?}");
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(vmm.stats().evictions, ended.evictions, "ended");
    println!("{}; {ended:?}", vmm.tell("verify"));
    let Response::Error { error } = vmm.ask(&Request::Evict {
        ack: None,
        only: None,
        eviction: Eviction::Fraction { share: 1.5 },
        seed: 0,
    }) else {
        panic!("accepted")
    };
    assert!(error.contains("share 1.5"), "{error}");
}

#[test]
fn a_controller_may_misbehave() {
    let Some(mut vmm) = Vmm::start("controllers") else { return };
    vmm.set_latency(20_000);
    vmm.evict(None);
    vmm.tell("begin-touches 8");
    vmm.reconnect();
    let waited: u64 = vmm.tell("end-touches").parse().unwrap();
    assert!(waited >= 20_000, "served without a controller, and not early ({waited} us)");
    let Response::Error { error } = vmm.send("{\"request\":\"explode\"}\n\n") else { panic!("accepted") };
    assert!(error.contains("not a request"), "{error}");
    let Response::Status(status) = vmm.ask(&Request::Status {}) else { panic!("no status") };
    assert_eq!(status.latency, Latency::Constant { micros: 20_000 });
    assert_eq!((status.ram_bytes, status.error), ((child::PAGES * PAGE_BYTES) as u64, None));
}
