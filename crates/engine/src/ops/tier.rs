//! Which of the CPU's instructions the kernels use: chosen once by what the CPU says, or forced by a setting or a test.
//! A pool holds the choice and every kernel that it runs follows it. Also here: kernels written once in plain Rust and
//! compiled for several tiers, as the row-wise operations and attention are.
//! Invariant: a tier is handed out only on a CPU that has all of its instructions.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use super::amx;
use crate::config::CpuTier;
use crate::error::{Error, Result};

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust.
    Portable,
    /// 64-bit Arm with NEON and dot products.
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// The same with AVX-VNNI.
    Avx2Vnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with AVX-512 BF16.
    Avx512Bf16,
    /// AVX-512 as above, with or without BF16, and AMX's tiles of bytes and of bfloats. Linux must permit them.
    Amx,
}

impl Tier {
    /// All tiers, the plainest first.
    pub const ALL: [Self; 7] =
        [Self::Portable, Self::Neon, Self::Avx2, Self::Avx2Vnni, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::best(|_| true).unwrap_or(Self::Portable)
    }

    /// The best that was asked for. Fails with `InvalidRequest` if this CPU does not have it, and says what it has.
    pub fn choose(asked: CpuTier) -> Result<Self> {
        let best = if asked == CpuTier::Auto { Some(Self::detect()) } else { Self::best(|tier| tier.kind() == asked) };
        best.ok_or_else(|| Self::lacking(asked))
    }

    /// The tier itself, if this CPU has it; fails as [`Tier::choose`] does.
    pub fn checked(self) -> Result<Self> {
        if self.supported() { Ok(self) } else { Err(Self::lacking(self.kind())) }
    }

    fn best(wanted: impl Fn(Self) -> bool) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|&tier| wanted(tier) && tier.supported())
    }

    fn lacking(asked: CpuTier) -> Error {
        let had = Self::ALL.into_iter().filter(|tier| tier.supported()).map(|tier| tier.to_string());
        let had = had.collect::<Vec<_>>().join(", ");
        Error::invalid("cpu_tier", format!("this CPU lacks instructions of the tier `{asked}`; it has {had}"))
    }

    /// What a person calls it.
    fn kind(self) -> CpuTier {
        match self {
            Self::Portable => CpuTier::Portable,
            Self::Neon => CpuTier::Neon,
            Self::Avx2 | Self::Avx2Vnni => CpuTier::Avx2,
            Self::Avx512 | Self::Avx512Bf16 => CpuTier::Avx512,
            Self::Amx => CpuTier::Amx,
        }
    }

    /// Whether this CPU has it, and the system lets it be used.
    pub fn supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = || {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            };
            let avx512 = || {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            };
            match self {
                Self::Portable => true,
                Self::Neon => false,
                Self::Avx2 => avx2(),
                Self::Avx2Vnni => avx2() && is_x86_feature_detected!("avxvnni"),
                Self::Avx512 => avx512(),
                Self::Avx512Bf16 => avx512() && is_x86_feature_detected!("avx512bf16"),
                Self::Amx => avx512() && amx::usable(),
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            use std::arch::is_aarch64_feature_detected;
            match self {
                Self::Portable => true,
                Self::Neon => is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod"),
                _ => false,
            }
        }
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        {
            self == Self::Portable
        }
    }
}

/// As a person calls it, with a word more where one name covers two.
impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avx2Vnni => f.write_str("avx2 with vnni"),
            Self::Avx512Bf16 => f.write_str("avx512 with bf16"),
            _ => self.kind().fmt(f),
        }
    }
}

/// `a * b + c`, in one rounding where the tier has such an instruction.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The exponential function for arguments up to 88; below -87 it gives nearly 0. Relative error below 2e-7.
/// Range reduction by ln 2 in two parts and a polynomial of degree six, as in Cephes' `expf`; written without
/// branches so that it vectorises.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it leaves the nearest integer in the low bits
    let x = x.clamp(-87.3, 88.3);
    let shifted = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -0.693_359_4, x);
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = multiply_add::<FUSED>(p, r, c);
    }
    let p = multiply_add::<FUSED>(p, r * r, r + 1.0);
    let power = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(power)
}

/// Defines a function that runs `body::<FUSED>` compiled for a tier, which becomes its first argument.
macro_rules! tiers {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident;) => {
        $(#[$meta])*
        $vis fn $name(tier: Tier, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                fn avx512($($arg: $ty),*) { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($arg: $ty),*) { $body::<true>($($arg),*) }
                // SAFETY: a tier is handed out only on a CPU that has all of its instructions.
                match tier {
                    Tier::Amx | Tier::Avx512Bf16 | Tier::Avx512 => return unsafe { avx512($($arg),*) },
                    Tier::Avx2 | Tier::Avx2Vnni => return unsafe { avx2($($arg),*) },
                    Tier::Portable | Tier::Neon => {}
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = tier;
            // Other machines: 64-bit Arm has the fused instruction in its baseline, the rest get none.
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}
pub(crate) use tiers;

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_close_over_its_range() {
        for i in -8700..=8800 {
            let x = i as f32 * 0.01;
            let exact = (x as f64).exp();
            for got in [exp::<true>(x), exp::<false>(x)] {
                assert!(((got as f64 - exact) / exact).abs() < 2.5e-7, "exp({x}) = {got}, not {exact}");
            }
        }
        assert!(exp::<true>(f32::NEG_INFINITY) < 1.3e-38);
    }
}
