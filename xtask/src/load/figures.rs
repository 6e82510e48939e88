//! Figures of a load: latencies by operation, and counts.

use std::time::Duration;

use apf_load::Operation;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::request::Outcome;
use super::sender::Ended;

/// The longest latency that is told from longer ones, in nanoseconds: an hour.
const LONGEST: u64 = 3_600_000_000_000;

/// Wrong replies that are shown.
const SHOWN: usize = 3;

/// Percentiles of times in milliseconds, as exact as 1 in 1000.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentiles {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    #[serde(rename = "p99.9_ms")]
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// Times that are collected.
#[derive(Debug)]
struct Times(Histogram<u64>);

impl Times {
    fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, 3).expect("constant bounds"))
    }

    fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns the percentiles, `None` without times.
    fn percentiles(&self) -> Option<Percentiles> {
        let ms = |nanoseconds: f64| nanoseconds / 1e6;
        let at = |quantile| ms(self.0.value_at_quantile(quantile) as f64);
        (!self.0.is_empty()).then(|| Percentiles {
            count: self.0.len(),
            mean_ms: ms(self.0.mean()),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: ms(self.0.max() as f64),
        })
    }
}

/// Figures of the requests whose planned starts lie in the measured time.
#[derive(Debug)]
pub struct Figures {
    warm_up: Duration,
    duration: Duration,
    gets: Times,
    sets: Times,
    scans: Times,
    all: Times,
    /// Of replies that came in the measured time, also to earlier requests.
    from_sending: Times,
    late: Times,
    unanswered: u64,
    absent: u64,
    wrong: u64,
    refused: u64,
    first_faults: Vec<String>,
}

/// A load's figures in a form that is printed.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Requests a second as planned, on average.
    pub offered_per_second: f64,
    /// Replies a second in the measured time.
    pub served_per_second: f64,
    /// Latencies from the planned start.
    pub all: Option<Percentiles>,
    pub get: Option<Percentiles>,
    pub set: Option<Percentiles>,
    pub scan: Option<Percentiles>,
    /// Times from sending to the reply, as a closed loop measures them, of the replies in the measured
    /// time.
    pub from_sending: Option<Percentiles>,
    /// Times by which this program itself was late, of the same requests: a start had come, a
    /// connection was free.
    pub late: Option<Percentiles>,
    /// Requests without a reply in time; they count in the latencies with their age at the end.
    pub unanswered: u64,
    /// Keys without a value.
    pub absent: u64,
    /// Wrong replies.
    pub wrong: u64,
    /// Replies that were errors.
    pub refused: u64,
    /// The first of these.
    #[serde(skip)]
    pub first_faults: Vec<String>,
}

impl Figures {
    /// Starts for a load of `duration` after `warm_up`.
    pub fn new(warm_up: Duration, duration: Duration) -> Self {
        let [gets, sets, scans, all, from_sending, late] = std::array::from_fn(|_| Times::new());
        Self {
            warm_up,
            duration,
            gets,
            sets,
            scans,
            all,
            from_sending,
            late,
            unanswered: 0,
            absent: 0,
            wrong: 0,
            refused: 0,
            first_faults: vec![],
        }
    }

    /// Counts a request.
    pub fn count(&mut self, ended: &Ended) {
        let is_answered = ended.outcome != Outcome::Unanswered;
        let measured = self.warm_up..self.warm_up + self.duration;
        if let Some(sent) = ended.sent
            && is_answered
            && measured.contains(&ended.at)
        {
            self.late.record(ended.late);
            self.from_sending.record(ended.at.saturating_sub(sent));
        }
        // A fault is one also before the measured time.
        match &ended.outcome {
            Outcome::Wrong(text) => {
                self.wrong += 1;
                self.note(format!("wrong: {text}"));
            }
            Outcome::Refused(text) => {
                self.refused += 1;
                self.note(format!("refused: {text}"));
            }
            Outcome::Right { absent } => self.absent += absent,
            Outcome::Unanswered => {}
        }
        if !measured.contains(&ended.request.at) {
            return;
        }
        self.unanswered += u64::from(!is_answered);
        let latency = ended.at.saturating_sub(ended.request.at);
        self.all.record(latency);
        match ended.request.request {
            Operation::Get(_) => self.gets.record(latency),
            Operation::Set(_) => self.sets.record(latency),
            Operation::Scan(_) => self.scans.record(latency),
        }
    }

    fn note(&mut self, text: String) {
        if self.first_faults.len() < SHOWN {
            self.first_faults.push(text);
        }
    }

    /// Returns the figures of a load of so many planned requests a second.
    pub fn summary(self, offered_per_second: f64) -> Summary {
        Summary {
            offered_per_second,
            served_per_second: self.from_sending.0.len() as f64 / self.duration.as_secs_f64(),
            all: self.all.percentiles(),
            get: self.gets.percentiles(),
            set: self.sets.percentiles(),
            scan: self.scans.percentiles(),
            from_sending: self.from_sending.percentiles(),
            late: self.late.percentiles(),
            unanswered: self.unanswered,
            absent: self.absent,
            wrong: self.wrong,
            refused: self.refused,
            first_faults: self.first_faults,
        }
    }
}

