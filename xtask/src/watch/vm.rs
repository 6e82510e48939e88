//! The process of a VM.

use std::fs;
use std::io::ErrorKind;

use anyhow::{Context, Result, bail};

/// A process that has a KVM virtual machine. Its number may be another's once it has ended, so its
/// start is remembered.
pub struct Vm {
    process: u32,
    name: String,
    started: String,
}

impl Vm {
    /// Finds the VM of a process.
    ///
    /// # Errors
    /// The process is not there, has no VM, or is not this user's.
    pub fn find(process: u32) -> Result<Self> {
        let started = started(process).with_context(|| format!("there is no process {process}"))?;
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
        let files = match fs::read_dir(format!("/proc/{process}/fd")) {
            Ok(files) => files,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                bail!("process {process} ({name}) is not this user's: run as root")
            }
            Err(error) => Err(error).with_context(|| format!("cannot read process {process} ({name})"))?,
        };
        let opened = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
        // The name that the kernel gives a VM's file (`kvm_dev_ioctl_create_vm`).
        if !opened.into_iter().any(|file| file.as_os_str() == "anon_inode:kvm-vm") {
            bail!("process {process} ({name}) is no VM: it has none of KVM's open");
        }
        Ok(Self { process, name, started })
    }

    /// Returns its process.
    pub const fn process(&self) -> u32 {
        self.process
    }

    /// Returns its program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it still runs.
    pub fn runs(&self) -> bool {
        started(self.process).is_some_and(|started| started == self.started)
    }
}

/// Time of a process's start in clock ticks; `None` if it has ended (`proc(5)`).
fn started(process: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before may have spaces and brackets.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned)).flatten()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_is_no_vm_is_refused_by_name() {
        let own = std::process::id();
        let error = Vm::find(own).err().unwrap().to_string();
        assert!(error.contains(&format!("process {own} (")) && error.contains("is no VM"), "{error}");
        // Above the largest that there can be.
        assert_eq!(Vm::find(1 << 30).err().unwrap().to_string(), "there is no process 1073741824");
    }

    #[test]
    fn the_end_of_a_process_is_noticed_before_it_is_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = child.id();
        let vm = Vm { process, name: "cat".into(), started: started(process).unwrap() };
        assert!(vm.runs());
        let other = Vm { started: "1".into(), name: "cat".into(), ..vm };
        assert!(!other.runs(), "another process of this number");
        child.kill().unwrap();
        let ended = || {
            (0..500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                !vm.runs()
            })
        };
        assert!(ended());
        child.wait().unwrap();
        assert!(!vm.runs());
    }
}
