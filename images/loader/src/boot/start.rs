//! From the boot protocols' 32-bit entries to Rust in long mode.
//!
//! The state at `pvh_entry` is fixed by Xen's direct boot ABI (`docs/misc/pvh.pandoc`
//! in the Xen source): 32-bit protected mode with flat segments, paging off,
//! interrupts off, EBX = address of the start info. Nothing else is defined, not even a
//! stack. The state at `multiboot2_entry` differs only in the structure that EBX points to,
//! and EAX = the protocol's magic number (Multiboot2 Specification 2.0, 3.3).
//!
//! Paging: all of the low 4 GiB, each address mapped to itself.
//!
//! ```text
//! pml4[0] ─ pdpt[0] ─ pd0[0]       ─ pt0: 4 KiB pages
//!         │         └ pd0[1..512]     2 MiB pages
//!         ├ pdpt[1] ─ pd1[0..512]     2 MiB pages
//!         ├ pdpt[2] ─ pd2[0..512]     2 MiB pages
//!         └ pdpt[3] ─ pd3[0..512]     2 MiB pages
//! ```
//!
//! Kernel 0.11.0, which continues to use these tables, determines the page sizes:
//!
//! - It maps all of its memory again as 2 MiB pages, and accepts an existing mapping only if
//!   it is the same (`init_frame_range` in `mm/physicalmem.rs`), so there are no 1 GiB pages.
//! - It maps single 4 KiB pages at the start code of application processors (0x8000) and at
//!   the VGA memory, and cannot split a larger page, so the first 2 MiB are 4 KiB pages.
//!
//! QEMU's start info may be in page 0. The kernel gets the tables without that page, so that
//! an access through a null pointer faults.
//!
//! Stacks: `loader_stack` grows down from its end, as usual. The kernel gets the *lower* end
//! of `kernel_stack`: its `_start` adds the size.

use core::arch::global_asm;

/// `KERNEL_STACK_SIZE` in the kernel's `config.rs`, which its `_start` adds to RSP.
const KERNEL_STACK_SIZE: usize = 0x8000;
const LOADER_STACK_SIZE: usize = 0x1_0000;

/// `XEN_ELFNOTE_PHYS32_ENTRY` (Xen's `public/elfnote.h`).
const PHYS32_ENTRY: u32 = 18;

/// The header's magic number, different from the one at entry (Multiboot2 Specification
/// 2.0, 3.1.2).
const MULTIBOOT2_HEADER: u32 = 0xe852_50d6;

const CR0_PROTECTED_MODE: u32 = 1 << 0;
const CR0_PAGING: u32 = 1 << 31;
const CR4_PAE: u32 = 1 << 5;
const EFER: u32 = 0xC000_0080;
const EFER_LONG_MODE: u32 = 1 << 8;

/// Bits of an entry: present and writable.
const TABLE: u64 = 0b11;
/// Bits of a present and writable entry that maps a page of 2 MiB.
const LARGE: u64 = TABLE | 1 << 7;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    .balign 4
    .long 4                     # size of the name
    .long 8                     # size of the description
    .long {phys32_entry}
    .asciz "Xen"
    .quad pvh_entry

    .section .multiboot2, "a", @progbits
    .balign 8
multiboot2_header:
    .long {multiboot2_header}
    .long 0                     # 32-bit protected mode of i386
    .long multiboot2_header_end - multiboot2_header
    .long -({multiboot2_header} + (multiboot2_header_end - multiboot2_header))
    .short 0, 0                 # no further tags: the ELF file has the rest
    .long 8
multiboot2_header_end:

    .section .text.entry, "ax", @progbits
    .code32
    .global multiboot2_entry
multiboot2_entry:
    mov esi, eax
    jmp entry
    .global pvh_entry
pvh_entry:
    mov esi, {pvh_magic}
