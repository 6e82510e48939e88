//! Fields that must be the same in two reports, so that their difference means something.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::Report;
use crate::document::{Document, Sample};

/// Reasons why two reports cannot be compared: all, not only the first.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("these reports cannot be compared: {}", reasons.join("; "))]
pub struct NotComparable {
    /// The field, and both values.
    pub reasons: Vec<String>,
}

impl NotComparable {
    /// For reports of one kind that hold nothing to compare.
    pub fn nothing_to_judge() -> Self {
        let reason = "no metric has at least three repetitions at one point in both; \
                      repeat the experiment with more `--repetitions`";
        Self { reasons: vec![reason.into()] }
    }
}

/// Finds the differences that are allowed.
///
/// # Errors
/// The differences that are not.
pub fn check(a: &Report, b: &Report) -> Result<Vec<String>, NotComparable> {
    let mut reasons: Vec<String> =
        required(a).into_iter().zip(required(b)).filter_map(|(a, b)| differing(&a, &b)).collect();
    if reasons.is_empty() {
        reasons.extend(declared(a, b));
        reasons.extend(constants(a, b));
        if !a.points().any(|point| b.has(point)) {
            reasons.push(format!("they have no value of `{}` in common", a.experiment.variable.name));
        }
    }
    if !reasons.is_empty() {
        return Err(NotComparable { reasons });
    }
    let mut notes: Vec<String> =
        known(a).into_iter().zip(known(b)).filter_map(|(a, b)| differing(&a, &b)).collect();
    notes.extend(only_in_one(a, b));
    notes.extend(broken_claims(a, b));
    Ok(notes)
}

