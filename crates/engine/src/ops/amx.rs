//! Whether AMX may be used: the CPU must have it, and Linux must grant its large registers to the process.
//! `tier.rs` asks when it looks for what the CPU has.
//! Invariant: asked for once; the answer holds for all threads, present and future.

use std::sync::OnceLock;

/// Whether the tiles of bytes and of bfloats are there and granted.
pub(super) fn usable() -> bool {
    // Feature detection, kept as the standard library keeps its own.
    static USABLE: OnceLock<bool> = OnceLock::new();
    *USABLE.get_or_init(|| has_tiles() && granted())
}

/// Whether the CPU has AMX-TILE, AMX-INT8 and AMX-BF16: leaf 7 of CPUID, register EDX (Intel's manual, volume 2).
fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    // SAFETY: every 64-bit CPU has this instruction, and leaf 7 is asked for only if there is one.
    #[allow(unused_unsafe)]
    let features = unsafe { if __cpuid(0).eax < 7 { 0 } else { __cpuid_count(7, 0).edx } };
    features & (BF16 | TILE | INT8) == BF16 | TILE | INT8
}

/// Asks Linux for the tiles' eight kilobytes of state: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
#[cfg(target_os = "linux")]
fn granted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const REQUEST_PERMISSION: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: the call reads and writes no memory of ours; it destroys the two registers named.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") REQUEST_PERMISSION,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn granted() -> bool {
    false
}