impl Summary {
    /// Names of the columns of [`lines`](Self::lines).
    pub fn heading() -> String {
        format!(
            "{:>10}{:>10}  {:<14}{:>9}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "offered/s", "served/s", "ms, of", "count", "p50", "p90", "p99", "p99.9", "max"
        )
    }

    /// Returns a line for each kind of time, and one for each count that is not as it should be.
    pub fn lines(&self) -> Vec<String> {
        let kinds = [
            ("all", &self.all),
            ("GET", &self.get),
            ("SET", &self.set),
            ("SCAN", &self.scan),
            ("from sending", &self.from_sending),
        ];
        let rates = format!("{:>10.1}{:>10.1}", self.offered_per_second, self.served_per_second);
        let present = kinds.iter().filter_map(|(kind, times)| Some((kind, times.as_ref()?)));
        let mut lines: Vec<String> = present
            .enumerate()
            .map(|(row, (kind, times))| {
                let rates = if row == 0 { rates.as_str() } else { "" };
                let cells = [times.p50_ms, times.p90_ms, times.p99_ms, times.p999_ms, times.max_ms];
                let cells: String = cells.iter().map(|ms| format!("{ms:>10.3}")).collect();
                format!("{rates:>20}  {kind:<14}{:>9}{cells}", times.count)
            })
            .collect();
        for (count, text) in [
            (self.unanswered, "unanswered when the time was over: they count with their age, which is less"),
            (self.absent, "keys without a value"),
            (self.wrong, "wrong replies"),
            (self.refused, "replies that are errors"),
        ] {
            lines.extend((count > 0).then(|| format!("{:>20}  {count} {text}", "")));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apf_load::Planned;

    const SECOND: Duration = Duration::from_secs(1);

    fn ended(request: Operation, planned_ms: u64, sent_ms: u64, at_ms: u64) -> Ended {
        let request = Planned { at: Duration::from_millis(planned_ms), request };
        let [sent, at] = [sent_ms, at_ms].map(Duration::from_millis);
        let outcome = Outcome::Right { absent: 0 };
        Ended { request, sent: Some(sent), late: Duration::ZERO, at, outcome }
    }

    fn is_near(ms: f64, expected: f64) -> bool {
        (ms - expected).abs() <= expected / 500.0
    }

    #[test]
    fn a_latency_counts_from_the_planned_start() {
        let mut figures = Figures::new(SECOND, SECOND);
        figures.count(&ended(Operation::Get(1), 1_000, 1_300, 1_500));
        let summary = figures.summary(1.0);
        let (all, from_sending) = (summary.all.unwrap(), summary.from_sending.unwrap());
        assert!(
            is_near(all.p50_ms, 500.0) && is_near(from_sending.p50_ms, 200.0),
            "{all:?} {from_sending:?}"
        );
        assert!(summary.set.is_none() && summary.get.is_some());
    }

    #[test]
    fn only_requests_planned_in_the_measured_time_have_a_latency() {
        let mut figures = Figures::new(SECOND, SECOND);
        figures.count(&ended(Operation::Get(1), 999, 999, 1_500));
        figures.count(&ended(Operation::Set(1), 1_999, 2_000, 2_500));
        let summary = figures.summary(2.0);
        assert_eq!(summary.served_per_second, 1.0, "the reply to the first came in it");
        assert_eq!((summary.all.unwrap().count, summary.set.unwrap().count), (1, 1));
    }

    #[test]
    fn a_request_without_a_reply_is_as_old_as_it_is_at_the_end() {
        let mut figures = Figures::new(Duration::ZERO, SECOND);
        for _ in 0..99 {
            figures.count(&ended(Operation::Get(1), 0, 0, 10));
        }
        let unanswered =
            Ended { sent: None, outcome: Outcome::Unanswered, ..ended(Operation::Get(1), 500, 0, 6_500) };
        figures.count(&unanswered);
        let summary = figures.summary(100.0);
        assert_eq!((summary.unanswered, summary.served_per_second), (1, 99.0));
        assert!(is_near(summary.all.unwrap().max_ms, 6_000.0) && is_near(summary.all.unwrap().p99_ms, 10.0));
        assert_eq!(summary.from_sending.unwrap().count, 99);
        assert!(summary.lines().iter().any(|line| line.contains("1 unanswered")));
    }

    #[test]
    fn faults_count_at_any_time_and_the_first_are_shown() {
        let mut figures = Figures::new(SECOND, SECOND);
        for fault in [Outcome::Wrong("a".into()), Outcome::Refused("b".into())].iter().cycle().take(8) {
            figures.count(&Ended { outcome: fault.clone(), ..ended(Operation::Get(1), 0, 0, 1) });
        }
        let summary = figures.summary(1.0);
        assert_eq!((summary.wrong, summary.refused), (4, 4));
        assert_eq!(summary.first_faults, ["wrong: a", "refused: b", "wrong: a"]);
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!((&json["wrong"], &json["all"]), (&4.into(), &serde_json::Value::Null));
    }

    #[test]
    fn lines_are_as_wide_as_their_heading() {
        let mut figures = Figures::new(Duration::ZERO, SECOND);
        figures.count(&ended(Operation::Scan(1), 0, 0, 10));
        let lines = figures.summary(1.0).lines();
        assert_eq!(lines.len(), 3, "all, SCAN, from sending: {lines:?}");
        assert!(lines.iter().all(|line| line.len() == Summary::heading().len()), "{lines:?}");
    }
}
