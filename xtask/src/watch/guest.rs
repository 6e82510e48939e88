//! The guest's own figures, asked for over HTTP. A guest whose memory is out answers late: a thread
//! waits for it, and the view goes on with what is known.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::Serialize;
use ureq::http::header::CONTENT_TYPE;

use super::figures::{Figures, Stall, time};

/// Time for a guest to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Time in which an address that is wrong is noticed at the start. One that is silent so long is a
/// guest that has not answered yet.
const FIRST: Duration = Duration::from_secs(2);
/// The largest answer in bytes: 64 cores have some megabytes.
const LARGEST: u64 = 16 << 20;

/// A guest's figures as they are known at a look.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Guest {
    /// Time since it answered last; none if it has not.
    pub age_seconds: Option<f64>,
    /// Why it has not answered the last request, if it has not.
    pub error: Option<String>,
    /// Counts of the host less those of the guest, each since the guest's first answer. They are
    /// read at different moments, so only a difference that stays is one.
    pub host_ahead: Option<Ahead>,
    pub figures: Option<Figures>,
}

/// Differences of counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ahead {
    pub not_present: i64,
    pub ready: i64,
}

impl Guest {
    /// Its figures as lines for people.
    pub fn lines(&self) -> Vec<String> {
        let Some(figures) = &self.figures else {
            return vec![self.error.clone().unwrap_or_default()];
        };
        let Figures { state, not_present, ready, schedule_waits, halt_waits, waiting, .. } = figures;
        let Ahead { not_present: more_not_present, ready: more_ready } = self.host_ahead.unwrap_or_default();
        let reasons = figures.reasons();
        let reasons = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
        let age = self.age_seconds.unwrap_or_default();
        let late = self.error.as_ref().map_or(String::new(), |error| format!("; {error}"));
        let stall = |name, Stall { avg10, avg60, avg300, total_seconds }| {
            let percent = [avg10, avg60, avg300].map(|share| format!("{:.1}", share * 100.0)).join(" ");
            format!("{name} {percent} % (10, 60, 300 s), {total_seconds:.1} s")
        };
        let waits = figures.waits().map(|(name, waits)| {
            let [p50, p99, p999] = [waits.p50_at_most, waits.p99_at_most, waits.p999_at_most].map(time);
            format!("{name} p50 {p50}, p99 {p99}, p99.9 {p999}")
        });
        vec![
            format!(
                "{state}, {age:.0} s ago{late}; not present {not_present} (host {more_not_present:+}), ready \
                 {ready} (host {more_ready:+})"
            ),
            format!(
                "waits: schedule {schedule_waits}, halt {halt_waits}{reasons}; waiting {waiting}, most outstanding \
                 {}, limit reached {}, overdue {}, restored {}",
                figures.most_outstanding, figures.budget_spent, figures.overdue, figures.restored
            ),
            format!("stall: {}; {}", stall("some", figures.some), stall("full", figures.full)),
            format!("waits at most: {}", waits.join("; ")),
        ]
    }
}

/// Why there are no figures.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Failure {
    /// It may answer later.
    Late(String),
    /// Nothing there has the figures.
    Wrong(String),
}

impl Failure {
    fn text(self) -> String {
        match self {
            Self::Late(text) | Self::Wrong(text) => text,
        }
    }
}

type Answer = Result<Figures, Failure>;

/// Asks a guest for its figures.
pub struct Asker {
    ask: SyncSender<()>,
    answers: Receiver<(Instant, Answer)>,
    /// The host's counts when the answer that is awaited was asked for.
    awaited: Option<[u64; 2]>,
    answered: Option<Instant>,
    error: Option<String>,
    /// Counts at the first answer and at the last one.
    first: Option<Pair>,
    last: Option<Pair>,
    figures: Option<Figures>,
}

/// Not present and ready as the host and the guest count them.
#[derive(Clone, Copy)]
struct Pair {
    host: [u64; 2],
    guest: [u64; 2],
}

