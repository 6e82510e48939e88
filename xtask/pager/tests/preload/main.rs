//! Tests of the library in a child process that preloads it, as a VMM does. Its memory is evicted
//! while several threads write to it, by user-mode and kernel-mode accesses. Needs userfaultfd, but
//! no KVM.
//!
//! Would fail if a write or a fault were lost between an eviction and a fault, a page were served
//! early, a mailbox were not found, a restore left out a page, or an eviction took the wrong share or
//! the wrong time. After a lost fault the child does not answer in time.
//!
//! `APF_PAGER_TEST_ROUNDS` sets the number of evictions under load (default 300).

mod child; // the "VMM"
mod parent; // starts it, and controls the pager

use apf_vocabulary::PAGE_BYTES;
use apf_vocabulary::attack::Attack;
use apf_vocabulary::pager::{Evicted, Eviction, Latency, Parts, Request, Response, Restored, Stats};
use parent::Vmm;
use std::time::Duration;

const PAGE: u64 = PAGE_BYTES as u64;

/// Main function of the child; without the variable it is no test and returns at once.
#[test]
fn child_under_preload() {
    if std::env::var_os(child::VARIABLE).is_some() {
        child::run();
    }
}

#[test]
fn evictions_under_load_lose_no_write_and_no_fault() {
    evict_under_load("load", "whole", child::PAGES, rounds());
}

/// Would fail, with wrong contents, if a page were mistaken for its neighbour in another piece.
#[test]
fn ram_in_two_pieces_is_paged_completely() {
    evict_under_load("pieces", "pieces", child::PAGES, rounds() / 3);
}

#[test]
fn small_ram_is_paged_like_any_other() {
    evict_under_load("small", "small", child::FEW_PAGES, rounds() / 3);
}

fn rounds() -> u64 {
    std::env::var("APF_PAGER_TEST_ROUNDS").map_or(300, |n| n.parse().unwrap())
}

fn evict_under_load(name: &str, kind: &str, pages: usize, rounds: u64) {
    let Some(mut vmm) = Vmm::start_with(name, kind) else { return };
    assert_eq!((vmm.status().ram_bytes, vmm.status().error), (pages as u64 * PAGE, None));
    vmm.command("work");
    let mut random = 1;
    for round in 1..=rounds {
        // Mostly without latency, so that an eviction meets faults at every stage.
        let micros = [0, 0, 0, 50, 0, 0, 700, 0][round as usize % 8];
        vmm.set_latency(micros);
        let ack = round % 10 == 0;
        if ack {
            vmm.command(&format!("request {round}"));
        }
        let Evicted { evicted_pages, mailboxes, .. } = vmm.evict(ack.then_some(round));
        assert_eq!(evicted_pages, pages as u64, "all of memory, every time");
        if ack {
            assert_eq!(mailboxes, 1, "the one mailbox with this request");
            vmm.command(&format!("acked {round}"));
        }
        if round % 7 == 0 {
            vmm.restore(None);
        }
        random = child::random(random);
        // Often without a pause, so that an eviction meets the faults of the previous one.
        std::thread::sleep(Duration::from_micros([0, 0, 500, 5000][random as usize % 4]));
    }
    vmm.set_latency(0);
    let done = vmm.command("verify");
    let stats = vmm.stats();
    println!("{rounds} evictions under load: {done}; {stats:?}");
    assert_eq!(stats.evictions, rounds);
    let held_up = stats.write_protect_waits > 0 || pages < child::PAGES;
    assert!(stats.served_pages > 0 && held_up, "the load caused no faults");
    assert_eq!(stats.retried_page_ins, 0, "the kernel has refused page-ins");
}

#[test]
fn ram_that_cannot_be_paged_is_named() {
    for (kind, pages, why) in
        [("shared", child::PAGES, "shared"), ("locked", child::FEW_PAGES, "mem-lock=on")]
    {
        let Some(mut vmm) = Vmm::start_with(kind, kind) else { return };
        let end = child::BASE + pages as u64 * PAGE;
        for error in [vmm.status().error.unwrap(), vmm.refused(None, None)] {
            assert!(
                error.contains(why) && error.contains(&format!("{:#x}..{end:#x}", child::BASE)),
                "{error}"
            );
        }
        assert_eq!(vmm.status().evicted_pages, 0);
    }
}

#[test]
fn ram_that_is_added_after_the_first_eviction_is_an_error() {
    let Some(mut vmm) = Vmm::start("more") else { return };
    vmm.set_latency(0);
    vmm.evict(None);
    vmm.command("more");
    let error = vmm.refused(None, None);
    assert!(
        error.contains("more RAM since the first eviction: 0x4001000 bytes, of which 0x4000000"),
        "{error}"
    );
    assert_eq!(vmm.status().error, Some(error));
    vmm.command("touch-together 64");
    assert_eq!(vmm.stats().served_pages, 64, "evicted pages still come back");
}

