//! A key-value server with Redis' protocol: what a real program meets when its memory is out.
//!
//! Nothing in it knows of page faults, except that it starts the service and takes its heap.
//! Each connection has a thread, since that is how the kernel lets a task wait for its page
//! while others go on; a poll loop would stop with its only task.
//!
//! - [`connection`]: one client's requests and their replies
//! - [`command`]: meaning of one request
//! - [`store`]: keys and values
#![forbid(unsafe_code)]

mod command;
mod connection;
mod store;

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{self, ExitCode};
use std::thread::Builder;

use apf_service::{Config, Heap, Waits};
use clap::{Parser, ValueEnum};
use connection::End;
use store::Store;

#[global_allocator]
static HEAP: Heap = Heap::new();

/// Stack of a connection's thread in bytes. Stacks come from the little memory that the kernel
/// leaves out of its heap.
const STACK: usize = 64 * 1024;

/// Options of the server.
#[derive(Debug, Parser)]
#[command(about = "Serves keys and values by Redis' protocol, with async page faults or without")]
struct Options {
    /// TCP port
    #[arg(long, default_value_t = 6379)]
    port: u16,
    /// TCP port at which a scraper gets the service's figures
    #[arg(long, value_name = "PORT")]
    metrics: Option<u16>,
    /// The way in which page faults wait
    #[arg(long, value_enum, default_value_t = PageFaults::Async)]
    mode: PageFaults,
}

/// Ways in which page faults wait.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PageFaults {
    /// The service is on
    Async,
    /// The service is on, and every wait is a halt
    Halt,
    /// The service is off: the host stops the core at each fault
    Blocked,
}

fn main() -> ExitCode {
    let options = Options::parse();
    tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(io::stdout).init();
    start_service(options.mode);
    let Err(error) = options.metrics.map_or(Ok(()), serve_metrics).and_then(|()| serve(options.port));
    println!("{error}");
    ExitCode::FAILURE
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        .map_err(|error| io::Error::other(format!("port {port} cannot be served: {error}")))
}

fn serve_metrics(port: u16) -> io::Result<()> {
    let listener = listen(port)?;
    let serve = move || {
        let Err(error) = apf_service::serve_metrics(&listener);
        println!("the figures are served no longer: {error}");
    };
    Builder::new().stack_size(STACK).spawn(serve).map(drop)
}

fn start_service(mode: PageFaults) {
    let waits = match mode {
        PageFaults::Async => Waits::Auto,
        PageFaults::Halt => Waits::Halt,
        PageFaults::Blocked => return println!("the service is off"),
    };
    match apf_service::start(Config { waits, ..Config::default() }) {
        Ok(_) => println!("the service runs"),
        Err(reason) => println!("the service is off: {reason}"),
    }
}

/// Serves clients until one of them ends the program.
fn serve(port: u16) -> io::Result<Infallible> {
    // One for the program's whole life.
    let store: &'static Store = Box::leak(Box::default());
    let listener = listen(port)?;
    println!("ready to accept connections on port {port}");
    loop {
        let (stream, _) = listener.accept()?;
        // An answer is one write: waiting for more to send delays it.
        let _ = stream.set_nodelay(true);
        let serve = move || match connection::serve(stream, store) {
            Ok(End::Shutdown) => process::exit(0),
            // A client that breaks off, or speaks another protocol, ends only its connection.
            Ok(End::Closed) | Err(_) => {}
        };
        if let Err(error) = Builder::new().stack_size(STACK).spawn(serve) {
            println!("a connection is refused, no thread can be made for it: {error}");
        }
    }
}
