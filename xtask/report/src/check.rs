//! What no type can say: whether the parts of a document fit together.

use std::collections::{BTreeMap, BTreeSet};

use crate::document::{Document, Fault, Histogram, Sample};

/// A field that makes no sense beside the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impossible {
    /// Path from the top: `samples[3].metrics`.
    pub field: String,
    /// What is wrong, and with what.
    pub reason: String,
}

fn impossible<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Impossible> {
    Err(Impossible { field: field.into(), reason: reason.into() })
}

impl Document {
    /// Whether everything that is drawn from the document is there and makes sense.
    ///
    /// # Errors
    /// The first thing that is not or does not.
    pub fn check(&self) -> Result<(), Impossible> {
        let experiment = &self.experiment;
        let mut names = BTreeSet::new();
        for (i, metric) in experiment.metrics.iter().enumerate() {
            if !names.insert(metric.name.as_str()) {
                let field = format!("experiment.metrics[{i}].name");
                return impossible(field, format!("`{}` is declared twice", metric.name));
            }
        }
        if names.is_empty() {
            return impossible("experiment.metrics", "nothing is measured");
        }
        if experiment.panel.as_ref().is_some_and(|panel| panel.name == experiment.variable.name) {
            return impossible("experiment.panel", "the panel's parameter is the variable itself");
        }
        let setting = &self.setting;
        for (field, value) in [("cores", setting.cores), ("tsc_mhz", setting.tsc_mhz)] {
            if value == 0 {
                return impossible(format!("setting.{field}"), "cannot be 0");
            }
        }
        if self.samples.is_empty() {
            return impossible("samples", "there is none: the run ended before its first repetition");
        }
        for (i, sample) in self.samples.iter().enumerate() {
            self.check_sample(sample, &names).map_err(|inner| Impossible {
                field: format!("samples[{i}].{}", inner.field),
                reason: format!(
                    "{} (mode {}, repetition {})",
                    inner.reason,
                    sample.mode.name(),
                    sample.repetition
                ),
            })?;
        }
        for (i, reference) in self.references.iter().enumerate() {
            let field = format!("references[{i}]");
            if !names.contains(reference.metric.as_str()) {
                let reason = format!("metric `{}` is not declared", reference.metric);
                return impossible(format!("{field}.metric"), reason);
            }
            for (j, (parameters, value)) in reference.points.iter().enumerate() {
                self.check_point(parameters).map_err(|inner| Impossible {
                    field: format!("{field}.points[{j}].{}", inner.field),
                    reason: inner.reason,
                })?;
                finite(&format!("{field}.points[{j}]"), *value)?;
            }
        }
        Ok(())
    }

    fn check_sample(&self, sample: &Sample, declared: &BTreeSet<&str>) -> Result<(), Impossible> {
        self.check_point(&sample.parameters)?;
        for (name, value) in &sample.metrics {
            if !declared.contains(name.as_str()) {
                let reason = format!("`{name}` is not declared in experiment.metrics");
                return impossible("metrics", reason);
            }
            finite(&format!("metrics.{name}"), *value)?;
        }
        for (i, histogram) in sample.histograms.iter().enumerate() {
            check_histogram(&format!("histograms[{i}]"), histogram)?;
        }
        for (i, fault) in sample.faults.iter().enumerate() {
            check_fault(&format!("faults[{i}]"), fault)?;
        }
        Ok(())
    }

    /// Whether a point can be placed in a picture.
    fn check_point(&self, parameters: &BTreeMap<String, f64>) -> Result<(), Impossible> {
        let experiment = &self.experiment;
        let needed =
            [Some(("variable", &experiment.variable)), experiment.panel.as_ref().map(|p| ("panel", p))];
        for (role, parameter) in needed.into_iter().flatten() {
            if !parameters.contains_key(&parameter.name) {
                return impossible("parameters", format!("lacks the {role} `{}`", parameter.name));
            }
        }
        for (name, value) in parameters {
            finite(&format!("parameters.{name}"), *value)?;
        }
        Ok(())
    }
}

/// JSON has no other numbers, but documents are also made in memory.
fn finite(field: &str, value: f64) -> Result<(), Impossible> {
    if value.is_finite() { Ok(()) } else { impossible(field, format!("{value} is not a number")) }
}