/// Would fail if known pages were not there when they are touched, or came without being asked for any.
#[test]
fn a_known_working_set_comes_ahead_of_its_faults() {
    const TOUCHES: usize = 20;
    let Some(mut vmm) = Vmm::start("ahead") else { return };
    vmm.set_latency(20_000);
    vmm.evict(None);
    vmm.command(&format!("touch-one-by-one {TOUCHES}"));
    let mut pages = vmm.touched();
    assert_eq!(pages.len(), TOUCHES);
    assert!(pages.is_sorted(), "in the order of their return: {pages:?}");
    // Known from a larger guest.
    pages.insert(3, u64::MAX - PAGE);
    assert_eq!(vmm.bring_ahead(pages), TOUCHES as u64);
    vmm.evict(None);
    std::thread::sleep(Duration::from_millis(50));
    let before = vmm.stats();
    assert_eq!(before.ahead_pages, 0, "nobody has asked for a page");
    vmm.command(&format!("touch-one-by-one {TOUCHES}"));
    let after = vmm.stats();
    let [served, ahead] =
        [after.served_pages - before.served_pages, after.ahead_pages].map(|count| count as usize);
    assert!(served <= 2 && served + ahead == TOUCHES, "{served} by faults, {ahead} ahead");
    assert!(vmm.touched().len() <= 2);
}

/// Would fail if all pages were copied before the first is dropped, which needs the guest's memory
/// twice.
#[test]
fn an_eviction_moves_memory_and_does_not_double_it() {
    let Some(mut vmm) = Vmm::start("memory") else { return };
    const RAM: u64 = child::PAGES as u64 * PAGE;
    const BESIDE: u64 = 16 << 20;
    vmm.set_latency(0);
    vmm.command("fill");
    let (before, stored) = vmm.memory();
    assert!(before >= RAM && stored == 0, "{before} {stored}");
    for _ in 0..10 {
        let most = vmm.most_memory_while(|vmm| assert_eq!(vmm.evict(None).evicted_pages, RAM / PAGE));
        assert!(most < before + BESIDE, "{} MiB of a guest of {} MiB", most >> 20, RAM >> 20);
        let (left, stored) = vmm.memory();
        assert!(left < BESIDE && stored == RAM, "{left} and {stored} bytes");
        let most = vmm.most_memory_while(|vmm| _ = vmm.restore(None));
        assert!(most < before + BESIDE, "{} MiB of a guest of {} MiB", most >> 20, RAM >> 20);
        assert_eq!(vmm.memory().1, 0, "freed");
    }
    vmm.evict(None);
    vmm.command("touch-together 64");
    assert_eq!(vmm.stats().served_pages, 64, "after its answer the pager has finished them");
    assert_eq!(vmm.memory().1, RAM - 64 * PAGE, "the memory of pages that came back by faults is freed, too");
}

/// Would fail if the pager did not know who touched a page, or counted a page for a second thread.
#[test]
fn page_ins_of_a_virtual_cpus_own_thread_are_counted() {
    let Some(mut vmm) = Vmm::start("vcpu") else { return };
    vmm.set_latency(20_000);
    vmm.evict(None);
    vmm.command("start-touches 40");
    vmm.command("become-vcpu");
    vmm.command("touch-one-by-one 3");
    vmm.command("end-touches");
    let stats = vmm.stats();
    assert_eq!((stats.served_pages, stats.vcpu_page_ins), (43, 3));
}

#[test]
fn every_fault_takes_the_latency_and_faults_overlap() {
    let Some(mut vmm) = Vmm::start("latency") else { return };
    const MICROS: u64 = 5000;
    vmm.set_latency(MICROS);

    vmm.evict(None);
    let fastest: u64 = vmm.command("touch-one-by-one 40").parse().unwrap();
    assert!(fastest >= MICROS, "served after {fastest} us");
    assert_eq!(vmm.stats().served_pages, 40, "each page is one fault, touched before or not");
    assert_eq!(vmm.stats().vcpu_page_ins, 0, "no thread has run a virtual CPU");

    vmm.evict(None);
    let together: u64 = vmm.command("touch-together 64").parse().unwrap();
    assert!(together >= MICROS, "served after {together} us");
    assert!(together < 20 * MICROS, "64 faults took {together} us: one after the other?");
    println!("one by one: fastest {fastest} us; 64 together: {together} us; {:?}", vmm.stats());

    // Faults that wait during an eviction and a change of latency are served, too.
    vmm.set_latency(200_000);
    vmm.evict(None);
    vmm.command("start-touches 32");
    vmm.wait_until(|stats| stats.in_flight == 32);
    vmm.set_latency(0);
    vmm.evict(None);
    let Stats { in_flight, .. } = vmm.stats();
    assert_eq!(in_flight, 32);
    let waited: u64 = vmm.command("end-touches").parse().unwrap();
    assert!(waited >= 200_000, "their time was set when they arrived, not {waited} us");
}

