//! When waits by schedule are retried whose ready event is overdue, and how many at once.
//!
//! A retry is a second touch of the page. If the page is still under way, KVM stops the core until it
//! is there (docs/adr/0012-second-toucher.md): only interrupts still run, the service thread among what
//! they wake, but no other task. So the first retry is of one wait. Whether KVM has stopped the core
//! shows afterwards:
//!
//! | since the retry | meaning | next |
//! |---|---|---|
//! | the core has been without a task that could run, and no ready event of the wait has come | the access went through, so the event is lost | twice as many waits, after one limit |
//! | the ready event has come | the page was under way, and the core was stopped | one wait, after a longer interval |
//! | neither | the core is stopped, or a task computes | the same |
//!
//! (docs/adr/0018-retries-in-batches.md)
#![forbid(unsafe_code)]

use crate::event::CoreId;
use crate::protocol::Token;
use crate::report::{BATCH, Report};
use crate::time::Tsc;

/// A core on which a task could run is spared a retry for so many limits.
pub const PATIENCE: u64 = 8;

/// Longest interval between two looks, in limits.
const LONGEST: u64 = 4;

/// Retries that are allowed now. It crosses to the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Retries {
    /// Number of waits.
    pub most: u64,
    /// Cycles that a wait has lasted at least.
    pub overdue: u64,
    /// The same for a wait on a core on which a task could run.
    pub beside_work: u64,
}

impl Retries {
    /// No retry.
    pub const NONE: Self = Self { most: 0, overdue: u64::MAX, beside_work: u64::MAX };
}

/// State of the retries. It belongs to the service thread.
#[derive(Debug)]
pub struct Watchdog {
    /// Limit of a wait in cycles; [`u64::MAX`] is never.
    limit: u64,
    last_look: Tsc,
    /// Limits until the next look.
    interval: u64,
    /// Waits that were retried at the last look.
    retried: [(CoreId, Token); BATCH],
    count: usize,
    /// The ready event of one of them has come since.
    was_under_way: bool,
}

impl Watchdog {
    /// Makes a watchdog for waits longer than `limit` cycles; [`u64::MAX`] is never.
    #[must_use]
    pub const fn new(limit: u64, now: Tsc) -> Self {
        let retried = [(CoreId(0), Token::NONE); BATCH];
        Self { limit, last_look: now, interval: 1, retried, count: 0, was_under_way: false }
    }

    /// Returns the retries that are allowed at `now`. The first look comes after one limit. While waits
    /// are retried, the next ones come after two and four limits, or after one if ready events were
    /// lost. `last_idle` says when a core was last left without a task that could run
    /// ([`Stall::last_idle`](crate::stall::Stall::last_idle)).
    pub fn due(&self, now: Tsc, last_idle: impl Fn(CoreId) -> Tsc) -> Retries {
        let are_lost = self.are_lost(last_idle);
        let interval = if are_lost { 1 } else { self.interval };
        if now.since(self.last_look) < self.limit.saturating_mul(interval) {
            return Retries::NONE;
        }
        let (most, patience) = if are_lost { (2 * self.count as u64, 1) } else { (1, PATIENCE) };
        Retries { most, overdue: self.limit, beside_work: self.limit.saturating_mul(patience) }
    }

    /// Returns whether all accesses of the last look went through at once.
    fn are_lost(&self, last_idle: impl Fn(CoreId) -> Tsc) -> bool {
        let retried = &self.retried[..self.count];
        let went_through = |&(core, _): &(CoreId, Token)| last_idle(core) > self.last_look;
        self.count > 0 && !self.was_under_way && retried.iter().all(went_through)
    }

