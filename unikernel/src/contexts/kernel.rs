//! Faults of kernel code with interrupts on, which wait by halt.

use std::fs;
use std::io::Read;

use super::bench::{Bench, Verdict, demand};
use crate::host;

/// Checks a system call that reads the kernel's own memory: a file in memory, whose data are evicted.
/// The program's buffer is not what it faults on, since that is brought in before the kernel is entered.
pub fn check(bench: &Bench) -> Verdict {
    const DATA: [u8; 3 * 4096] = [7; 3 * 4096];
    let failed = |error: std::io::Error| format!("a file in memory: {error}");
    let names = ["/tmp/first", "/tmp/second"];
    for name in names {
        fs::write(name, DATA).map_err(failed)?;
    }
    let files = names.map(fs::File::open);
    let mut files = files.into_iter();
    let mut buffer = vec![0; DATA.len()];
    host::evict();
    let (read, counts) = bench.warm(|| {
        let mut file = files.next().expect("a file for each time").map_err(failed)?;
        buffer.fill(0);
        let before = host::counters();
        let read = file.read_exact(&mut buffer).map_err(failed);
        let counts = host::counters().since(&before);
        read.map(|()| (buffer == DATA, counts))
    })?;
    for name in names {
        fs::remove_file(name).map_err(failed)?;
    }
    demand(read, || "the file has wrong data".into())?;
    demand(counts.halt_kernel_text > 0, || "the fault did not wait by halt".into())?;
    demand(counts.schedule_waits == 0, || "kernel code waited by schedule".into())?;
    Ok(format!("{} halt wait(s) in sys_read", counts.halt_kernel_text))
}
