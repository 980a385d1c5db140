// SPDX-License-Identifier: GPL-2.0
//! Programs of which it is known how many accesses they make, and how many lines move: a
//! figure that is another one says that the plugin, or the emulator, does not see what it
//! should.

use super::marker::{self, BEGIN, END};
use super::turns::{self, BRISK, Part};
use crate::experiments::tell;
use rfutex_selftests::harness::{PAGE, stay_on};
use std::arch::asm;
use std::sync::atomic::{AtomicU64, Ordering};

/// The name under which it is told.
const NAME: &str = "lines, known";

/// So many processors take part in what moves.
const PROCESSORS: usize = 4;

/// Tells what is to come out of a window: accesses, lines that move, and lines that others
/// give up, on average of the places.
fn expect(case: &str, accesses: f64, lines: f64, upgrades: f64) {
    let figures = [
        ("accesses expected", accesses),
        ("lines expected", lines),
        ("upgrades expected", upgrades),
    ];
    tell(NAME, case, None, "program", &figures);
}

/// One page after another, with nothing else there.
#[repr(align(4096))]
struct Pages([u8; 2 * PAGE]);

/// A window, some times over, in which there is only the assembly given. It may use `rax`, `rcx`,
/// `rdi`, `rsi`, `r8` and `r9`, and finds in `rdi` and `rsi` what is said.
macro_rules! windows {
    ($case:expr, $accesses:expr, $rdi:expr, $rsi:expr, $($line:expr),*) => {{
        marker::section();
        for _ in 0..3 {
            // SAFETY: It accesses the memory that it is given, and its stack below what is used.
            unsafe {
                asm!(
                    "mov rax, {begin}",
                    ".byte 0x3e, 0x3e, 0x3e, 0x8a, 0x00",
                    $($line,)*
                    "mov rax, {end}",
                    ".byte 0x3e, 0x3e, 0x3e, 0x8a, 0x00",
                    begin = in(reg) marker::address(BEGIN),
                    end = in(reg) marker::address(END),
                    inout("rdi") $rdi => _,
                    inout("rsi") $rsi => _,
                    out("rax") _,
                    out("rcx") _,
                    out("rdx") _,
                    out("r8") _,
                    out("r9") _,
                );
            }
        }
        expect($case, f64::from($accesses), 0.0, 0.0);
    }};
}

/// All of them.
pub fn run() {
    stay_on(0);
    accesses();
    moves();
}

/// What one processor does.
fn accesses() {
    let mut pages = Box::new(Pages([0; 2 * PAGE]));
    let memory = pages.0.as_mut_ptr();
    let half = memory.wrapping_add(PAGE / 2);
    // The second page, less than a word's length after its beginning.
    let across = memory.wrapping_add(PAGE - 4);
    windows!("nothing", 0, memory, half, "nop");
    windows!(
        "8 loads, 8 stores",
        16,
        memory,
        half,
        ".rept 8",
        "mov rcx, [rdi]",
        "mov [rsi], rcx",
        ".endr"
    );
    // Each is one access.
    windows!(
        "8 locked instructions",
        8,
        memory,
        half,
        "mov eax, 1",
        "lock inc dword ptr [rdi]",
        "lock xadd [rdi], ecx",
        "lock add qword ptr [rdi + 8], 5",
        // It finds another value, and the one that it looks for.
        "lock cmpxchg [rdi + 16], ecx",
        "mov eax, [rip + 2f]",
        "lock cmpxchg [rdi + 24], r8d",
        "lock bts dword ptr [rdi + 32], 3",
        // Locked without saying so.
        "xchg [rdi + 40], rcx",
        "jmp 3f",
        "2:",
        ".long 0",
        "3:"
    );
    windows!(
        "a read-modify-write that is not locked",
        2,
        memory,
        half,
        "inc dword ptr [rdi]"
    );
    windows!(
        "rep movsb of 100 bytes",
        200,
        memory,
        half,
        "mov ecx, 100",
        "cld",
        "rep movsb"
    );
    windows!(
        "rep stosq of 16 words",
        16,
        memory,
        half,
        "mov ecx, 16",
        "cld",
        "rep stosq"
    );
    windows!(
        "8 pushes, 8 pops, a call and a return",
        18,
        memory,
        half,
        ".rept 8",
        "push rcx",
        ".endr",
        "call 2f",
        "jmp 3f",
        "2:",
        "ret",
        "3:",
        ".rept 8",
        "pop rcx",
        ".endr"
    );
    // Five pushes, five pops, and the two words each of the descriptors of CS and SS.
    windows!(
        "iret",
        14,
        memory,
        half,
        "mov rcx, rsp",
        "mov r8d, ss",
        "push r8",
        "push rcx",
        "pushfq",
        "mov r8d, cs",
        "push r8",
        "lea r8, [rip + 2f]",
        "push r8",
        "iretq",
        "2:"
    );
    windows!(
        "a load across two lines",
        2,
        memory,
        half,
        "mov rcx, [rdi + 60]"
    );
    windows!(
        "a store across two pages",
        2,
        across,
        half,
        "mov [rdi], rcx"
    );
    assert!(
        pages.0[..PAGE].iter().any(|&byte| byte != 0),
        "they were there"
    );
}

