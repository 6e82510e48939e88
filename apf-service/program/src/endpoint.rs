//! The figures over HTTP, for a scraper.
#![forbid(unsafe_code)]

use std::format;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::string::String;
use std::thread::Builder;
use std::time::Duration;
use std::vec::Vec;

use crate::metrics::metrics;

/// The longest request: a scraper sends some hundred bytes.
const LONGEST: usize = 8 << 10;
const MOST_HEADERS: usize = 64;
/// Stack of the task that answers one scrape, in bytes.
const STACK: usize = 64 << 10;
/// Time for a scraper to send its request, where the system's sockets know such a limit.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers each `GET /metrics` on `listener` with the service's figures ([`metrics`]), in a task for each
/// connection, so that neither a slow scraper nor a page that is out delays another one.
///
/// ```no_run
/// let listener = std::net::TcpListener::bind("0.0.0.0:9100")?;
/// std::thread::spawn(move || apf_service::serve_metrics(&listener));
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// No further connection can be accepted. One that breaks, or for which there is no memory, ends alone.
pub fn serve_metrics(listener: &TcpListener) -> io::Result<core::convert::Infallible> {
    loop {
        let (stream, _) = listener.accept()?;
        // Hermit has no such limit.
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = Builder::new().stack_size(STACK).spawn(move || answer(stream));
    }
}

/// Reads one request and answers it.
fn answer(mut stream: impl Read + Write) -> io::Result<()> {
    let mut request = Vec::new();
    let status = loop {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        request.extend_from_slice(&piece[..read]);
        if let Some(status) = status(&request) {
            break status;
        }
        if read == 0 || request.len() > LONGEST {
            return Ok(());
        }
    };
    stream.write_all(response(status).as_bytes())
}

/// Returns the status of the answer to a request, if the request is complete.
fn status(request: &[u8]) -> Option<&'static str> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(request) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            // A query selects nothing here.
            let path = parsed.path.and_then(|path| path.split('?').next());
            Some(match (parsed.method, path) {
                (Some("GET"), Some("/metrics")) => "200 OK",
                (Some("GET"), _) => "404 Not Found",
                _ => "405 Method Not Allowed",
            })
        }
        Err(_) => Some("400 Bad Request"),
    }
}

fn response(status: &str) -> String {
    let (media_type, body) = match status {
        "200 OK" => ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics()),
        _ => ("text/plain; charset=utf-8", format!("{status}: ask for /metrics\n")),
    };
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {length}\r\nAllow: GET\r\n\
         Connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{SocketAddr, TcpStream};
    use std::thread;

    fn endpoint() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve_metrics(&listener));
        address
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for piece in request.as_bytes().chunks(7) {
            stream.write_all(piece).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_scrape_gets_all_figures_as_openmetrics_text() {
        let answer = ask(endpoint(), "GET /metrics?name[]=x HTTP/1.1\r\nHost: guest\r\nAccept: */*\r\n\r\n");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text; version=1.0.0")
        );
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert!(body.contains("apf_state_info{state=") && body.ends_with("# EOF\n"));
    }

    #[test]
    fn other_requests_are_refused_by_their_status() {
        let address = endpoint();
        for (request, status) in [
            ("GET / HTTP/1.0\r\n\r\n", "404 Not Found"),
            ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed"),
            ("nonsense\r\n\r\n", "400 Bad Request"),
        ] {
            let answer = ask(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
            assert!(!answer.contains("apf_"), "{answer}");
        }
    }

    #[test]
    fn a_scraper_that_sends_nothing_does_not_delay_another_one() {
        let address = endpoint();
        let _silent = TcpStream::connect(address).unwrap();
        assert!(ask(address, "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn an_endless_request_is_dropped() {
        let mut stream = TcpStream::connect(endpoint()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let line = format!("GET /{} HTTP/1.1\r\n", "x".repeat(2 * LONGEST));
        // The other side may close before it has all.
        let _ = stream.write_all(line.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty());
    }
}
