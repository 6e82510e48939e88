//! Hooks of the async page fault service into this kernel.
//!
//! This file is added to the kernel's source when the image is built. The
//! service's kernel side is the crate `apf-kernel`. Its trait `Hooks` says what
//! each function is for.

use core::sync::atomic::{AtomicU64, Ordering};

use apf_kernel::{Hooks, Task, provide_hooks};
use memory_addresses::VirtAddr;

use crate::arch::kernel::core_local::{core_id, core_scheduler, increment_irq_counter};
use crate::arch::kernel::interrupts::{self, IDT};
use crate::arch::kernel::{apic, processor};
use crate::arch::mm::paging::virtual_to_physical;
use crate::scheduler::PerCoreSchedulerExt;
use crate::scheduler::task::{HIGH_PRIO, Priority, TaskHandle, TaskId};

/// Set in each handle, so that none is 0.
const VALID: u64 = 1 << 63;

struct Kernel;

provide_hooks!(Kernel);

impl Hooks for Kernel {
	fn apf_hook_core() -> u32 {
		core_id()
	}

	fn apf_hook_task() -> Task {
		core_scheduler().apf_task()
	}

	fn apf_hook_critical(change: i32) -> u32 {
		core_scheduler().apf_critical(change)
	}

	fn apf_hook_handle() -> u64 {
		let handle = core_scheduler().get_current_task_handle();
		let core = u64::from(handle.get_core_id());
		VALID | core << 32 | u64::from(handle.get_id().into().cast_unsigned())
	}

	fn apf_hook_block(limit_us: Option<u64>) {
		let wakeup_time = limit_us.and_then(|limit| processor::get_timer_ticks().checked_add(limit));
		core_scheduler().block_current_task(wakeup_time);
	}

	fn apf_hook_wake(handle: u64) {
		let id = TaskId::from((handle as u32).cast_signed());
		let core = (handle & !VALID) >> 32;
		// Waking looks at the number and the core only.
		core_scheduler().custom_wakeup(TaskHandle::new(id, HIGH_PRIO, core as u32));
	}

	fn apf_hook_interrupt(core: u32) {
		apic::wakeup_core(core);
	}

	fn apf_hook_wake_by(deadline: u64) -> bool {
		let time = deadline / u64::from(processor::get_frequency());
		let is_ahead = processor::get_timer_ticks() < time;
		if is_ahead {
			apic::set_oneshot_timer(Some(time));
		}
		is_ahead
	}

	fn apf_hook_reschedule() {
		core_scheduler().reschedule();
	}

	fn apf_hook_boost() -> u8 {
		let raise = |priority: Priority| priority.max(HIGH_PRIO);
		core_scheduler().apf_priority(raise).into()
	}

	fn apf_hook_set_priority(priority: u8) {
		core_scheduler().apf_priority(|_| Priority::from(priority));
	}

	fn apf_hook_end_of_interrupt(vector: u8, signalled: bool) {
		increment_irq_counter(vector);
		if !signalled {
			apic::eoi();
		}
	}

	fn apf_hook_install(
		page_fault: (u64, &AtomicU64),
		general_protection: (u64, &AtomicU64),
		vector: u8,
		ready: u64,
	) -> bool {
		if interrupts::is_named(vector) {
			return false;
		}
		let mut idt = IDT.lock();
		let before = idt.page_fault.handler_addr().as_u64();
		page_fault.1.store(before, Ordering::Release);
		let before = idt.general_protection_fault.handler_addr().as_u64();
		general_protection.1.store(before, Ordering::Release);
		// SAFETY: the service's entries fit these gates. All stay on interrupt
		// stack 1 like every gate of this kernel.
		unsafe {
			idt[vector]
				.set_handler_addr(x86_64::VirtAddr::new(ready))
				.set_stack_index(0);
			idt.page_fault
				.set_handler_addr(x86_64::VirtAddr::new(page_fault.0))
				.set_stack_index(0);
			idt.general_protection_fault
				.set_handler_addr(x86_64::VirtAddr::new(general_protection.0))
				.set_stack_index(0);
		}
		drop(idt);
		interrupts::add_irq_name(vector - 32, "async PF");
		true
	}

	fn apf_hook_physical(virtual_address: u64) -> Option<u64> {
		virtual_to_physical(VirtAddr::new(virtual_address)).map(|address| address.as_u64())
	}

	fn apf_hook_tsc_mhz() -> u32 {
		processor::get_frequency().into()
	}

	fn apf_hook_log_armed(core: u32, armed: bool) {
		if armed {
			info!("async PF set up for core {core}");
		} else {
			info!("async PF unregistered for core {core}");
		}
	}

	fn apf_hook_broken_host(token: u32, rip: u64) -> ! {
		panic!(
			"the host is broken: it injected an async page fault (token {token:#x}) while interrupts \
			 were disabled, at rip {rip:#x}; no wait is possible there"
		)
	}
}
