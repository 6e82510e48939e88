//! Parts of a fault's handling, by function.

/// A part of what the guest does about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// From the exception to the wait, and from the wait back to the task.
    NotPresent,
    /// The interrupt that says a page is there, and the answer to the host.
    Ready,
    /// The service thread: its queue, its table, its release of the task.
    Service,
    /// Putting tasks to sleep, waking them, switching between them, idling.
    Scheduling,
    /// All else of the kernel, and what it shares with all: copying, allocating.
    Kernel,
    /// The program: reading and comparing pages, telling of them.
    Program,
}

/// Parts of names; the first match counts.
const NAMES: [(Part, &[&str]); 6] = [
    (Part::Program, &["unikernel::", "apf_vocabulary::", "serde", "itoa::", "std::", "sys_write"]),
    (
        Part::Ready,
        &[
            "fault::on_ready",
            "entry::ready",
            "Core>::take_ready",
            "Core>::drain",
            "Slots>::release",
            "ArrayQueue<apf_core::event::Event>>::push",
            "end_of_interrupt",
        ],
    ),
    (
        Part::NotPresent,
        &[
            "fault::on_page_fault",
            "entry::page_fault",
            "apf_kernel::wait",
            "apf_kernel::hold::holds_core",
            "Core>::page_fault",
            "Core>::not_present",
            "Core>::resumed",
            "Slots>::take",
            "CoreStats>::finished",
            "PerCoreScheduler>::apf_task",
            "apf_hook_task",
            "apf_hook_core",
        ],
    ),
    (Part::Service, &["apf_", "ArrayQueue<apf_core::event::Event>"]),
    (
        Part::Scheduling,
        &[
            "hermit::scheduler",
            "hermit::synch",
            "hermit::executor",
            "kernel::switch",
            "kernel::scheduler",
            "kernel_stack",
            "core_scheduler",
            "apic::",
            "device_not_available",
        ],
    ),
    (Part::Kernel, &[""]),
];

impl Part {
    pub const ALL: [Self; 6] =
        [Self::NotPresent, Self::Ready, Self::Service, Self::Scheduling, Self::Kernel, Self::Program];

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotPresent => "not_present",
            Self::Ready => "ready",
            Self::Service => "service",
            Self::Scheduling => "scheduling",
            Self::Kernel => "kernel",
            Self::Program => "program",
        }
    }

    /// That of a function, by its name.
    pub fn of(function: &str) -> Self {
        let matches = |names: &[&str]| names.iter().any(|name| function.contains(name));
        NAMES.iter().find(|(_, names)| matches(names)).map_or(Self::Kernel, |(part, _)| *part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_belong_to_the_part_they_work_for() {
        for (function, part) in [
            ("<apf_core::per_core::Core>::page_fault::<apf_kernel::machine::ThisMachine>", Part::NotPresent),
            ("apf_kernel::wait_entry::wait_entry", Part::NotPresent),
            ("<apf_core::per_core::Core>::take_ready::<apf_kernel::machine::ThisMachine>", Part::Ready),
            ("<crossbeam_queue::array_queue::ArrayQueue<apf_core::event::Event>>::pop", Part::Service),
            ("apf_core::serve::serve::<apf_kernel::machine::ThisMachine>", Part::Service),
            ("hermit::synch::futex::futex_wake", Part::Scheduling),
            ("<unikernel::region::Region>::is_right", Part::Program),
            ("memcpy", Part::Kernel),
        ] {
            assert_eq!(Part::of(function), part, "{function}");
        }
    }
}
