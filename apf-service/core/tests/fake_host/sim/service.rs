//! The service thread: it runs on the first core, unless a context halts there.

use apf_core::classify::Wait;
use apf_core::report::Report;
use apf_core::serve::{retry_overdue, serve};
use apf_core::watchdog::Retries;

use super::step::Place;
use super::world::World;

impl World {
    /// Makes up to `budget` decisions about events, and returns their reports.
    pub fn service(&mut self, budget: usize) -> Result<Vec<Report>, String> {
        let mut reports = Vec::new();
        if self.guests[0].core.is_halting() {
            return Ok(reports);
        }
        let view = self.view(0, Place::App);
        while reports.len() < budget {
            let Some(report) = serve(&view) else {
                self.called.set(false);
                break;
            };
            self.stats.count(&report);
            reports.push(report);
            match report {
                Report::Overflow { .. } => {
                    self.guests.iter_mut().for_each(|guest| guest.excuse(|w| w.kind == Wait::Schedule));
                }
                Report::Matched { core, came_on, .. } if core == came_on => {
                    return Err(format!("{report:?}: the interrupt should have found it"));
                }
                _ => {}
            }
        }
        self.check_interrupted(&view)?;
        Ok(reports)
    }

    /// Retries all waits by schedule that are longer than `limit`.
    pub fn retry_all(&mut self, limit: u64) {
        self.retry(Retries { most: u64::MAX, overdue: limit, beside_work: limit });
    }

    /// Retries what `retries` allows, and returns the reports.
    pub fn retry(&mut self, retries: Retries) -> Vec<Report> {
        if self.guests[0].core.is_halting() {
            return Vec::new();
        }
        let view = self.view(0, Place::App);
        let reports: Vec<Report> = retry_overdue(&view, retries).collect();
        for report in &reports {
            self.stats.count(report);
            if let Report::Overdue { core, token, .. } = *report {
                let guest = &mut self.guests[usize::from(core.0)];
                guest.excuse(|w| w.kind == Wait::Schedule && w.token == token);
                self.tally.limits += 1;
                self.tally.delayed += u64::from(guest.host.borrow().works_on(token));
            }
        }
        reports
    }
}
