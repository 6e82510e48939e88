//! Assembly that loads every register, touches memory, and stores every register.

use std::arch::naked_asm;
use std::mem::offset_of;

/// All registers that an application's instruction can change, and the red zone, in the
/// layout of the assembly below.
#[derive(Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Registers {
    /// YMM0 to YMM15, the low half first.
    pub vector: [[u64; 4]; 16],
    /// ST0 to ST7, ten bytes each.
    pub x87: [[u64; 2]; 8],
    /// The 128 bytes below the stack pointer, the lowest last.
    pub red_zone: [u64; 16],
    /// RBX, RCX, RDX, RSI, RDI, RBP, R8 to R15. Not the stack pointer, and not RAX, which
    /// holds the address before the access and the word after it.
    pub general: [u64; 14],
    /// The word that the access read.
    pub rax: u64,
    pub rflags: u64,
    pub mxcsr: u32,
    /// The x87 control word.
    pub control: u32,
}

/// Loads all registers from `load`, reads the word at `address`, and stores all to `store`.
///
/// ```text
///   return address
///   rbp rbx r12 r13 r14 r15      the caller's
///   caller's mxcsr, x87 control  [rsp + 16]
///   address, later the word      [rsp + 8]
///   store                        [rsp]
///   ─────────────────────────────◄ rsp at the access
///   red zone, 128 bytes
/// ```
///
/// Between load and store of RFLAGS there are only `mov`s, which do not change them; nothing
/// is pushed while the red zone is in use.
macro_rules! touch {
    ($(#[$doc:meta])* $name:ident, $load:literal, $store:literal, $end:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        pub unsafe extern "C" fn $name(load: *const Registers, store: *mut Registers, address: *const u64) {
            naked_asm!(
                "push rbp", "push rbx", "push r12", "push r13", "push r14", "push r15",
                "sub rsp, 24",
                "mov [rsp], rsi",
                "mov [rsp + 8], rdx",
                "stmxcsr [rsp + 16]",
                "fnstcw [rsp + 20]",
                "mov rax, rdi",
                ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                $load,
                ".endr",
                "ldmxcsr [rax + {mxcsr}]",
                "fninit",
                "fldcw [rax + {control}]",
                ".irp n, 7, 6, 5, 4, 3, 2, 1, 0",
                "fld tbyte ptr [rax + {x87} + 16 * \\n]",
                ".endr",
                "push qword ptr [rax + {rflags}]",
                "popfq",
                ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16",
                "mov rbx, [rax + {red_zone} + 8 * \\n - 8]",
                "mov [rsp - 8 * \\n], rbx",
                ".endr",
                "mov rbx, [rax + {general}]", "mov rcx, [rax + {general} + 8]",
                "mov rdx, [rax + {general} + 16]", "mov rsi, [rax + {general} + 24]",
                "mov rdi, [rax + {general} + 32]", "mov rbp, [rax + {general} + 40]",
                ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
                "mov r\\n, [rax + {general} + 8 * \\n - 16]",
                ".endr",
                "mov rax, [rsp + 8]",
                // The access to the evicted page.
                "mov rax, [rax]",
                "mov [rsp + 8], rax",
                "mov rax, [rsp]",
                "mov [rax + {general}], rbx", "mov [rax + {general} + 8], rcx",
                "mov [rax + {general} + 16], rdx", "mov [rax + {general} + 24], rsi",
                "mov [rax + {general} + 32], rdi", "mov [rax + {general} + 40], rbp",
                ".irp n, 8, 9, 10, 11, 12, 13, 14, 15",
                "mov [rax + {general} + 8 * \\n - 16], r\\n",
                ".endr",
                "mov rbx, [rsp + 8]",
                "mov [rax + {rax}], rbx",
                ".irp n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16",
                "mov rbx, [rsp - 8 * \\n]",
                "mov [rax + {red_zone} + 8 * \\n - 8], rbx",
                ".endr",
                "pushfq",
                "pop qword ptr [rax + {rflags}]",
                "cld",
                ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
                $store,
                ".endr",
                "stmxcsr [rax + {mxcsr}]",
                "fnstcw [rax + {control}]",
                ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
                "fstp tbyte ptr [rax + {x87} + 16 * \\n]",
                ".endr",
                "ldmxcsr [rsp + 16]",
                "fldcw [rsp + 20]",
                $end,
                "add rsp, 24",
                "pop r15", "pop r14", "pop r13", "pop r12", "pop rbx", "pop rbp",
                "ret",
                vector = const offset_of!(Registers, vector),
                x87 = const offset_of!(Registers, x87),
                red_zone = const offset_of!(Registers, red_zone),
                general = const offset_of!(Registers, general),
                rax = const offset_of!(Registers, rax),
                rflags = const offset_of!(Registers, rflags),
                mxcsr = const offset_of!(Registers, mxcsr),
                control = const offset_of!(Registers, control),
            )
        }
    };
}

touch! {
    /// Uses whole vector registers (YMM).
    ///
    /// # Safety
    /// The processor has AVX. `load` holds valid register values, with the caller's interrupt
    /// flag and exception masks; `address` holds a word.
    touch_avx,
    "vmovdqu ymm\\n, [rax + {vector} + 32 * \\n]",
    "vmovdqu [rax + {vector} + 32 * \\n], ymm\\n",
    "vzeroupper"
}

touch! {
    /// Uses the low halves of the vector registers (XMM).
    ///
    /// # Safety
    /// As for [`touch_avx`], on any x86-64 processor.
    touch_sse,
    "movdqu xmm\\n, [rax + {vector} + 32 * \\n]",
    "movdqu [rax + {vector} + 32 * \\n], xmm\\n",
    "nop"
}
