//! `cargo xtask load`: the load of many independent clients for a key-value server with Redis'
//! protocol.
//!
//! Requests are planned beforehand (open loop), and a latency counts from the planned start: one that
//! has to wait because earlier replies are late is not left out (no coordinated omission).
//!
//! - [`value`]: keys and values that show to whom they belong
//! - [`versions`]: versions that a reply may have while several connections change a value
//! - [`request`]: requests in the server's words, and the replies that are right
//! - [`connection`]: one connection to the server
//! - [`sender`]: planned requests on many connections
//! - [`figures`]: latencies and counts
//! - [`options`]: forms of the verb's options

mod connection;
#[cfg(test)]
mod fake;
mod figures;
mod options;
mod request;
mod sender;
mod value;
mod versions;

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail, ensure};
use apf_load::{Operation, Planned, Workload, arrivals};
use bytesize::ByteSize;
use clap::Args;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::{Value, json};

use crate::process::Step;
use connection::Connection;
use figures::{Figures, Summary};
use request::{Keys, Outcome};
use sender::Ended;
use value::Values;

/// Time limit of setting all keys.
const FILL: Duration = Duration::from_secs(3600);

/// Most requests of one load: a plan is made beforehand.
const MOST_REQUESTS: f64 = 2e7;

/// Time between two changes of the progress line.
const PROGRESS: Duration = Duration::from_millis(500);

/// `cargo xtask load`
#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    /// The server
    #[arg(value_name = "HOST:PORT", value_parser = options::server)]
    server: SocketAddr,
    /// Requests a second, on average; of several rates each in turn
    #[arg(long, value_name = "RATE,…", value_delimiter = ',', default_value = "100", value_parser = options::rate)]
    rate: Vec<f64>,
    /// Measured time of each rate; 0s only sets the keys
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Time of the same load before it
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// Time to wait for replies after the last request
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// Number of keys
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    keys: u32,
    /// Size of each value, 64B to 1MiB
    #[arg(long, default_value = "1KiB", value_parser = options::value_size)]
    value_size: ByteSize,
    /// How often keys are asked for: zipf:0.99 (the k-th most popular in proportion to k to the power of
    /// -0.99), or uniform
    #[arg(long, default_value = "zipf:0.99", value_parser = options::popularity)]
    popularity: apf_load::Popularity,
    /// Share of SETs
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = options::share)]
    sets: f64,
    /// Share of MGETs of 100 consecutive keys; all other requests are GETs
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = options::share)]
    scans: f64,
    /// Seed of starts and keys
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Do not set each key first: an earlier call has
    #[arg(long)]
    no_fill: bool,
    /// Print one JSON object for each rate, for scripts
    #[arg(long)]
    json: bool,
}

/// `cargo xtask load`
///
/// # Errors
/// The server cannot be reached or breaks off, or a reply was wrong.
pub fn run(args: &LoadArgs) -> Result<()> {
    let load = Load::new(args)?;
    // Without it a wait ends up to 50 µs late.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut keys = load.keys();
    if !args.no_fill {
        load.fill(&mut keys)?;
    }
    if args.duration.is_zero() {
        return Ok(());
    }
    if !args.json {
        println!("{}", load.text());
        println!("{}", Summary::heading());
    }
    let mut faults = 0;
    for &rate in &args.rate {
        let summary = load.at(rate, &mut keys)?;
        if args.json {
            println!("{}", load.json(&summary)?);
        } else {
            summary.lines().iter().for_each(|line| println!("{line}"));
        }
        summary.first_faults.iter().for_each(|fault| eprintln!("  {fault}"));
        faults += summary.wrong + summary.refused;
    }
    ensure!(faults == 0, "{faults} replies of {} were wrong, or errors", args.server);
    Ok(())
}

/// A load, apart from its rate.
struct Load<'a> {
    args: &'a LoadArgs,
    workload: Workload,
}

impl<'a> Load<'a> {
    fn new(args: &'a LoadArgs) -> Result<Self> {
        let LoadArgs { keys, popularity, sets, scans, .. } = *args;
        ensure!(sets + scans <= 1.0, "--sets {sets} and --scans {scans} are more than all requests");
        let seconds = (args.warm_up + args.duration).as_secs_f64();
        if let Some(rate) = args.rate.iter().find(|&rate| rate * seconds > MOST_REQUESTS) {
            bail!("--rate {rate} for {seconds} s are too many requests: at most {MOST_REQUESTS} are planned");
        }
        let keys = usize::try_from(keys)?;
        Ok(Self { args, workload: Workload { keys, popularity, writes: sets, scans } })
    }

    fn keys(&self) -> Keys {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let size = usize::try_from(self.args.value_size.as_u64()).expect("at most 1 MiB");
        Keys::new(self.workload.keys, Values { load: since.as_nanos() as u64, size })
    }