fn check_histogram(field: &str, histogram: &Histogram) -> Result<(), Impossible> {
    let name = &histogram.name;
    if !(histogram.per_us.is_finite() && histogram.per_us > 0.0) {
        let reason = format!("`{name}`: {} of a unit in a microsecond", histogram.per_us);
        return impossible(format!("{field}.per_us"), reason);
    }
    for (i, pair) in histogram.buckets.windows(2).enumerate() {
        if pair[0].0 >= pair[1].0 {
            let reason = format!("`{name}`: {} does not come after {}", pair[1].0, pair[0].0);
            return impossible(format!("{field}.buckets[{}]", i + 1), reason);
        }
    }
    match histogram.buckets.iter().position(|&(_, count)| count == 0) {
        Some(i) => impossible(format!("{field}.buckets[{i}]"), format!("`{name}`: an empty bucket")),
        None => Ok(()),
    }
}

/// A ready may come ahead of its fault, so only the ends are in a fixed order.
fn check_fault(field: &str, fault: &Fault) -> Result<(), Impossible> {
    for (name, time) in [("parked", fault.parked), ("running", fault.running)] {
        if time < fault.fault {
            let reason = format!("{time} is before the fault itself, {}", fault.fault);
            return impossible(format!("{field}.{name}"), reason);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    fn refused(change: impl FnOnce(&mut Document)) -> (String, String) {
        let mut document = example::overlap(1);
        document.check().expect("the example is sound");
        change(&mut document);
        let error = document.check().expect_err("this is impossible");
        (error.field, error.reason)
    }

    #[test]
    fn a_sample_needs_its_place_in_the_picture() {
        let (field, reason) = refused(|d| {
            d.samples[4].parameters.remove("tasks");
        });
        assert_eq!(field, "samples[4].parameters");
        assert!(reason.starts_with("lacks the variable `tasks` (mode "), "{reason}");
        let (_, reason) = refused(|d| {
            d.samples[0].parameters.remove("page_latency_ms");
        });
        assert!(reason.starts_with("lacks the panel `page_latency_ms`"), "{reason}");
    }

    #[test]
    fn metrics_are_declared_once() {
        let (field, reason) = refused(|d| {
            d.samples[2].metrics.insert("parsecs".into(), 12.0);
        });
        assert_eq!(field, "samples[2].metrics");
        assert!(reason.contains("`parsecs` is not declared"), "{reason}");
        let (field, _) = refused(|d| {
            let twice = d.experiment.metrics[0].clone();
            d.experiment.metrics.push(twice);
        });
        assert_eq!(field, "experiment.metrics[2].name");
        assert_eq!(refused(|d| d.experiment.metrics.clear()).0, "experiment.metrics");
        let (field, _) = refused(|d| d.references[0].metric = "parsecs".into());
        assert_eq!(field, "references[0].metric");
    }

    #[test]
    fn histograms_are_sorted_and_have_a_unit() {
        let of = |d: &mut Document, change: &dyn Fn(&mut Histogram)| {
            let sample = d.samples.iter_mut().find(|s| !s.histograms.is_empty()).unwrap();
            change(&mut sample.histograms[0]);
        };
        let (field, reason) = refused(|d| of(d, &|h| h.buckets.swap(0, 1)));
        assert!(field.contains(".histograms[0].buckets[1]"), "{field}");
        assert!(reason.contains("does not come after"), "{reason}");
        assert!(refused(|d| of(d, &|h| h.buckets[1].1 = 0)).1.contains("an empty bucket"));
        assert!(refused(|d| of(d, &|h| h.per_us = 0.0)).0.ends_with(".per_us"));
    }

    #[test]
    fn faults_do_not_end_before_they_begin() {
        let (field, _) = refused(|d| {
            let sample = d.samples.iter_mut().find(|s| !s.faults.is_empty()).unwrap();
            sample.faults[1].running = sample.faults[1].fault - 1;
        });
        assert!(field.ends_with(".faults[1].running"), "{field}");
    }

    #[test]
    fn a_run_without_a_sample_has_nothing_to_draw() {
        assert_eq!(refused(|d| d.samples.clear()).0, "samples");
        assert_eq!(refused(|d| d.setting.tsc_mhz = 0).0, "setting.tsc_mhz");
        assert!(
            refused(|d| d.samples[0].metrics.insert("seconds".into(), f64::NAN).map(drop).unwrap())
                .1
                .contains("NaN is not a number")
        );
    }
}
