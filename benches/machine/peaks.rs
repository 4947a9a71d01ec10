//! The most arithmetic that a thread can do: products of registers, nothing read from memory.
//! `bandwidth` prints it; a kernel's share of these says how far it is from what the CPU can do at all.
//! Invariant: twelve sums are under way at once, more than any unit's latency times its width; one product and its
//! addition count as two operations.

use super::best_seconds;

/// Rounds of a measurement.
const ROUNDS: usize = 1 << 20;

/// One kind of product.
pub(crate) struct Peak {
    /// The instruction and what it multiplies.
    pub(crate) name: &'static str,
    operations_per_round: usize,
    work: fn(usize),
}

impl Peak {
    /// Operations per second of all threads.
    pub(crate) fn operations_per_s(&self, threads: usize) -> f64 {
        let seconds = best_seconds(threads, |_| (self.work)(ROUNDS));
        (threads * ROUNDS * self.operations_per_round) as f64 / seconds
    }
}

/// The kinds that this CPU has.
pub(crate) fn peaks() -> Vec<Peak> {
    #[cfg(target_arch = "x86_64")]
    return x86::peaks();
    #[cfg(not(target_arch = "x86_64"))]
    Vec::new()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    use super::Peak;

    /// Sums 0 to 11 each take a product of registers 12 and 13, `rounds` times; `$register` says how wide they are.
    macro_rules! rounds {
        ($rounds:expr, $instruction:literal, $register:literal) => {
            // SAFETY: only registers change, and those that do are named; the CPU was asked for the instruction.
            unsafe {
                asm!(
                    "vzeroall",
                    "2:",
                    concat!($instruction, " ", $register, "0, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "1, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "2, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "3, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "4, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "5, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "6, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "7, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "8, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "9, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "10, ", $register, "12, ", $register, "13"),
                    concat!($instruction, " ", $register, "11, ", $register, "12, ", $register, "13"),
                    "dec {rounds}",
                    "jnz 2b",
                    rounds = inout(reg) $rounds => _,
                    out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                    out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                    out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                    options(nomem, nostack),
                )
            }
        };
    }

    pub(super) fn peaks() -> Vec<Peak> {
        let mut peaks = Vec::new();
        let mut add = |there: bool, name, operations: usize, work| {
            if there {
                peaks.push(Peak { name, operations_per_round: 12 * operations, work });
            }
        };
        let avx512 = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        add(avx512, "f32, vfmadd231ps, 512 bits", 2 * 16, |rounds| rounds!(rounds, "vfmadd231ps", "zmm"));
        let fma = is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2");
        add(fma, "f32, vfmadd231ps, 256 bits", 2 * 8, |rounds| rounds!(rounds, "vfmadd231ps", "ymm"));
        let bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
        add(bf16, "bf16, vdpbf16ps, 512 bits", 2 * 32, |rounds| rounds!(rounds, "vdpbf16ps", "zmm"));
        let vnni = avx512 && is_x86_feature_detected!("avx512vnni");
        add(vnni, "int8, vpdpbusd, 512 bits", 2 * 64, |rounds| rounds!(rounds, "vpdpbusd", "zmm"));
        let avx_vnni = is_x86_feature_detected!("avxvnni");
        add(avx_vnni, "int8, vpdpbusd, 256 bits", 2 * 32, |rounds| rounds!(rounds, "{{vex}} vpdpbusd", "ymm"));
        if tiles_permitted() {
            let features = __cpuid_count(7, 0).edx;
            let mut add = |bit: u32, name, operations: usize, work| {
                if features & 1 << bit != 0 {
                    peaks.push(Peak { name, operations_per_round: 4 * operations, work });
                }
            };
            // A product of tiles: 16 rows by 16 columns, 64 or 32 deep.
            add(24 + 1, "int8, tdpbssd (AMX)", 2 * 16 * 16 * 64, int8_tiles);
            add(22, "bf16, tdpbf16ps (AMX)", 2 * 16 * 16 * 32, bf16_tiles);
        }
        peaks
    }

    /// Whether the CPU has tiles and the system lets this process use them.
    fn tiles_permitted() -> bool {
        const TILE_DATA: usize = 18;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        let has_tiles = __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & 1 << 24 != 0;
        if !has_tiles || !cfg!(target_os = "linux") {
            return false;
        }
        let answer: isize;
        // SAFETY: arch_prctl (158) with this request changes nothing but what the process may use.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") 158_isize => answer,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") TILE_DATA,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        answer == 0
    }

    /// Four products of tiles, `rounds` times.
    macro_rules! tile_rounds {
        ($rounds:expr, $instruction:literal) => {{
            // Palette 1; eight tiles of 16 rows of 64 bytes.
            let mut config = [0_u8; 64];
            config[0] = 1;
            for tile in 0..8 {
                config[16 + 2 * tile] = 64;
                config[48 + tile] = 16;
            }
            // SAFETY: permission for tiles was given; the tiles are released again.
            unsafe {
                asm!(
                    "ldtilecfg [{config}]",
                    "tilezero tmm4",
                    "tilezero tmm5",
                    "2:",
                    concat!($instruction, " tmm0, tmm4, tmm5"),
                    concat!($instruction, " tmm1, tmm4, tmm5"),
                    concat!($instruction, " tmm2, tmm4, tmm5"),
                    concat!($instruction, " tmm3, tmm4, tmm5"),
                    "dec {rounds}",
                    "jnz 2b",
                    "tilerelease",
                    config = in(reg) config.as_ptr(),
                    rounds = inout(reg) $rounds => _,
                    options(nostack),
                );
            }
        }};
    }

    fn int8_tiles(rounds: usize) {
        tile_rounds!(rounds, "tdpbssd");
    }

    fn bf16_tiles(rounds: usize) {
        tile_rounds!(rounds, "tdpbf16ps");
    }
}
