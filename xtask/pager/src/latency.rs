//! Latency of page-ins: [`Sampler`] draws it from a model, [`Latency`].

use apf_vocabulary::pager::Latency;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, Exp, LogNormal};
use std::time::Duration;

/// Upper limit of a latency: the tail of a distribution must not look like a hang.
const LONGEST: Duration = Duration::from_secs(10);

/// A source of one latency per fault, the same sequence for the same model and seed.
#[derive(Debug)]
pub struct Sampler {
    model: Latency,
    course: Course,
    rng: SmallRng,
}

/// A model with checked parameters; durations in microseconds.
#[derive(Debug)]
enum Course {
    Constant(u64),
    Uniform(u64, u64),
    Exponential(Exp<f64>),
    Lognormal(LogNormal<f64>),
    Bimodal { usual: u64, rare: u64, rare_share: f64 },
    Replay { next: usize },
}

impl Sampler {
    /// Makes a sampler.
    ///
    /// # Errors
    /// A parameter is impossible; the message names it.
    pub fn new(model: Latency, seed: u64) -> Result<Self, String> {
        let course = match model {
            Latency::Constant { micros } => Course::Constant(micros),
            Latency::Uniform { from_micros, to_micros } if from_micros <= to_micros => {
                Course::Uniform(from_micros, to_micros)
            }
            Latency::Uniform { from_micros, to_micros } => {
                return Err(format!("from_micros {from_micros} is above to_micros {to_micros}"));
            }
            Latency::Exponential { mean_micros } => {
                // A mean of 0 has no rate: every latency is 0.
                Exp::new(1.0 / mean_micros as f64)
                    .ok()
                    .filter(|_| mean_micros > 0)
                    .map_or(Course::Constant(0), Course::Exponential)
            }
            Latency::Lognormal { median_micros, sigma } if median_micros > 0 => {
                LogNormal::new((median_micros as f64).ln(), sigma)
                    .map(Course::Lognormal)
                    .map_err(|error| format!("sigma {sigma}: {error}"))?
            }
            Latency::Lognormal { .. } => Course::Constant(0),
            Latency::Bimodal { usual_micros, rare_micros, rare_share } => {
                if !(0.0..=1.0).contains(&rare_share) {
                    return Err(format!("rare_share {rare_share} is not between 0 and 1"));
                }
                Course::Bimodal { usual: usual_micros, rare: rare_micros, rare_share }
            }
            Latency::Replay { ref micros } if micros.is_empty() => {
                return Err("micros is empty: a replay needs at least one latency".into());
            }
            Latency::Replay { .. } => Course::Replay { next: 0 },
        };
        Ok(Self { model, course, rng: SmallRng::seed_from_u64(seed) })
    }

    pub fn model(&self) -> &Latency {
        &self.model
    }

