//! What requests ask of a key-value service.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Zipf};

/// A request to a key-value service, whose keys are numbers from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Reads the value of a key.
    Get(usize),
    /// Gives a key another value.
    Set(usize),
    /// Reads the values of consecutive keys from this one on.
    Scan(usize),
}

/// How often keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// Each as often as any other.
    Uniform,
    /// The k-th most popular one in proportion to k to the power of minus this exponent (YCSB has 0.99).
    Zipf(f64),
}

/// Shares of operations, and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Workload {
    /// Number of keys.
    pub keys: usize,
    /// How often each is asked for.
    pub popularity: Popularity,
    /// Share of SETs, 0 to 1.
    pub writes: f64,
    /// Share of SCANs, 0 to 1. All other requests are GETs.
    pub scans: f64,
}

/// A source of operations.
#[derive(Debug)]
pub struct Operations {
    workload: Workload,
    /// Keys by popularity: popular ones are not neighbours.
    keys: Vec<usize>,
    ranks: Option<Zipf<f64>>,
}

impl Workload {
    /// Returns a source of this workload's operations, whose popular keys `random` chooses.
    ///
    /// # Panics
    /// There are no keys, or the exponent is negative.
    pub fn operations(self, random: &mut impl Rng) -> Operations {
        assert!(self.keys > 0, "a workload without keys");
        let mut keys: Vec<usize> = (0..self.keys).collect();
        keys.shuffle(random);
        let ranks = match self.popularity {
            Popularity::Uniform => None,
            Popularity::Zipf(exponent) => {
                Some(Zipf::new(self.keys as f64, exponent).expect("an exponent that is not negative"))
            }
        };
        Operations { workload: self, keys, ranks }
    }
}

impl Operations {
    /// Draws the next operation.
    pub fn next(&self, random: &mut impl Rng) -> Operation {
        let rank = match &self.ranks {
            None => random.random_range(0..self.keys.len()),
            Some(ranks) => (ranks.sample(random) as usize).clamp(1, self.keys.len()) - 1,
        };
        let key = self.keys[rank];
        let kind: f64 = random.random();
        if kind < self.workload.scans {
            Operation::Scan(key)
        } else if kind < self.workload.scans + self.workload.writes {
            Operation::Set(key)
        } else {
            Operation::Get(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const WORKLOAD: Workload =
        Workload { keys: 1000, popularity: Popularity::Zipf(0.99), writes: 0.1, scans: 0.02 };

    fn drawn(workload: Workload, count: usize) -> Vec<Operation> {
        let mut random = SmallRng::seed_from_u64(1);
        let operations = workload.operations(&mut random);
        (0..count).map(|_| operations.next(&mut random)).collect()
    }

    fn times(operations: &[Operation], keys: usize) -> Vec<usize> {
        let mut times = vec![0; keys];
        for operation in operations {
            let (Operation::Get(key) | Operation::Set(key) | Operation::Scan(key)) = operation;
            times[*key] += 1;
        }
        times
    }

    #[test]
    fn operations_have_their_shares() {
        let drawn = drawn(WORKLOAD, 100_000);
        let share = |is: fn(&Operation) -> bool| drawn.iter().filter(|o| is(o)).count() as f64 / 100_000.0;
        assert!((share(|o| matches!(o, Operation::Set(_))) - 0.1).abs() < 0.005);
        assert!((share(|o| matches!(o, Operation::Scan(_))) - 0.02).abs() < 0.002);
    }

    #[test]
    fn the_second_most_popular_key_is_asked_for_about_half_as_often_as_the_first() {
        let mut times = times(&drawn(WORKLOAD, 200_000), WORKLOAD.keys);
        times.sort_unstable_by(|a, b| b.cmp(a));
        let ratio = times[0] as f64 / times[1] as f64;
        assert!((ratio - 2_f64.powf(0.99)).abs() < 0.1, "{ratio}");
        assert!(times.iter().filter(|&&times| times > 0).count() > 990, "the rare ones are asked for, too");
    }

    #[test]
    fn uniform_keys_are_asked_for_equally_often() {
        let uniform = Workload { popularity: Popularity::Uniform, keys: 10, ..WORKLOAD };
        assert!(times(&drawn(uniform, 100_000), 10).iter().all(|times| (9_500..10_500).contains(times)));
    }
}
