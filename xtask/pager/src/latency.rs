//! How long a page-in takes: [`Latency`] says it, [`Sampler`] draws from it.

use crate::protocol::Latency;
use std::time::Duration;

/// Draws one latency per fault. A model with a random or recorded course keeps its position here.
#[derive(Debug)]
pub struct Sampler {
    model: Latency,
}

impl Sampler {
    pub fn new(model: Latency) -> Self {
        Self { model }
    }

    pub fn model(&self) -> &Latency {
        &self.model
    }

    /// The latency of the next fault.
    pub fn sample(&mut self) -> Duration {
        match self.model {
            Latency::Constant { micros } => Duration::from_micros(micros),
        }
    }
}

impl Default for Sampler {
    fn default() -> Self {
        Self::new(Latency::Constant { micros: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_is_constant() {
        let mut sampler = Sampler::new(Latency::Constant { micros: 250 });
        for _ in 0..3 {
            assert_eq!(sampler.sample(), Duration::from_micros(250));
        }
    }

    #[test]
    fn no_latency_by_default() {
        assert_eq!(Sampler::default().sample(), Duration::ZERO);
    }
}