#[test]
fn restore_brings_everything_back() {
    let Some(mut vmm) = Vmm::start("restore") else { return };
    vmm.set_latency(60_000_000);
    vmm.command("request 11");
    assert_eq!(vmm.evict(Some(11)).mailboxes, 1);
    // Waiters of a minute are released at once.
    vmm.command("start-touches 32");
    vmm.wait_until(|stats| stats.in_flight == 32);
    let Restored { restored_pages, resident_pages, mailboxes, .. } = vmm.restore(None);
    assert_eq!((restored_pages, resident_pages, mailboxes), (child::PAGES as u64, child::PAGES as u64, 0));
    vmm.command("end-touches");
    vmm.command("acked 11");

    // The mailbox is resident now: acknowledged in memory.
    vmm.command("request 12");
    assert_eq!(vmm.restore(Some(12)).mailboxes, 1);
    vmm.command("acked 12");
    // And the other case: it is in the store.
    vmm.command("request 13");
    vmm.evict(None);
    let restored = vmm.restore(Some(13));
    assert_eq!((restored.restored_pages, restored.mailboxes), (child::PAGES as u64, 1));
    vmm.command("acked 13");
    // A mailbox that is in the store only, at the time of the eviction that acknowledges it.
    vmm.command("request 14");
    vmm.evict(None);
    assert_eq!(vmm.evict(Some(14)).mailboxes, 1);
    assert_eq!(vmm.evict(Some(999)).mailboxes, 0, "no mailbox has this request");
    vmm.restore(None);
    vmm.command("acked 14");
    // An acknowledgement alone, in memory and in the store.
    for (request, evict_before) in [(15, false), (16, true)] {
        vmm.command(&format!("request {request}"));
        if evict_before {
            vmm.evict(None);
        }
        let answer = vmm.ask(&Request::Acknowledge { ack: request });
        assert_eq!(answer, Response::Acknowledged { mailboxes: 1 });
        vmm.restore(None);
        vmm.command(&format!("acked {request}"));
    }

    vmm.command("verify");
    assert_eq!(vmm.stats().served_pages, 0, "every page came back by a restore");
}

#[test]
fn an_eviction_of_a_part_leaves_the_rest_in_memory() {
    let Some(mut vmm) = Vmm::start("part") else { return };
    // The child's mailbox is its first page.
    let page = |number: u64| child::BASE + number * PAGE;
    let parts = |ranges| Some(Parts { mailbox: page(0), ranges });
    vmm.set_latency(1000);
    vmm.command("request 21");
    let evicted = vmm.evict_only(parts(vec![page(5000)..page(5004), page(5008)..page(5010)]), Some(21));
    assert_eq!((evicted.evicted_pages, evicted.mailboxes), (6, 1));
    vmm.command("acked 21");
    vmm.command("touch-together 64");
    assert_eq!(vmm.stats().served_pages, 3, "of every third page from 5000 on, three were evicted");
    // The mailbox itself, and pages that are already evicted and stay so.
    vmm.command("request 22");
    vmm.evict(None);
    let evicted = vmm.evict_only(parts(vec![page(0)..page(1), page(1)..page(2)]), Some(22));
    assert_eq!((evicted.evicted_pages, evicted.mailboxes), (child::PAGES as u64, 1));
    vmm.command("acked 22");
    let error = vmm.refused(parts(vec![page(0)..page(1), page(0)..page(child::PAGES as u64 + 1)]), Some(22));
    assert!(error.contains("guest's RAM of"), "{error}");
    let ranges = || vec![page(0)..page(1), page(1)..page(2)];
    let elsewhere = Some(Parts { mailbox: page(1), ranges: ranges() });
    for (only, ack) in [(parts(ranges()), None), (parts(ranges()), Some(999)), (elsewhere, Some(22))] {
        let error = vmm.refused(only, ack);
        assert!(error.contains("no mailbox"), "{error}");
    }
    vmm.command("verify");
}