impl Asker {
    /// Starts to ask at `address`, a URL or a host and a port. The host's counts are 0 now.
    ///
    /// # Errors
    /// Something is there that does not have the figures, or nothing.
    pub fn new(address: &str) -> Result<Self> {
        Self::with_limits(address, FIRST, LIMIT)
    }

    fn with_limits(address: &str, first: Duration, limit: Duration) -> Result<Self> {
        let url = url(address);
        let (ask, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::channel();
        let shown = url.clone();
        thread::spawn(move || {
            for () in asked {
                let figures = request(&url, limit);
                if answer.send((Instant::now(), figures)).is_err() {
                    return;
                }
            }
        });
        let error = Some("no answer yet".into());
        let mut asker = Self {
            ask,
            answers,
            awaited: None,
            answered: None,
            error,
            first: None,
            last: None,
            figures: None,
        };
        asker.ask([0; 2]);
        match asker.answers.recv_timeout(first) {
            Ok((_, Err(Failure::Wrong(text)))) => bail!("{shown}: {text}"),
            Ok((at, answer)) => asker.take(at, answer),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        Ok(asker)
    }

    /// Asks for the next answer, unless one is awaited already.
    fn ask(&mut self, host: [u64; 2]) {
        if self.awaited.is_none() && self.ask.try_send(()).is_ok() {
            self.awaited = Some(host);
        }
    }

    fn take(&mut self, at: Instant, answer: Answer) {
        let host = self.awaited.take().unwrap_or_default();
        match answer {
            Ok(figures) => {
                let pair = Pair { host, guest: [figures.not_present, figures.ready] };
                self.first.get_or_insert(pair);
                (self.last, self.figures) = (Some(pair), Some(figures));
                (self.answered, self.error) = (Some(at), None);
            }
            Err(failure) => self.error = Some(failure.text()),
        }
    }

    /// Returns what is known, and asks for more. `host` are the host's counts now: not present, ready.
    pub fn look(&mut self, host: [u64; 2]) -> Guest {
        if let Ok((at, answer)) = self.answers.try_recv() {
            self.take(at, answer);
        }
        self.ask(host);
        Guest {
            age_seconds: self.answered.map(|at| at.elapsed().as_secs_f64()),
            error: self.error.clone(),
            host_ahead: self.first.zip(self.last).map(|(first, last)| ahead(first, last)),
            figures: self.figures.clone(),
        }
    }
}

fn ahead(first: Pair, last: Pair) -> Ahead {
    let grown = |now: u64, before: u64| i64::try_from(now.saturating_sub(before)).unwrap_or(i64::MAX);
    let of = |i: usize| grown(last.host[i], first.host[i]) - grown(last.guest[i], first.guest[i]);
    Ahead { not_present: of(0), ready: of(1) }
}

/// Completes an address.
fn url(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let path = if rest.contains('/') { "" } else { "/metrics" };
    format!("{scheme}://{rest}{path}")
}

/// Asks once.
fn request(url: &str, limit: Duration) -> Answer {
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A guest is near; a proxy is for the world.
        .proxy(None)
        .accept("application/openmetrics-text; version=1.0.0")
        .build()
        .new_agent();
    let wrong = |text: String| Err(Failure::Wrong(text));
    let mut response = match agent.get(url).call() {
        Ok(response) => response,
        Err(error) => return Err(failure(&error)),
    };
    let status = response.status();
    if !status.is_success() {
        return wrong(format!("it answers {status}: give the URL of the guest's metrics"));
    }
    let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !media_type.is_some_and(|kind| kind.starts_with("application/openmetrics-text")) {
        let kind: String = media_type.unwrap_or("nothing said").chars().take(60).collect();
        return wrong(format!("it answers with {kind}, not with OpenMetrics text"));
    }
    match response.body_mut().with_config().limit(LARGEST).read_to_string() {
        Ok(text) => match Figures::parse(&text) {
            Some(figures) => Ok(figures),
            None => wrong("its metrics have none of apf_service::serve_metrics".into()),
        },
        Err(error) => Err(failure(&error)),
    }
}

fn failure(error: &ureq::Error) -> Failure {
    match error {
        ureq::Error::Timeout(_) => Failure::Late("it does not answer in time".into()),
        ureq::Error::TlsRequired | ureq::Error::Tls(_) => {
            Failure::Wrong("https is not supported: guests serve http".into())
        }
        error => Failure::Wrong(format!("{error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::super::figures::tests::TEXT;
    use super::*;

    /// Answers each connection with the next of `answers`; after the last one it accepts and is silent.
    fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let mut silent = Vec::new();
            let mut answers = answers.into_iter();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 4096]);
                match answers.next() {
                    Some(answer) => _ = stream.write_all(answer.as_bytes()),
                    None => silent.push(stream),
                }
            }
        });
        address
    }

    fn answer(status: &str, kind: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    }

    fn figures() -> String {
        answer("200 OK", "application/openmetrics-text; version=1.0.0; charset=utf-8", TEXT)
    }

    fn until(asker: &mut Asker, done: impl Fn(&Guest) -> bool) -> Guest {
        for _ in 0..500 {
            let guest = asker.look([100, 100]);
            if done(&guest) {
                return guest;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?}", asker.look([100, 100]));
    }

    #[test]
    fn a_guest_that_falls_silent_keeps_its_last_figures_and_does_not_delay_a_look() {
        let address = server(vec![figures(), figures()]);
        let mut asker = Asker::with_limits(&address, FIRST, Duration::from_millis(300)).unwrap();
        let guest = until(&mut asker, |guest| guest.figures.is_some());
        assert_eq!(guest.figures.unwrap().not_present, 34);
        assert_eq!(guest.host_ahead, Some(Ahead::default()));
        let began = Instant::now();
        asker.look([100, 100]);
        assert!(began.elapsed() < Duration::from_millis(200));
        let guest = until(&mut asker, |guest| guest.error.is_some());
        assert_eq!(guest.error.as_deref(), Some("it does not answer in time"));
        assert_eq!(guest.figures.unwrap().not_present, 34);
        assert!(guest.age_seconds.unwrap() > 0.2);
    }

    #[test]
    fn a_guest_that_is_silent_at_the_start_is_waited_for() {
        let short = Duration::from_millis(50);
        let mut asker = Asker::with_limits(&server(Vec::new()), short, LIMIT).unwrap();
        let guest = asker.look([0, 0]);
        assert_eq!((guest.error.as_deref(), guest.figures), (Some("no answer yet"), None));
    }

    #[test]
    fn an_address_without_figures_is_refused_at_once_in_one_line() {
        let refused = |address: &str| {
            let error = Asker::new(address).err().expect("refused").to_string();
            assert!(!error.contains('\n'), "{error}");
            error
        };
        let html = server(vec![answer("200 OK", "text/html", "<html></html>")]);
        assert!(refused(&html).ends_with("it answers with text/html, not with OpenMetrics text"));
        let missing = server(vec![answer("404 Not Found", "text/plain", "")]);
        assert!(refused(&missing).contains("it answers 404 Not Found"));
        let other = answer("200 OK", "application/openmetrics-text", "# TYPE up gauge\nup 1\n# EOF\n");
        assert!(refused(&server(vec![other])).contains("apf_service::serve_metrics"));
        assert!(refused("127.0.0.1:1").contains("refused"));
        assert!(refused("https://127.0.0.1:1/metrics").starts_with("https://127.0.0.1:1/metrics: "));
        refused("not an address");
        refused("");
    }

    #[test]
    fn an_address_is_completed_to_a_url() {
        assert_eq!(url("10.0.5.3:9100"), "http://10.0.5.3:9100/metrics");
        assert_eq!(url("http://guest:1"), "http://guest:1/metrics");
        assert_eq!(url("http://guest:1/other"), "http://guest:1/other");
    }

    #[test]
    fn counts_are_compared_since_the_first_answer() {
        let (first, last) =
            (Pair { host: [5, 5], guest: [90, 80] }, Pair { host: [25, 20], guest: [107, 95] });
        assert_eq!(ahead(first, last), Ahead { not_present: 3, ready: 0 });
    }
}
