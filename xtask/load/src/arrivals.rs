//! Planned starts of requests.

use std::time::Duration;

use rand::Rng;
use rand_distr::{Distribution, Exp};

/// A request with its planned start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned<T> {
    /// Planned start, from that of the load.
    pub at: Duration,
    /// The request.
    pub request: T,
}

/// Plans the starts of requests until `end`, `rate` of them in a second on average: a Poisson process, which has
/// exponentially distributed gaps. `request` makes each of them.
///
/// # Panics
/// The rate is not above 0.
pub fn plan<T, R: Rng>(
    rate: f64,
    end: Duration,
    random: &mut R,
    mut request: impl FnMut(&mut R) -> T,
) -> Vec<Planned<T>> {
    let gaps = Exp::new(rate).ok().filter(|_| rate > 0.0).expect("a rate above 0");
    let (mut at, mut plan) = (Duration::ZERO, Vec::new());
    loop {
        at += Duration::from_secs_f64(gaps.sample(random));
        if at >= end {
            return plan;
        }
        plan.push(Planned { at, request: request(random) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn arrivals_have_their_rate_and_exponential_gaps() {
        let mut random = SmallRng::seed_from_u64(1);
        let plan = plan(1000.0, Duration::from_secs(100), &mut random, |_| ());
        assert!((99_000..101_000).contains(&plan.len()), "{}", plan.len());
        assert!(plan.is_sorted_by_key(|planned| planned.at));
        let gaps = plan.windows(2).map(|two| (two[1].at - two[0].at).as_secs_f64());
        // Of exponential gaps 1/e are longer than their mean.
        let long = gaps.filter(|&gap| gap > 0.001).count() as f64 / plan.len() as f64;
        assert!((long - 1.0_f64.exp().recip()).abs() < 0.01, "{long}");
    }

    #[test]
    fn a_plan_follows_from_its_seed() {
        let of =
            |seed| plan(50.0, Duration::from_secs(2), &mut SmallRng::seed_from_u64(seed), Rng::random::<u32>);
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }
}
