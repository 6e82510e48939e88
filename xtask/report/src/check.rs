//! Checks that no type can make: the parts of a document fit together.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use crate::document::{Document, Experiment, Fault, Histogram, Sample};
use crate::visible::visible;

/// A field that makes no sense beside the others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("field {field}: {reason}")]
pub struct Impossible {
    /// Path from the top: `samples[3].metrics`.
    pub field: String,
    /// The fault, and the value that has it.
    pub reason: String,
}

fn impossible<T>(field: impl Into<String>, reason: impl Into<String>) -> Result<T, Impossible> {
    Err(Impossible { field: visible(&field.into()), reason: visible(&reason.into()) })
}

/// Checks that all that is drawn from a document is there and makes sense.
///
/// # Errors
/// The first field that is not or does not.
pub fn check(document: &Document) -> Result<(), Impossible> {
    let Document { experiment, setting, samples, references, .. } = document;
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
    for (field, value) in [("cores", setting.cores), ("tsc_mhz", setting.tsc_mhz)] {
        if value == 0 {
            return impossible(format!("setting.{field}"), "cannot be 0");
        }
    }
    if samples.is_empty() {
        return impossible("samples", "there is none: the run ended before its first repetition");
    }
    let mut durations = 0;
    for (i, sample) in samples.iter().enumerate() {
        check_sample(experiment, sample, &names, &mut durations).map_err(|inner| Impossible {
            field: format!("samples[{i}].{}", inner.field),
            reason: format!(
                "{} (mode {}, repetition {})",
                inner.reason,
                sample.mode.name(),
                sample.repetition
            ),
        })?;
    }
    for (i, reference) in references.iter().enumerate() {
        let field = format!("references[{i}]");
        if !names.contains(reference.metric.as_str()) {
            let reason = format!("metric `{}` is not declared", reference.metric);
            return impossible(format!("{field}.metric"), reason);
        }
        for (j, (parameters, value)) in reference.points.iter().enumerate() {
            check_point(experiment, parameters).map_err(|inner| Impossible {
                field: format!("{field}.points[{j}].{}", inner.field),
                reason: inner.reason,
            })?;
            check_number(&format!("{field}.points[{j}]"), *value)?;
        }
    }
    Ok(())
}

fn check_sample(
    experiment: &Experiment,
    sample: &Sample,
    declared: &BTreeSet<&str>,
    durations: &mut u64,
) -> Result<(), Impossible> {
    check_point(experiment, &sample.parameters)?;
    for (name, value) in &sample.metrics {
        if !declared.contains(name.as_str()) {
            let reason = format!("`{name}` is not declared in experiment.metrics");
            return impossible("metrics", reason);
        }
        check_number(&format!("metrics.{name}"), *value)?;
    }
    for (i, histogram) in sample.histograms.iter().enumerate() {
        check_histogram(&format!("histograms[{i}]"), histogram, durations)?;
    }
    for (i, fault) in sample.faults.iter().enumerate() {
        check_fault(&format!("faults[{i}]"), fault)?;
    }
    Ok(())
}

/// Checks that a point has a place in a picture.
fn check_point(experiment: &Experiment, parameters: &BTreeMap<String, f64>) -> Result<(), Impossible> {
    let needed =
        [Some(("variable", &experiment.variable)), experiment.panel.as_ref().map(|panel| ("panel", panel))];
    for (role, parameter) in needed.into_iter().flatten() {
        if !parameters.contains_key(&parameter.name) {
            return impossible("parameters", format!("lacks the {role} `{}`", parameter.name));
        }
    }
    parameters.iter().try_for_each(|(name, value)| check_number(&format!("parameters.{name}"), *value))
}

/// Beyond it, sums and differences of two numbers are no numbers any more.
const LARGEST: f64 = 1e300;

/// Durations of a document; up to here, floating point counts each.
const MOST_DURATIONS: u64 = 1 << 53;

/// JSON has no other numbers than finite ones, but documents are also made in memory.
fn check_number(field: &str, value: f64) -> Result<(), Impossible> {
    match value {
        _ if !value.is_finite() => impossible(field, format!("{value} is not a number")),
        _ if value.abs() > LARGEST => impossible(field, format!("{value:e} is beyond {LARGEST:e}")),
        _ => Ok(()),
    }
}

fn check_histogram(field: &str, histogram: &Histogram, durations: &mut u64) -> Result<(), Impossible> {
    let Histogram { name, per_us, buckets } = histogram;
    if !(1e-6..=1e9).contains(per_us) {
        let reason = format!("`{name}`: {per_us} of a unit in a microsecond; from 1e-6 to 1e9 is possible");
        return impossible(format!("{field}.per_us"), reason);
    }
    for (i, pair) in buckets.windows(2).enumerate() {
        if pair[0].0 >= pair[1].0 {
            let reason = format!("`{name}`: {} does not come after {}", pair[1].0, pair[0].0);
            return impossible(format!("{field}.buckets[{}]", i + 1), reason);
        }
    }
    for (i, (_, count)) in buckets.iter().enumerate() {
        *durations = durations.saturating_add(*count);
        if *count == 0 {
            return impossible(format!("{field}.buckets[{i}]"), format!("`{name}`: an empty bucket"));
        }
        if *durations > MOST_DURATIONS {
            let reason = format!("`{name}`: with this bucket, more than {MOST_DURATIONS} durations in all");
            return impossible(format!("{field}.buckets[{i}]"), reason);
        }
    }
    Ok(())
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
        check(&document).expect("the example is sound");
        change(&mut document);
        let error = check(&document).expect_err("this is impossible");
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
        for per_us in [0.0, -1.0, 5e-324, 1e300, f64::NAN] {
            assert!(refused(|d| of(d, &|h| h.per_us = per_us)).0.ends_with(".per_us"), "{per_us}");
        }
        let (field, reason) = refused(|d| of(d, &|h| h.buckets[1].1 = u64::MAX));
        assert!(field.ends_with("buckets[1]") && reason.contains("more than 9007199254740992"), "{reason}");
    }

    #[test]
    fn a_fault_does_not_end_before_it_starts() {
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
        let (field, reason) = refused(|d| d.references[0].points[2].1 = -1e301);
        assert_eq!((field.as_str(), reason.as_str()), ("references[0].points[2]", "-1e301 is beyond 1e300"));
    }
}
