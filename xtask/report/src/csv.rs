//! One row for each sample, for any other program.

use std::collections::BTreeSet;

use crate::document::{Document, Sample};

/// The table, header first. Parameters and metrics have their own names, counts begin with
/// `count_`. A cell is empty where a sample has no value.
pub fn table(document: &Document) -> Vec<u8> {
    let samples = &document.samples;
    let parameters = names(samples.iter().flat_map(|sample| sample.parameters.keys()));
    let counts = names(samples.iter().flat_map(|sample| sample.counts.keys()));
    let metrics: Vec<&str> = document.experiment.metrics.iter().map(|metric| metric.name.as_str()).collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut header: Vec<String> =
        ["experiment", "mode", "repetition", "boot"].into_iter().map(str::to_owned).collect();
    header.extend(parameters.iter().chain(&metrics).map(|name| (*name).to_owned()));
    header.extend(counts.iter().map(|name| format!("count_{name}")));
    writer.write_record(&header).expect("memory takes it");
    for sample in samples {
        let Sample { mode, repetition, boot, .. } = sample;
        let mut row = vec![
            document.experiment.name.clone(),
            mode.name().to_owned(),
            repetition.to_string(),
            boot.to_string(),
        ];
        row.extend(parameters.iter().map(|&name| cell(sample.parameters.get(name))));
        row.extend(metrics.iter().map(|&name| cell(sample.metrics.get(name))));
        row.extend(counts.iter().map(|&name| cell(sample.counts.get(name))));
        writer.write_record(&row).expect("as wide as the header");
    }
    writer.into_inner().expect("memory takes it")
}

fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    all.map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
}

fn cell(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;

    #[test]
    fn every_sample_is_a_row_and_every_number_comes_back() {
        let mut document = example::small().document();
        document.samples[1].counts.clear();
        let table = table(&document);
        let mut reader = ::csv::Reader::from_reader(table.as_slice());
        let header = reader.headers().unwrap().clone();
        assert_eq!(
            header.iter().collect::<Vec<_>>().join(","),
            "experiment,mode,repetition,boot,page_latency_ms,pages,tasks,seconds,computing_kept_percent,\
             count_host_not_present,count_not_present"
        );
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), document.samples.len());
        for (row, sample) in rows.iter().zip(&document.samples) {
            assert_eq!(&row[1], sample.mode.name());
            assert_eq!(row[7].parse::<f64>().unwrap().to_bits(), sample.metrics["seconds"].to_bits());
        }
        assert_eq!((&rows[0][10], &rows[1][10]), ("64", ""));
    }
}