/// Does something in each turn.
struct Doing<F>(F);

impl<F: FnMut()> Part for Doing<F> {
    #[inline(always)]
    fn act(&mut self) {
        (self.0)();
    }
}

/// Words on lines of their own, and two on each.
#[repr(align(128))]
struct Words([AtomicU64; 64]);

impl Words {
    const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; 64])
    }
}

/// Words on one line.
const LINE: usize = 8;

fn take<F: FnMut()>(make: impl Fn(usize) -> F + Sync) {
    marker::section();
    turns::take(BRISK, PROCESSORS, |place| place, |place| Doing(make(place)));
}

/// What processors do in turn.
fn moves() {
    let words = Words::new();
    let nr = PROCESSORS as f64;
    let add = |word: &AtomicU64| {
        // SAFETY: It is a locked instruction on an atomic.
        unsafe {
            asm!("lock inc qword ptr [{word}]", word = in(reg) word.as_ptr(), options(nostack))
        };
    };
    // The writer has a copy left, as the readers have: it only takes theirs.
    take(|place| {
        let word = &words.0[0];
        move || {
            if place == 0 {
                word.store(1, Ordering::Relaxed);
            } else {
                word.load(Ordering::Relaxed);
            }
        }
    });
    expect("one writer, 3 readers", 1.0, (nr - 1.0) / nr, 1.0 / nr);
    take(|_| || add(&words.0[0]));
    expect("all write a word, locked", 1.0, 1.0, 0.0);
    // Read first, and then taken from all others.
    take(|_| {
        let word = words.0[0].as_ptr();
        // SAFETY: One processor at a time is here.
        move || unsafe { asm!("inc qword ptr [{word}]", word = in(reg) word, options(nostack)) }
    });
    expect("all write a word, not locked", 2.0, 1.0, 1.0);
    take(|place| {
        let word = &words.0[place];
        move || add(word)
    });
    expect("each has a word, all on one line", 1.0, 1.0, 0.0);
    take(|place| {
        let word = &words.0[place * LINE];
        move || add(word)
    });
    expect("each has a word, on a line of its own", 1.0, 0.0, 0.0);
    // Two read and write one line, the others another.
    take(|place| {
        let word = &words.0[place / 2 * LINE + place % 2];
        move || add(word)
    });
    expect("two have words on a line", 1.0, 1.0, 0.0);
    take(|_| {
        let word = words.0[0].as_ptr();
        // SAFETY: As above. There are as many words.
        move || unsafe {
            asm!("lock inc qword ptr [{word} + 60]", word = in(reg) word, options(nostack))
        }
    });
    expect("all write a word across two lines", 2.0, 2.0, 0.0);
}