    fn connect(&self, most: usize) -> Result<Vec<Connection>> {
        let number = usize::from(self.args.connections).min(most);
        (0..number).map(|_| Connection::open(self.args.server)).collect()
    }

    /// Sets all keys, as fast as the server replies.
    fn fill(&self, keys: &mut Keys) -> Result<()> {
        let set = |key| Planned { at: Duration::ZERO, request: Operation::Set(key) };
        let plan: Vec<_> = (0..keys.len()).map(set).collect();
        let mut progress = Progress::new(format!("setting {} keys", plan.len()), plan.len());
        let mut fault = None;
        sender::send(&plan, self.connect(plan.len())?, keys, FILL, |ended: Ended| {
            progress.one_more();
            fault = fault.take().or(match ended.outcome {
                Outcome::Right { .. } => None,
                Outcome::Wrong(text) | Outcome::Refused(text) => Some(text),
                Outcome::Unanswered => Some("no reply in an hour".into()),
            });
        })?;
        match fault {
            None => Ok(()),
            Some(text) => bail!("the keys cannot be set at {}: {text}", self.args.server),
        }
    }

    /// Measures the load at one rate.
    fn at(&self, rate: f64, keys: &mut Keys) -> Result<Summary> {
        let LoadArgs { warm_up, duration, wait, seed, .. } = *self.args;
        let mut random = SmallRng::seed_from_u64(seed);
        let operations = self.workload.operations(&mut random);
        let plan = arrivals::plan(rate, warm_up + duration, &mut random, |random| operations.next(random));
        let mut figures = Figures::new(warm_up, duration);
        let mut progress = Progress::new(format!("{rate} requests a second"), plan.len());
        let connections = self.connect(usize::MAX)?;
        sender::send(&plan, connections, keys, wait, |ended| {
            progress.one_more();
            figures.count(&ended);
        })?;
        Ok(figures.summary(rate))
    }

    fn text(&self) -> String {
        let LoadArgs { server, connections, keys, value_size, popularity, sets, scans, .. } = self.args;
        format!(
            "{server}: {connections} connections, {keys} keys of {value_size}, {}; {}% SET, {}% MGET of {}",
            options::text(*popularity),
            100.0 * sets,
            100.0 * scans,
            request::SCANNED
        )
    }

    fn json(&self, summary: &Summary) -> Result<Value> {
        let LoadArgs { server, duration, warm_up, wait, connections, keys, sets, scans, seed, .. } =
            self.args;
        let mut object = json!({
            "server": server.to_string(),
            "seconds": duration.as_secs_f64(),
            "warm_up_seconds": warm_up.as_secs_f64(),
            "wait_seconds": wait.as_secs_f64(),
            "connections": connections,
            "keys": keys,
            "value_bytes": self.args.value_size.as_u64(),
            "popularity": options::text(self.args.popularity),
            "sets": sets,
            "scans": scans,
            "seed": seed,
        });
        if let (Some(object), Value::Object(figures)) =
            (object.as_object_mut(), serde_json::to_value(summary)?)
        {
            object.extend(figures);
        }
        Ok(object)
    }
}

/// A progress line that counts replies.
struct Progress {
    step: Step,
    text: String,
    done: usize,
    of: usize,
    said: Instant,
}

impl Progress {
    fn new(text: String, of: usize) -> Self {
        Self { step: Step::start(text.clone()), text, done: 0, of, said: Instant::now() }
    }