#[test]
fn an_eviction_of_a_share_leaves_exactly_the_rest_in_memory() {
    let Some(mut vmm) = Vmm::start("share") else { return };
    const PAGES: u64 = child::PAGES as u64;
    vmm.set_latency(0);
    vmm.command("work");
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
        assert_eq!(evicted_pages, PAGES / 4, "exactly the share, whatever was evicted before");
        std::thread::sleep(Duration::from_millis(3));
    }
    println!("{}; {:?}", vmm.command("verify"), vmm.stats());
    assert!(vmm.stats().served_pages > 0, "the load caused no faults");
}

#[test]
fn an_lru_eviction_keeps_the_most_recent_pages() {
    let Some(mut vmm) = Vmm::start("recent") else { return };
    vmm.set_latency(0);
    let mut touched = |seed, eviction: Eviction| {
        vmm.evict_as(eviction, seed, None, None);
        let before = vmm.stats().served_pages;
        vmm.command("touch-together 64");
        vmm.stats().served_pages - before
    };
    assert_eq!(touched(1, Eviction::Lru { share: 1.0 }), 64);
    assert_eq!(touched(2, Eviction::Lru { share: 0.5 }), 0, "these pages are the most recent");
    assert_eq!(touched(3, Eviction::Lru { share: 1.0 }), 64, "a share of 1 is all pages");
    let random = touched(4, Eviction::Fraction { share: 0.5 });
    assert!((16..48).contains(&random), "{random} of 64");
    assert_eq!(touched(4, Eviction::Fraction { share: 0.5 }), random, "the same seed");
}

#[test]
fn periodic_evictions_continue_until_they_are_ended() {
    let Some(mut vmm) = Vmm::start("periodic") else { return };
    vmm.set_latency(0);
    vmm.command("work");
    vmm.evict_as(Eviction::Periodic { period_micros: 5_000, share: 0.1 }, 1, None, None);
    vmm.wait_until(|stats| stats.evictions >= 5 && stats.dropped_pages > child::PAGES as u64 / 10);
    assert_eq!(vmm.ask(&Request::EndEvictions {}), Response::EvictionsEnded {});
    let ended = vmm.stats();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(vmm.stats().evictions, ended.evictions, "ended");
    println!("{}; {ended:?}", vmm.command("verify"));
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

/// Would fail if more than the share stayed in memory, pages that are out did not come in any more, or an
/// end did not let all of them stay.
#[test]
fn a_share_stays_in_memory_while_pages_come_and_go() {
    let Some(mut vmm) = Vmm::start("resident") else { return };
    const PAGES: u64 = child::PAGES as u64;
    // Pages that came in since the pager last looked.
    const MORE: u64 = 64;
    vmm.set_latency(0);
    vmm.command("work");
    let evicted = vmm.evict_as(Eviction::Resident { share: 0.25 }, 1, None, None).evicted_pages;
    assert_eq!(evicted, PAGES - PAGES / 4);
    for round in 2..5 {
        vmm.wait_until(|stats| {
            stats.served_pages > round * PAGES / 4 && stats.dropped_pages > round * PAGES / 4
        });
        let out = vmm.status().evicted_pages;
        assert!(out + MORE >= PAGES - PAGES / 4, "{out} of {PAGES} are out");
    }
    vmm.restore(None);
    let ended = vmm.stats();
    println!("{}; {ended:?}", vmm.command("verify"));
    assert_eq!((vmm.status().evicted_pages, vmm.stats().dropped_pages), (0, ended.dropped_pages));
}

#[test]
fn the_pager_survives_a_controller_that_disconnects_sends_no_request_or_wants_an_attack() {
    let Some(mut vmm) = Vmm::start("controllers") else { return };
    vmm.set_latency(20_000);
    vmm.evict(None);
    vmm.command("start-touches 8");
    vmm.reconnect();
    let waited: u64 = vmm.command("end-touches").parse().unwrap();
    assert!(waited >= 20_000, "served without a controller, and not early ({waited} us)");
    let Response::Error { error } = vmm.send("{\"request\":\"explode\"}\n\n") else { panic!("accepted") };
    assert!(error.contains("not a request"), "{error}");
    let attack = Request::Attack { attack: Attack::Lose };
    let Response::Error { error } = vmm.ask(&attack) else { panic!("an ordinary pager attacks") };
    assert!(error.contains("APF_PAGER_HOSTILE=attacks"), "{error}");
    let Response::Status(status) = vmm.ask(&Request::Status {}) else { panic!("no status") };
    assert_eq!(status.latency, Latency::Constant { micros: 20_000 });
    assert_eq!((status.ram_bytes, status.error), ((child::PAGES * PAGE_BYTES) as u64, None));
}
