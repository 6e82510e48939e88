//! QEMU's monitor (QMP): a guest is saved to a file, or migrated to another QEMU.

use std::io::{BufReader, BufWriter};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use qapi::qmp::{self, MigrationCapability, MigrationCapabilityStatus, MigrationStatus, RunState};
use qapi::{Command, Qmp, Stream};

/// Time for QEMU to start and to listen, in the lab.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Time to write or read all of a guest's memory, and for pages that a virtual CPU waits for.
const WORK_LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// Of a snapshot: QEMU's own limit is that of a network.
const BYTES_PER_SECOND: u64 = 1 << 36;
/// Of the memory that follows a migrated guest, unless the guest asks for it: slow enough that it
/// has to ask.
const FOLLOWING_BYTES_PER_SECOND: u64 = 64 << 20;

/// A connection to the monitor of a running QEMU. Each command is one write: QEMU obeys `quit` before
/// the line has ended.
pub struct Monitor(Qmp<Stream<BufReader<UnixStream>, BufWriter<UnixStream>>>);

impl Monitor {
    /// Connects to the QEMU that listens on `socket`, or will.
    ///
    /// # Errors
    /// It does not within half a minute.
    pub fn connect(socket: &Path) -> Result<Self> {
        let started = Instant::now();
        let stream = loop {
            match UnixStream::connect(socket) {
                Ok(stream) => break stream,
                Err(error) if started.elapsed() > START_LIMIT => {
                    return Err(error).context("QEMU's monitor does not answer");
                }
                Err(_) => thread::sleep(POLL),
            }
        };
        stream.set_read_timeout(Some(WORK_LIMIT))?;
        let reader = BufReader::new(stream.try_clone()?);
        let mut qmp = Qmp::new(Stream::new(reader, BufWriter::new(stream)));
        qmp.handshake().context("QEMU's monitor does not speak QMP")?;
        Ok(Self(qmp))
    }

    /// Stops all virtual CPUs. One that waits for a page stops when it has it.
    pub fn stop(&mut self) -> Result<()> {
        self.execute(&qmp::stop {}).map(drop)
    }

    /// Saves the stopped guest to the file `snapshot`.
    ///
    /// # Errors
    /// QEMU says why it cannot, or does not end.
    pub fn save(&mut self, snapshot: &Path) -> Result<()> {
        let max_bandwidth = Some(BYTES_PER_SECOND);
        let parameters = qmp::MigrateSetParameters { max_bandwidth, ..Default::default() };
        self.execute(&qmp::migrate_set_parameters(parameters))?;
        self.send(format!("file:{}", snapshot.display()))?;
        self.wait_for(MigrationStatus::completed)
    }

    /// Waits for a guest that migrates to `socket`.
    pub fn listen(&mut self, socket: &Path) -> Result<()> {
        self.allow_postcopy()?;
        self.receive(format!("unix:{}", socket.display()))
    }

    /// Migrates the stopped guest to the QEMU that listens on `socket`: it goes on there as soon as
    /// it can, and its memory follows.
    ///
    /// # Errors
    /// QEMU says why it cannot, or does not end.
    pub fn migrate(&mut self, socket: &Path) -> Result<()> {
        self.allow_postcopy()?;
        let limit = Some(FOLLOWING_BYTES_PER_SECOND);
        self.execute(&qmp::migrate_set_parameters(qmp::MigrateSetParameters {
            max_bandwidth: limit,
            max_postcopy_bandwidth: limit,
            ..Default::default()
        }))?;
        self.send(format!("unix:{}", socket.display()))?;
        self.wait_for(MigrationStatus::active)?;
        self.execute(&qmp::migrate_start_postcopy {})?;
        self.wait_for(MigrationStatus::completed)
    }

    fn allow_postcopy(&mut self) -> Result<()> {
        let capability = MigrationCapability::postcopy_ram;
        let capabilities = vec![MigrationCapabilityStatus { capability, state: true }];
        self.execute(&qmp::migrate_set_capabilities { capabilities }).map(drop)
    }

    fn send(&mut self, uri: String) -> Result<()> {
        let uri = Some(uri);
        self.execute(&qmp::migrate { uri, channels: None, detach: None, resume: None }).map(drop)
    }

    fn wait_for(&mut self, wanted: MigrationStatus) -> Result<()> {
        wait("QEMU does not end moving the guest", || {
            let info = self.execute(&qmp::query_migrate {})?;
            match info.status {
                Some(status) if status == wanted => Ok(true),
                Some(MigrationStatus::failed | MigrationStatus::cancelled) => {
                    bail!("QEMU cannot move the guest: {}", info.error_desc.unwrap_or_default())
                }
                _ => Ok(false),
            }
        })
    }

    /// Reads the guest of `snapshot`, which stays stopped as it was saved.
    ///
    /// # Errors
    /// QEMU cannot, or does not end.
    pub fn load(&mut self, snapshot: &Path) -> Result<()> {
        self.receive(format!("file:{}", snapshot.display()))?;
        wait("QEMU does not end reading the snapshot", || {
            Ok(self.execute(&qmp::query_status {})?.status == RunState::paused)
        })
    }

    fn receive(&mut self, uri: String) -> Result<()> {
        let uri = Some(uri);
        self.execute(&qmp::migrate_incoming { uri, channels: None, exit_on_error: None }).map(drop)
    }

    /// Lets the virtual CPUs run.
    pub fn go_on(&mut self) -> Result<()> {
        self.execute(&qmp::cont {}).map(drop)
    }

    /// Ends QEMU.
    pub fn quit(mut self) -> Result<()> {
        self.execute(&qmp::quit {}).map(drop)
    }

    fn execute<C: Command>(&mut self, command: &C) -> Result<C::Ok> {
        self.0.execute(command).with_context(|| format!("QEMU's monitor, {}", C::NAME))
    }
}

/// Asks until the answer is yes.
fn wait(otherwise: &'static str, mut is_done: impl FnMut() -> Result<bool>) -> Result<()> {
    let started = Instant::now();
    while !is_done()? {
        if started.elapsed() > WORK_LIMIT {
            bail!(otherwise);
        }
        thread::sleep(POLL);
    }
    Ok(())
}