    fn one_more(&mut self) {
        self.done += 1;
        if self.said.elapsed() >= PROGRESS {
            self.step.say(format!("{}: {} of {}", self.text, self.done, self.of));
            self.said = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use fake::{Fake, Manner};

    #[derive(Parser)]
    #[command(args_override_self = true)]
    struct Cli {
        #[command(flatten)]
        args: LoadArgs,
    }

    fn args(server: SocketAddr, options: &str) -> LoadArgs {
        let server = server.to_string();
        Cli::parse_from(["load", &server].into_iter().chain(options.split_whitespace())).args
    }

    /// Fills and measures; returns the figures.
    fn measured(fake: &Fake, options: &str) -> Result<Summary> {
        let args = args(fake.address, options);
        let load = Load::new(&args)?;
        let mut keys = load.keys();
        if !args.no_fill {
            load.fill(&mut keys)?;
        }
        load.at(args.rate[0], &mut keys)
    }

    const SHORT: &str = "--duration 600ms --warm-up 100ms --keys 200 --connections 8";

    #[test]
    fn a_server_that_is_right_gets_the_planned_load() {
        let fake = Fake::start(Manner { pause: Duration::from_millis(1), ..Manner::default() });
        let summary = measured(&fake, &format!("{SHORT} --rate 400 --sets 0.5 --scans 0.05")).unwrap();
        assert_eq!((summary.wrong, summary.refused, summary.unanswered, summary.absent), (0, 0, 0, 0));
        assert!((200..280).contains(&summary.all.unwrap().count), "0.6 s of 400 a second: {summary:?}");
        assert!(summary.served_per_second > 0.0, "{summary:?}");
        let [get, set, scan] = [&summary.get, &summary.set, &summary.scan].map(|it| it.unwrap().count);
        assert!(get > scan && set > scan && scan > 0, "{summary:?}");
        assert_eq!(get + set + scan, summary.all.unwrap().count);
        assert!(summary.from_sending.unwrap().p50_ms >= 1.0, "{summary:?}");
    }

    #[test]
    fn a_server_that_stops_for_a_while_delays_all_that_was_planned_meanwhile() {
        let stop = Some((Duration::from_millis(200), Duration::from_millis(400)));
        let fake = Fake::start(Manner { stop, ..Manner::default() });
        let summary = measured(&fake, &format!("{SHORT} --rate 500 --no-fill --connections 4")).unwrap();
        let (all, from_sending) = (summary.all.unwrap(), summary.from_sending.unwrap());
        // A third of the starts lie in the stop; a closed loop would see four late replies.
        assert!(all.p90_ms > 50.0 && from_sending.p90_ms < all.p90_ms / 2.0, "{summary:?}");
        assert!(all.max_ms >= 150.0 && summary.absent > 0, "{summary:?}");
    }

    #[test]
    fn more_than_a_server_can_do_is_served_at_its_own_rate() {
        let fake = Fake::start(Manner { pause: Duration::from_millis(10), ..Manner::default() });
        let summary =
            measured(&fake, &format!("{SHORT} --rate 5000 --no-fill --wait 100ms --connections 4")).unwrap();
        let from_sending = summary.from_sending.unwrap();
        // Little's law: on average four are under way.
        let under_way = summary.served_per_second * from_sending.mean_ms / 1e3;
        assert!(summary.served_per_second <= 404.0 && (3.0..6.0).contains(&under_way), "{summary:?}");
        assert!(
            summary.unanswered > 1000 && summary.all.unwrap().p50_ms > from_sending.p50_ms,
            "{summary:?}"
        );
    }

    #[test]
    fn large_values_and_scans_arrive_in_pieces() {
        let fake = Fake::start(Manner::default());
        let options =
            format!("{SHORT} --value-size 256KiB --keys 20 --rate 100 --sets 0.5 --scans 0.1 --wait 20s");
        let summary = measured(&fake, &options).unwrap();
        assert_eq!((summary.wrong, summary.refused, summary.unanswered), (0, 0, 0), "{summary:?}");
    }

    #[test]
    fn a_server_that_loses_a_change_or_damages_a_value_is_noticed() {
        for (manner, word) in [
            (Manner { lose_set: Some(250), ..Manner::default() }, "instead of versions"),
            (Manner { damage_get: Some(5), ..Manner::default() }, "not one of this key"),
            (Manner { refuse: Some(230), ..Manner::default() }, "refused: ERR"),
        ] {
            let fake = Fake::start(manner);
            let summary =
                measured(&fake, &format!("{SHORT} --rate 1000 --sets 0.5 --popularity zipf:1.5")).unwrap();
            assert!(summary.wrong + summary.refused > 0, "{word}: {summary:?}");
            assert!(summary.first_faults[0].contains(word), "{:?}", summary.first_faults);
        }
    }

    #[test]
    fn a_server_that_is_none_is_an_error_in_one_line() {
        for (manner, word) in [
            (Manner { close_after: Some(3), ..Manner::default() }, "closed a connection"),
            (Manner { refuse: Some(0), ..Manner::default() }, "cannot be set"),
            (Manner { nonsense: true, ..Manner::default() }, "not of Redis' protocol"),
        ] {
            let fake = Fake::start(manner);
            let error = format!("{:#}", measured(&fake, SHORT).unwrap_err());
            assert!(error.contains(word) && !error.contains('\n'), "{error}");
        }
        // A port that was just free.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = format!("{:#}", run(&args(closed, SHORT)).unwrap_err());
        assert!(error.starts_with(&format!("cannot connect to {closed}: ")), "{error}");
    }

    #[test]
    fn too_much_is_refused() {
        let server = "127.0.0.1:1".parse().unwrap();
        for (options, word) in [
            ("--sets 0.6 --scans 0.5", "more than all"),
            ("--rate 10,1000000 --duration 1h", "too many requests"),
        ] {
            let error = Load::new(&args(server, options)).err().expect("it is refused").to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