type Field = (&'static str, String);

fn differing((name, a): &Field, (_, b): &Field) -> Option<String> {
    (a != b).then(|| format!("{name} is {a} in the first and {b} in the second"))
}

fn required(document: &Document) -> Vec<Field> {
    let (experiment, setting) = (&document.experiment, &document.setting);
    let panel = experiment.panel.as_ref().map_or("none", |panel| panel.name.as_str());
    let mut fields = vec![
        ("experiment.name", experiment.name.clone()),
        ("experiment.variable", experiment.variable.name.clone()),
        ("experiment.panel", panel.to_owned()),
        ("setting.host", setting.host.clone()),
        ("setting.exact", setting.exact.to_string()),
        ("setting.vmm", setting.vmm.clone()),
        ("setting.cores", setting.cores.to_string()),
        ("setting.memory_mib", setting.memory_mib.to_string()),
        ("setting.page_latency", setting.page_latency.clone()),
        ("setting.evict", setting.evict.clone()),
    ];
    // Counted instructions are the same on every processor.
    if !setting.exact {
        fields.push(("setting.processor", setting.processor.clone()));
    }
    fields
}

fn known(document: &Document) -> Vec<Field> {
    let setting = &document.setting;
    vec![
        ("setting.host_kernel", setting.host_kernel.clone()),
        ("setting.vmm_version", setting.vmm_version.clone()),
        ("setting.guest_kernel", setting.guest_kernel.clone()),
        ("setting.seed", setting.seed.to_string()),
    ]
}

/// Metrics of one name that mean something else.
fn declared(a: &Document, b: &Document) -> Vec<String> {
    let metrics = &b.experiment.metrics;
    let pairs = a.experiment.metrics.iter().filter_map(|metric| {
        metrics.iter().find(|other| other.name == metric.name).map(|other| (metric, other))
    });
    let mut reasons: Vec<String> = pairs
        .clone()
        .filter(|(a, b)| a.better != b.better)
        .map(|(a, b)| {
            let (name, a, b) = (&a.name, a.better, b.better);
            format!("of {name}, {a:?} is better in the first and {b:?} in the second").to_lowercase()
        })
        .collect();
    if pairs.count() == 0 {
        reasons.push("they have no metric in common".into());
    }
    reasons
}

/// Parameters beside the variable and the panel that have one value in each report, and not the same.
fn constants(a: &Document, b: &Document) -> Vec<String> {
    let (a, b) = (constant(a), constant(b));
    let both = a.iter().filter_map(|(name, value)| b.get(name).map(|other| (name, value, other)));
    both.filter(|(_, a, b)| a != b)
        .map(|(name, a, b)| format!("parameter {name} is {a} in the first and {b} in the second"))
        .collect()
}

fn constant(document: &Document) -> BTreeMap<&str, f64> {
    let experiment = &document.experiment;
    let placed: Vec<&str> = [Some(&experiment.variable), experiment.panel.as_ref()]
        .into_iter()
        .flatten()
        .map(|parameter| parameter.name.as_str())
        .collect();
    let first: &Sample = &document.samples[0];
    let same = |name: &str, value: f64| {
        document.samples.iter().all(|sample| sample.parameters.get(name) == Some(&value))
    };
    let others = first.parameters.iter().map(|(name, value)| (name.as_str(), *value));
    others.filter(|(name, value)| !placed.contains(name) && same(name, *value)).collect()
}

fn only_in_one(a: &Report, b: &Report) -> Vec<String> {
    let counts = [("first", a, b), ("second", b, a)]
        .map(|(which, here, there)| (which, here.points().filter(|point| !there.has(*point)).count()));
    let some = counts.into_iter().filter(|(_, count)| *count > 0);
    some.map(|(which, count)| format!("{count} points are in the {which} only, and left out")).collect()
}

fn broken_claims(a: &Document, b: &Document) -> Vec<String> {
    let held: Vec<&str> =
        a.claims.iter().filter(|claim| claim.holds).map(|claim| claim.text.as_str()).collect();
    let broken = b.claims.iter().filter(|claim| !claim.holds && held.contains(&claim.text.as_str()));
    broken.map(|claim| format!("no longer holds: {} ({})", claim.text, claim.measured)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Better;
    use crate::example;

    fn refused(change: impl FnOnce(&mut Document)) -> String {
        let a = example::small().document();
        let mut b = a.clone();
        change(&mut b);
        check(&example::report(a), &example::report(b)).expect_err("not comparable").to_string()
    }

    #[test]
    fn reports_of_other_kinds_are_refused_with_the_field_and_both_values() {
        let error = refused(|b| b.setting.vmm = "qemu".into());
        assert!(error.contains("setting.vmm is uhyve in the first and qemu in the second"), "{error}");
        let error = refused(|b| (b.setting.cores, b.setting.memory_mib) = (4, 512));
        assert!(
            error.contains("setting.cores is 1") && error.contains("setting.memory_mib is 256"),
            "{error}"
        );
        for (change, field) in [
            ((|b| b.experiment.name = "tail".into()) as fn(&mut Document), "experiment.name"),
            (|b| b.setting.host = "native".into(), "setting.host"),
            (|b| b.setting.exact = true, "setting.exact"),
            (|b| b.setting.page_latency = "1ms".into(), "setting.page_latency"),
            (|b| b.setting.evict = "lru:0.5".into(), "setting.evict"),
            (|b| b.setting.processor = "another".into(), "setting.processor"),
            (|b| b.experiment.panel = None, "experiment.panel"),
        ] {
            assert!(refused(change).contains(field), "{field}");
        }
    }

    #[test]
    fn a_parameter_that_is_constant_in_both_must_be_the_same() {
        let error = refused(|b| {
            b.samples.iter_mut().for_each(|s| s.parameters.extend([("pages".into(), 9.0)]));
        });
        assert!(error.contains("parameter pages is 64 in the first and 9 in the second"), "{error}");
    }

    #[test]
    fn metrics_must_mean_the_same() {
        let error = refused(|b| b.experiment.metrics[0].better = Better::Higher);
        assert!(error.contains("of seconds, lower is better in the first and higher"), "{error}");
        let error = refused(|b| {
            b.experiment.metrics.iter_mut().for_each(|metric| metric.name += "_");
            for sample in &mut b.samples {
                sample.metrics = std::mem::take(&mut sample.metrics)
                    .into_iter()
                    .map(|(name, it)| (name + "_", it))
                    .collect();
            }
            b.references.iter_mut().for_each(|reference| reference.metric += "_");
        });
        assert!(error.contains("no metric in common"), "{error}");
    }

    #[test]
    fn reports_without_a_common_point_are_refused() {
        let error = refused(|b| {
            b.samples.iter_mut().for_each(|s| s.parameters.extend([("tasks".into(), 7.0)]));
        });
        assert!(error.contains("no value of `tasks` in common"), "{error}");
    }

    #[test]
    fn counted_instructions_are_the_same_on_every_processor() {
        let mut a = example::small().document();
        a.setting.exact = true;
        let mut b = a.clone();
        b.setting.processor = "another".into();
        assert_eq!(check(&example::report(a), &example::report(b)), Ok(vec![]));
    }

    #[test]
    fn allowed_differences_are_noted() {
        let a = example::small().document();
        let mut b = a.clone();
        b.setting.seed = 2;
        b.claims[0].holds = false;
        b.samples.retain(|sample| sample.parameters["tasks"] == 1.0);
        let notes = check(&example::report(a), &example::report(b)).unwrap().join("\n");
        for note in ["setting.seed is 1", "no longer holds: 64 tasks", "1 points are in the first only"] {
            assert!(notes.contains(note), "{notes}");
        }
    }
}
