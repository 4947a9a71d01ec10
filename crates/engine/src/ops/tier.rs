//! Kernels written once in plain Rust and compiled for several instruction sets, by the tiers of the packed matrices.
//! The row-wise operations and the attention kernel are made with it.
//! Invariant: within one process a kernel always runs on the same tier, so equal input gives equal bits.

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

/// Defines a function that runs `body::<FUSED>` compiled for the best instruction set of this machine.
macro_rules! tiers {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) = $body:ident;) => {
        $(#[$meta])*
        $vis fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
                fn avx512($($arg: $ty),*) { $body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2($($arg: $ty),*) { $body::<true>($($arg),*) }
                // SAFETY: a tier is detected only on a CPU that has all of its instructions.
                match Tier::detect() {
                    Tier::Avx512 | Tier::Avx512Bf16 => return unsafe { avx512($($arg),*) },
                    Tier::Avx2 | Tier::Avx2Vnni => return unsafe { avx2($($arg),*) },
                    Tier::Portable => {}
                }
            }
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