    /// Draws the latency of the next fault.
    pub fn sample(&mut self) -> Duration {
        let rng = &mut self.rng;
        let micros = match &mut self.course {
            Course::Constant(micros) => *micros,
            Course::Uniform(from, to) => rng.random_range(*from..=*to),
            // Casts of floats saturate.
            Course::Exponential(distribution) => distribution.sample(rng) as u64,
            Course::Lognormal(distribution) => distribution.sample(rng) as u64,
            Course::Bimodal { usual, rare, rare_share } => {
                if rng.random_bool(*rare_share) {
                    *rare
                } else {
                    *usual
                }
            }
            Course::Replay { next } => {
                let Latency::Replay { micros } = &self.model else { return Duration::ZERO };
                let micros = micros[*next % micros.len()];
                *next += 1;
                micros
            }
        };
        Duration::from_micros(micros).min(LONGEST)
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            model: Latency::Constant { micros: 0 },
            course: Course::Constant(0),
            rng: SmallRng::seed_from_u64(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 20_000;

    /// Draws latencies, sorted, in microseconds.
    fn draws(model: Latency) -> Vec<u64> {
        let mut sampler = Sampler::new(model, 1).unwrap();
        let mut all: Vec<u64> = (0..DRAWS).map(|_| sampler.sample().as_micros() as u64).collect();
        all.sort_unstable();
        all
    }

    fn mean(all: &[u64]) -> f64 {
        all.iter().sum::<u64>() as f64 / all.len() as f64
    }

    fn about(value: f64, expected: f64) -> bool {
        (value / expected - 1.0).abs() < 0.05
    }

    #[test]
    fn a_constant_latency_is_always_the_same() {
        let all = draws(Latency::Constant { micros: 250 });
        assert!(all.iter().all(|&micros| micros == 250));
        assert_eq!(Sampler::default().sample(), Duration::ZERO);
    }

    #[test]
    fn a_uniform_latency_fills_the_range_between_its_bounds() {
        let all = draws(Latency::Uniform { from_micros: 1_000, to_micros: 5_000 });
        assert!(all[0] >= 1_000 && all[DRAWS - 1] <= 5_000);
        assert!(about(mean(&all), 3_000.0) && about(all[DRAWS / 4] as f64, 2_000.0), "{}", mean(&all));
    }

    #[test]
    fn an_exponential_latency_has_its_mean_and_its_median() {
        let all = draws(Latency::Exponential { mean_micros: 20_000 });
        assert!(about(mean(&all), 20_000.0), "{}", mean(&all));
        assert!(about(all[DRAWS / 2] as f64, 20_000.0 * 2_f64.ln()));
        assert!(draws(Latency::Exponential { mean_micros: 0 }).iter().all(|&micros| micros == 0));
    }

    #[test]
    fn a_lognormal_latency_has_its_median_and_its_tail() {
        let all = draws(Latency::Lognormal { median_micros: 20_000, sigma: 0.5 });
        assert!(about(all[DRAWS / 2] as f64, 20_000.0), "{}", all[DRAWS / 2]);
        // The 84th percentile of a normal distribution is one standard deviation up.
        assert!(about(all[DRAWS * 8413 / 10_000] as f64, 20_000.0 * 0.5_f64.exp()));
        assert!(draws(Latency::Lognormal { median_micros: 5_000_000, sigma: 3.0 })[DRAWS - 1] == 10_000_000);
    }

    #[test]
    fn a_bimodal_latency_is_one_of_two_values() {
        let all = draws(Latency::Bimodal { usual_micros: 1_000, rare_micros: 50_000, rare_share: 0.1 });
        let rare = all.iter().filter(|&&micros| micros == 50_000).count();
        assert!(all.iter().all(|&micros| micros == 1_000 || micros == 50_000));
        assert!((rare as f64 / DRAWS as f64 - 0.1).abs() < 0.01, "{rare}");
    }

    #[test]
    fn a_replay_starts_again_after_its_last_latency() {
        let mut sampler = Sampler::new(Latency::Replay { micros: vec![3, 1, 2] }, 9).unwrap();
        let five: Vec<_> = (0..5).map(|_| sampler.sample().as_micros()).collect();
        assert_eq!(five, [3, 1, 2, 3, 1]);
    }

    #[test]
    fn the_same_seed_gives_the_same_latencies() {
        let five = |seed| {
            let mut sampler = Sampler::new(Latency::Exponential { mean_micros: 1_000 }, seed).unwrap();
            [(); 5].map(|()| sampler.sample())
        };
        assert_eq!(five(1), five(1));
        assert_ne!(five(1), five(2));
    }

    #[test]
    fn an_impossible_parameter_is_named() {
        for (model, parameter) in [
            (Latency::Uniform { from_micros: 2, to_micros: 1 }, "from_micros"),
            (Latency::Lognormal { median_micros: 1, sigma: f64::NAN }, "sigma"),
            (Latency::Bimodal { usual_micros: 1, rare_micros: 2, rare_share: 1.5 }, "rare_share"),
            (Latency::Replay { micros: vec![] }, "micros"),
        ] {
            let error = Sampler::new(model, 1).unwrap_err();
            assert!(error.contains(parameter), "{error}");
        }
    }
}
