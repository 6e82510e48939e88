//! A server as a Hermit unikernel: tells each visitor of port 8080 how often it has waited for a page.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use apf_service::{Config, Heap};

/// The program's memory. A thread that needs a page of it that is out waits, and the others go on.
#[global_allocator]
static HEAP: Heap = Heap::new();

fn main() -> io::Result<()> {
    // From here on, page faults wait by schedule. Without the service the program works as well.
    match apf_service::start(Config::default()) {
        Ok(_) => println!("the page fault service runs"),
        Err(reason) => println!("the page fault service is off: {reason}"),
    }
    let listener = TcpListener::bind("0.0.0.0:8080")
        .inspect_err(|_| println!("no network: is --net among the options of the runner?"))?;
    println!("ready at port 8080");
    loop {
        let (visitor, _) = listener.accept()?;
        // A thread for each visitor: the one that waits for a page does not delay the others.
        let serve = || match answer(visitor) {
            Ok(()) => println!("a visitor has its answer"),
            Err(error) => println!("a visitor was lost: {error}"),
        };
        thread::Builder::new().stack_size(64 * 1024).spawn(serve)?;
    }
}

/// Answers one request of HTTP. Whatever it asks for, the answer is the same.
fn answer(mut visitor: TcpStream) -> io::Result<()> {
    for line in BufReader::new(&visitor).lines() {
        // The request ends with an empty line.
        if line?.is_empty() {
            break;
        }
    }
    let waits: u64 = apf_service::stats()
        .map(|(_, core)| core.schedule_waits.get() + core.halt_waits.get())
        .sum();
    let text = format!("My threads have waited {waits} times for a page.\n");
    let length = text.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    visitor.write_all((head + &text).as_bytes())
}