entry:
    cli
    cld
    mov esp, offset loader_stack_top

    # The boot loader should have cleared it; if one does not, the failure is hard to find.
    mov edi, offset bss_start
    mov ecx, offset bss_end
    sub ecx, edi
    shr ecx, 2
    xor eax, eax
    rep stosd

    mov ebp, ebx                # cpuid overwrites ebx
    mov eax, 0x80000000
    cpuid
    cmp eax, 0x80000001
    jb no_long_mode
    mov eax, 0x80000001
    cpuid
    bt edx, 29
    jnc no_long_mode

    # Intel SDM volume 3, 11.8.5: PAE, CR3, EFER.LME, then paging.
    mov eax, cr4
    or eax, {cr4_pae}
    mov cr4, eax
    mov eax, offset pml4
    mov cr3, eax
    mov ecx, {efer}
    rdmsr
    or eax, {efer_long_mode}
    wrmsr
    mov eax, cr0
    or eax, {cr0}
    mov cr0, eax

    lgdt [gdt_pointer]
    mov eax, 0x08
    push eax
    mov eax, offset long_mode
    push eax
    retf

    # No Rust without long mode: the message and the code of Error::NoLongMode.
no_long_mode:
    mov esi, offset no_long_mode_message
    mov dx, 0x3f8
2:
    outsb
    cmp byte ptr [esi], 0
    jne 2b
    mov eax, {no_long_mode_code}
    mov dx, 0xf4
    out dx, eax
3:
    hlt
    jmp 3b

    .code64
long_mode:
    mov eax, 0x10
    mov ds, eax
    mov es, eax
    mov ss, eax
    xor eax, eax
    mov fs, eax
    mov gs, eax
    mov edi, ebp                # the first argument: the protocol's structure
                                # the second is in esi
    xor ebp, ebp
    call {main}
    ud2

    .section .rodata.entry, "a", @progbits
no_long_mode_message:
    .asciz "apf-loader: error: this processor has no 64-bit mode; use another -cpu\n"

    .section .data.gdt, "aw", @progbits
    .balign 8
gdt:
    .quad 0
    .quad 0x00af9a000000ffff    # 0x08: code, 64-bit
    .quad 0x00cf92000000ffff    # 0x10: data
gdt_pointer:
    .short gdt_pointer - gdt - 1
    .quad gdt

    .section .page_tables, "aw", @progbits
    .balign 0x1000
pml4:
    .quad pdpt + {table}
    .fill 511, 8, 0
pdpt:
    .quad pds + 0x0000 + {table}
    .quad pds + 0x1000 + {table}
    .quad pds + 0x2000 + {table}
    .quad pds + 0x3000 + {table}
    .fill 508, 8, 0
pds:
    .quad pt0 + {table}
    .set page, 1
    .rept 4 * 512 - 1
    .quad (page << 21) + {large}
    .set page, page + 1
    .endr
    .global pt0
pt0:
    .set page, 0
    .rept 512
    .quad (page << 12) + {table}
    .set page, page + 1
    .endr

    .section .bss.stacks, "aw", @nobits
    .balign 0x1000
    .skip {loader_stack_size}
loader_stack_top:
    .global kernel_stack
kernel_stack:
    .skip {kernel_stack_size}

    .text
    "#,
    phys32_entry = const PHYS32_ENTRY,
    multiboot2_header = const MULTIBOOT2_HEADER,
    pvh_magic = const apf_loader::pvh::StartInfo::MAGIC,
    cr4_pae = const CR4_PAE,
    efer = const EFER,
    efer_long_mode = const EFER_LONG_MODE,
    cr0 = const CR0_PROTECTED_MODE | CR0_PAGING,
    no_long_mode_code = const apf_loader::error::ExitCode::NoLongMode as u32,
    table = const TABLE,
    large = const LARGE,
    loader_stack_size = const LOADER_STACK_SIZE,
    kernel_stack_size = const KERNEL_STACK_SIZE,
    main = sym crate::loader_main,
);
