//! The load generator beside one that nobody here wrote, on a server whose speed is known.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tests::{Xtask, number};

/// Time that a connection needs for each of its requests.
const PAUSE: Duration = Duration::from_millis(20);

type Values = Mutex<HashMap<Vec<u8>, Vec<u8>>>;

/// Starts a server that answers SET and GET, each connection by itself.
fn start_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("its address");
    let values: &'static Values = Box::leak(Box::default());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(&stream, values));
        }
    });
    address
}

fn serve(mut stream: &TcpStream, values: &Values) -> io::Result<()> {
    let mut requests = BufReader::new(stream);
    loop {
        let words = request(&mut requests)?;
        thread::sleep(PAUSE);
        let reply = match (&*words[0], &words[1..]) {
            (b"SET", [key, value]) => {
                values.lock().unwrap().insert(key.clone(), value.clone());
                b"+OK\r\n".to_vec()
            }
            (b"GET", [key]) => match values.lock().unwrap().get(key) {
                Some(value) => [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat(),
                None => b"$-1\r\n".to_vec(),
            },
            _ => b"*0\r\n".to_vec(),
        };
        stream.write_all(&reply)?;
    }
}

/// Reads the words of a request.
fn request(from: &mut impl BufRead) -> io::Result<Vec<Vec<u8>>> {
    fn length(from: &mut impl BufRead) -> io::Result<usize> {
        let mut line = String::new();
        from.read_line(&mut line)?;
        line.get(1..).unwrap_or_default().trim().parse().map_err(io::Error::other)
    }
    let words = length(from)?;
    let mut word = || {
        let mut bytes = vec![0; length(from)? + 2];
        from.read_exact(&mut bytes)?;
        bytes.truncate(bytes.len() - 2);
        Ok(bytes)
    };
    (0..words).map(|_| word()).collect()
}

/// Has `redis-benchmark` send as many GETs as 8 connections can in 2 s, and returns how many a second
/// it counts, and its median latency in ms.
fn redis_benchmark(server: SocketAddr) -> (f64, f64) {
    let port = server.port().to_string();
    let options = ["-c", "8", "-n", "800", "-r", "100", "-d", "1024", "-t", "get", "--csv"];
    let output = Command::new("redis-benchmark").args(["-p", &port]).args(options).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("\"GET\"")).unwrap_or_else(|| panic!("{text}"));
    let cells: Vec<f64> = line.split(',').filter_map(|cell| cell.trim_matches('"').parse().ok()).collect();
    // Requests a second; then average, least and median latency.
    (cells[0], cells[3])
}

/// Would fail if requests were not sent while connections are free, or their times counted wrongly.
#[test]
fn a_load_at_saturation_is_what_redis_benchmark_counts() {
    let Some(xtask) = Xtask::find("load") else { return };
    assert_eq!(xtask.call(&["setup", "--clients"]).code(), 0);
    let server = start_server();
    let (foreign_rate, foreign_median) = redis_benchmark(server);
    let address = server.to_string();
    let options = "--rate 2000 --connections 8 --keys 100 --sets 0 --popularity uniform --duration 2s --warm-up 500ms \
                   --wait 500ms --json";
    let ended =
        xtask.call(&[&["load", &address][..], &options.split_whitespace().collect::<Vec<_>>()].concat());
    assert_eq!(ended.code(), 0, "{}", ended.text);
    let line = ended.text.lines().find(|line| line.starts_with('{')).expect("an object");
    let load: Value = serde_json::from_str(line).expect("JSON");
    let (rate, median) = (number(&load, "served_per_second"), number(&load, "from_sending.p50_ms"));
    for (own, foreign) in [(rate, foreign_rate), (median, foreign_median)] {
        assert!((own / foreign - 1.0).abs() < 0.1, "{own} instead of {foreign}: {}", ended.text);
    }
    // From the planned start most of the requests are late, and so is their median.
    assert!(
        number(&load, "all.p50_ms") > 10.0 * median && number(&load, "unanswered") > 0.0,
        "{}",
        ended.text
    );
    assert_eq!((number(&load, "wrong"), number(&load, "absent")), (0.0, 0.0));
}

#[test]
fn a_load_for_nobody_is_refused_in_one_line() {
    let Some(xtask) = Xtask::find("load-refused") else { return };
    // Port 1 of this machine is free wherever tests run.
    let ended = xtask.call(&["load", "127.0.0.1:1"]);
    assert_eq!((ended.code(), ended.errors().count()), (1, 1), "{}", ended.text);
    assert!(ended.text.contains("cannot connect to 127.0.0.1:1"), "{}", ended.text);
    for args in [&["load"][..], &["load", "nowhere"], &["load", "127.0.0.1:1", "--popularity", "zipf"]] {
        assert_eq!(xtask.call(args).code(), 2, "{args:?}");
    }
}