    /// Takes the `reports` of the service thread's decisions into account, among them those about the
    /// retries that were `allowed`. `now` is after the retries.
    pub fn served(&mut self, allowed: Retries, reports: &[Report], now: Tsc) {
        for report in reports {
            if let Report::Unmatched { token, .. } = report {
                let is_retried = |&(_, retried): &(CoreId, Token)| retried == *token;
                self.was_under_way |= self.retried[..self.count].iter().any(is_retried);
            }
        }
        let overdue = reports.iter().filter_map(|report| match report {
            Report::Overdue { core, token, .. } => Some((*core, *token)),
            _ => None,
        });
        let count = self.retried.iter_mut().zip(overdue).map(|(place, wait)| *place = wait).count();
        // Without room for a report, the waits have not been looked at.
        if count == 0 && (allowed.most == 0 || reports.len() == BATCH) {
            return;
        }
        self.last_look = now;
        (self.count, self.was_under_way) = (count, false);
        self.interval = match count {
            0 => 1,
            // The last look's retries have cost nothing.
            _ if allowed.most > 1 => 2,
            _ => (2 * self.interval).min(LONGEST),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    const LIMIT: u64 = 100;

    /// A watchdog, and what the rest of the system would tell it. Times are in limits.
    struct Scene {
        watchdog: Watchdog,
        last_idle: [Tsc; 2],
    }

    impl Scene {
        fn new() -> Self {
            Self { watchdog: Watchdog::new(LIMIT, Tsc(0)), last_idle: [Tsc(0); 2] }
        }

        fn due(&self, at: u64) -> Retries {
            self.watchdog.due(Tsc(at * LIMIT), |core| self.last_idle[usize::from(core.0)])
        }

        /// Retries what is due at a time, of so many overdue waits on each of two cores; returns the number.
        fn look(&mut self, at: u64, overdue: [u64; 2]) -> u64 {
            let retries = self.due(at);
            let waits = [0, 1].map(|core| (0..overdue[usize::from(core)]).map(move |n| report(core, n)));
            let reports: Vec<Report> = waits.into_iter().flatten().take(retries.most as usize).collect();
            self.watchdog.served(retries, &reports, Tsc(at * LIMIT));
            reports.len() as u64
        }

        /// A core idles just after a time.
        fn idles(&mut self, core: usize, after: u64) {
            self.last_idle[core] = Tsc(after * LIMIT + 1);
        }

        fn is_ready(&mut self, core: u16, number: u64) {
            let Report::Overdue { core, token, .. } = report(core, number) else { unreachable!() };
            self.watchdog.served(Retries::NONE, &[Report::Unmatched { came_on: core, token }], Tsc(0));
        }
    }

    fn report(core: u16, number: u64) -> Report {
        let token = Token((number as u32 + 1) << 12 | u32::from(core));
        Report::Overdue { core: CoreId(core), token, rip: 0, waited: 0 }
    }

    #[test]
    fn a_watchdog_looks_after_each_limit_and_never_without_one() {
        let mut scene = Scene::new();
        assert_eq!(scene.watchdog.due(Tsc(LIMIT - 1), |_| Tsc(0)), Retries::NONE);
        assert_eq!(scene.due(1), Retries { most: 1, overdue: LIMIT, beside_work: PATIENCE * LIMIT });
        assert_eq!(scene.look(1, [0; 2]), 0);
        assert_eq!(scene.watchdog.due(Tsc(2 * LIMIT - 1), |_| Tsc(0)), Retries::NONE);
        assert_eq!(scene.due(2).most, 1);
        assert_eq!(Watchdog::new(u64::MAX, Tsc(0)).due(Tsc(u64::MAX - 1), |_| Tsc(0)), Retries::NONE);
    }

    #[test]
    fn the_watchdog_backs_off_while_it_cannot_know_what_its_retries_did() {
        let mut scene = Scene::new();
        for (at, retried) in [(1, 1), (2, 0), (3, 1), (6, 0), (7, 1), (10, 0), (11, 1)] {
            assert_eq!(scene.look(at, [9, 0]), retried, "{at}");
        }
        assert_eq!(scene.look(15, [0; 2]), 0);
        assert_eq!(scene.due(16).most, 1, "nothing was overdue");
    }

    #[test]
    fn retries_double_after_each_limit_while_ready_events_were_lost() {
        let mut scene = Scene::new();
        assert_eq!(scene.look(1, [60, 0]), 1);
        for (at, left, retried) in [(2, 59, 2), (3, 57, 4), (4, 53, 8), (5, 45, 16), (6, 29, 29)] {
            scene.idles(0, at - 1);
            assert_eq!(scene.due(at).beside_work, LIMIT, "no core is spared");
            assert_eq!(scene.look(at, [left, 0]), retried);
        }
    }

    #[test]
    fn a_ready_event_after_its_retry_ends_the_batches() {
        let mut scene = Scene::new();
        scene.look(1, [9, 0]);
        scene.idles(0, 1);
        assert_eq!(scene.look(2, [9, 0]), 2);
        scene.is_ready(0, 1);
        scene.idles(0, 2);
        assert_eq!(scene.due(3), Retries::NONE);
        assert_eq!(scene.due(4), Retries { most: 1, overdue: LIMIT, beside_work: PATIENCE * LIMIT });
        assert_eq!(scene.look(4, [9, 0]), 1);
        scene.idles(0, 4);
        scene.is_ready(0, 5);
        assert_eq!(scene.due(5).most, 2, "it is of no retried wait");
    }

    #[test]
    fn an_idle_time_from_before_the_retry_shows_nothing() {
        let mut scene = Scene::new();
        scene.last_idle[0] = Tsc(LIMIT);
        scene.look(1, [9, 0]);
        assert_eq!((scene.due(2), scene.due(3).most), (Retries::NONE, 1));
    }

    #[test]
    fn each_core_with_a_retry_must_have_idled() {
        let mut scene = Scene::new();
        scene.look(1, [1, 9]);
        scene.idles(0, 1);
        assert_eq!(scene.look(2, [1, 9]), 2, "one on each");
        scene.idles(0, 2);
        assert_eq!(scene.due(3), Retries::NONE);
        scene.idles(1, 2);
        assert_eq!(scene.due(3).most, 4);
    }

    #[test]
    fn waits_that_were_not_looked_at_for_want_of_room_stay_due() {
        let mut scene = Scene::new();
        let unmatched = Report::Unmatched { came_on: CoreId(0), token: Token(7 << 12) };
        let retries = scene.due(1);
        scene.watchdog.served(retries, &[unmatched; BATCH], Tsc(LIMIT));
        assert_eq!(scene.due(1), retries);
        scene.watchdog.served(retries, &[unmatched; BATCH - 1], Tsc(LIMIT));
        assert_eq!(scene.due(1), Retries::NONE);
    }
}
