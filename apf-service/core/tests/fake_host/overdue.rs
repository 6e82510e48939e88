//! Overdue waits, retried as the watchdog allows: on a host that has lost ready events, and on one
//! whose pages are slow.

use apf_core::protocol::Token;
use apf_core::time::Tsc;
use apf_core::watchdog::Watchdog;

use crate::sim::step::{Place, Step};
use crate::sim::world::World;
use crate::{PLAIN, Random};

/// Limit of a wait.
const LIMIT: u64 = 10_000;
/// A scene moves on in tenths of it.
const STEP: u64 = LIMIT / 10;

/// A core whose tasks each wait for a page.
struct Scene {
    world: World,
    watchdog: Watchdog,
    /// Tokens, and when the host has their pages, in limits; lost ones never.
    pages: Vec<(Token, u64)>,
    /// The page that a retry found missing. Until it is there, KVM stops the core: only interrupts still run.
    stopped_for: Option<Token>,
    stops: usize,
    /// The core idles between its tasks.
    idles: bool,
}

impl Scene {
    fn new(pages: impl IntoIterator<Item = Option<u64>>) -> Self {
        let mut world = World::new(PLAIN);
        world.interrupt(0, false).unwrap();
        let watchdog = Watchdog::new(LIMIT, Tsc(world.clock));
        let mut scene = Self { world, watchdog, pages: Vec::new(), stopped_for: None, stops: 0, idles: true };
        pages.into_iter().for_each(|page| scene.fault(page));
        scene
    }

    /// A task touches a page that the host has at a time; at no time, it loses the ready event.
    fn fault(&mut self, page: Option<u64>) {
        self.world.apply(Step::Fault { core: 0, place: Place::App }).unwrap();
        match page {
            Some(at) => self.pages.push((self.world.guests[0].scheduled.last().unwrap().token, at)),
            None => self.world.apply(Step::Lose { core: 0, nth: self.pages.len() as u8 }).unwrap(),
        }
    }

    /// Lets time go by until nobody waits, and returns it in limits, rounded up.
    fn run(&mut self) -> u64 {
        let start = self.world.clock;
        while self.world.guests[0].waits().next().is_some() {
            assert!(self.world.clock < 10_000 * LIMIT, "a wait never ends");
            let next = (self.world.clock / STEP + 1) * STEP;
            self.world.advance(next - self.world.clock);
            self.step().unwrap();
        }
        (self.world.clock - start).div_ceil(LIMIT)
    }

    fn step(&mut self) -> Result<(), String> {
        let now = self.world.clock / LIMIT;
        for n in (0..self.pages.len()).rev().filter(|&n| self.pages[n].1 <= now).collect::<Vec<_>>() {
            self.pages.remove(n);
            self.world.apply(Step::Complete { core: 0, nth: n as u8 })?;
        }
        self.world.apply(Step::Interrupt { core: 0 })?;
        self.serve()?;
        self.stopped_for.take_if(|token| !self.world.guests[0].host.borrow().works_on(*token));
        while self.stopped_for.is_none() {
            let Some(next) = self.world.guests[0].scheduled.iter().find(|wait| wait.released) else {
                self.world.apply(Step::Schedule { core: 0, has_work: !self.idles })?;
                break;
            };
            let token = next.token;
            self.world.apply(Step::Run { core: 0, nth: 0 })?;
            if self.world.guests[0].host.borrow().works_on(token) {
                self.stopped_for = Some(token);
                self.stops += 1;
            }
        }
        Ok(())
    }

    /// Decides about events, and retries what the watchdog allows, as the service thread's loop does.
    fn serve(&mut self) -> Result<(), String> {
        let last_idle = |_| self.world.guests[0].core.stats.stall.last_idle();
        let retries = self.watchdog.due(Tsc(self.world.clock), last_idle);
        let mut reports = self.world.service(usize::MAX)?;
        reports.extend(self.world.retry(retries));
        self.watchdog.served(retries, &reports, Tsc(self.world.clock));
        self.world.check_step()
    }
}

/// Would fail if the waits were retried one at a time: that takes over a hundred limits.
#[test]
fn sixty_lost_ready_events_are_retried_within_eight_limits() {
    let mut scene = Scene::new([None; 60]);
    let limits = scene.run();
    assert!(limits <= 8, "{limits}");
    assert_eq!(scene.stops, 0);
}

/// Would fail if a retry that stopped the core were taken for one of a lost event.
#[test]
fn slow_pages_stop_the_core_no_more_often_than_retries_one_at_a_time() {
    let mut random = Random(1);
    let mut of_seed = || (0..60).map(|_| Some(2 + u64::from(random.next() % 60))).collect::<Vec<_>>();
    let mut scenes = vec![vec![Some(20); 60], (2..62).map(Some).collect(), (2..62).rev().map(Some).collect()];
    scenes.extend((0..100).map(|_| of_seed()));
    let mut all = 0;
    for pages in scenes {
        let mut scene = Scene::new(pages.clone());
        let limits = scene.run();
        let mut single = Scene::new(pages.clone());
        // Nothing is known of a core that never idles.
        single.idles = false;
        assert_eq!((limits, scene.stops), (single.run(), single.stops), "{pages:?}");
        all += scene.stops;
    }
    assert!(all > 103, "some are retried: {all}");
}

/// A batch may meet slow pages: each of them stops the core, but after that one wait is retried at a time.
#[test]
fn a_slow_page_among_lost_ready_events_ends_the_batches() {
    let mut scene = Scene::new((0..60).map(|n| (n % 20 == 5).then_some(30)));
    let limits = scene.run();
    assert!(limits > 30, "{limits}");
    assert!(scene.stops <= 3, "{}", scene.stops);
}
