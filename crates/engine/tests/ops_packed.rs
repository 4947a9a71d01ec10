//! Packed matrices: right against the dequantized weights, and the same bits alone as in company.
#![allow(clippy::unwrap_used, missing_docs)]

use crate::ops_data::{Random, TYPES, is_float, is_widened, weights};
use engine::ops::ggml::{GgmlType, dequantize};
use engine::ops::packed::{Given, Packed, Tier, matmul_many};
use engine::ops::pool::Pool;
use engine::{CpuTier, ErrorKind};

/// All tiers that this CPU has, and what can be emulated on it.
fn tiers() -> impl Iterator<Item = Tier> {
    Tier::ALL.into_iter().filter(|&tier| tier.supported() || emulated(tier))
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn emulated(tier: Tier) -> bool {
    tier == Tier::Amx && crate::amx_emulator::install()
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn emulated(_tier: Tier) -> bool {
    false
}

/// A width that the type allows and that is awkward: odd for floats, an odd number of blocks.
fn awkward_k(ty: GgmlType) -> usize {
    match ty.block_len() {
        1 => 333,
        32 | 64 => ty.block_len() * 9,
        block => block * 3,
    }
}

fn packed(ty: GgmlType, n: usize, k: usize, seed: u64, tier: Tier, pool: &Pool) -> (Packed, Vec<u8>) {
    let bytes = weights(ty, n * k, &mut Random::new(seed));
    let matrix = Packed::pack(ty, n, k, &bytes, pool).unwrap();
    if emulated(tier) && !tier.supported() {
        // SAFETY: the emulator stands in for what the CPU lacks.
        return (unsafe { matrix.with_tier_unchecked(tier) }, bytes);
    }
    (matrix.with_tier(tier).unwrap(), bytes)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn rows_come_back_as_the_format_defines_them() {
    let pool = Pool::new(2).unwrap();
    for (ty, k) in TYPES.into_iter().flat_map(|ty| [(ty, awkward_k(ty)), (ty, 512)]) {
        let n = 37;
        let (matrix, bytes) = packed(ty, n, k, 1, Tier::Portable, &pool);
        assert_eq!((matrix.dtype(), matrix.n(), matrix.k()), (ty, n, k));
        let mut expected = vec![0.0; n * k];
        dequantize(ty, &bytes, &mut expected).unwrap();
        let mut row = vec![0.0; k];
        for i in 0..n {
            matrix.row(i, &mut row).unwrap();
            assert_eq!(row, expected[i * k..][..k], "{ty:?}, {k} columns, row {i}");
        }
    }
}

/// Whether the input's rows become bfloats.
fn rounds_to_bfloats(ty: GgmlType, tier: Tier) -> bool {
    ty == GgmlType::BF16 && tier == Tier::Amx
}

#[test]
fn products_are_close_to_the_exact_ones() {
    let pool = Pool::new(2).unwrap();
    for ty in TYPES {
        for (n, k) in [(37, awkward_k(ty)), (64, 512), (5, 2 * awkward_k(ty)), (1, 256), (50, 2560)] {
            let m = 11;
            let (matrix, bytes) = packed(ty, n, k, 2, Tier::detect(), &pool);
            let mut exact_weights = vec![0.0; n * k];
            dequantize(ty, &bytes, &mut exact_weights).unwrap();
            let input = Random::new(3).normals(m * k);
            // Bfloats are multiplied with bfloats.
            let rounded = |x: f32| if ty == GgmlType::BF16 { half::bf16::from_f32(x).to_f64() } else { x.into() };
            let exact: Vec<f64> = (0..m * n)
                .map(|i| {
                    let (row, column) = (&input[i / n * k..][..k], &exact_weights[i % n * k..][..k]);
                    row.iter().zip(column).map(|(&x, &w)| rounded(x) * f64::from(w)).sum()
                })
                .collect();
            for tier in tiers() {
                let (matrix, _) = packed(ty, n, k, 2, tier, &pool);
                let mut output = vec![f32::NAN; m * n];
                matrix.matmul(&input, m, &mut output, &pool).unwrap();
                let wrong: f64 = output.iter().zip(&exact).map(|(&y, e)| (f64::from(y) - e).powi(2)).sum();
                let error = (wrong / exact.iter().map(|e| e * e).sum::<f64>()).sqrt();
                // What rounding the input to 8 bits costs; Q8_K is kept as floats.
                let allowed = if rounds_to_bfloats(ty, tier) {
                    4e-3
                } else if is_float(ty) || ty == GgmlType::Q8_K {
                    1e-5
                } else {
                    1e-2
                };
                assert!(error < allowed, "{ty:?} [{n}, {k}] on {tier:?}: error {error}");
            }
            assert_eq!(matrix.n(), n);
        }
    }
}

#[test]
fn a_row_is_the_same_alone_and_in_company() {
    let pools: Vec<Pool> = (1..=3).map(|threads| Pool::new(threads).unwrap()).collect();
    for ty in TYPES {
        let (n, k) = (16 * 9 + 5, awkward_k(ty));
        let input = Random::new(4).normals(100 * k);
        for tier in tiers() {
            let (matrix, _) = packed(ty, n, k, 5, tier, &pools[0]);
            let mut alone = vec![0.0; 100 * n];
            for (row, output) in alone.chunks_exact_mut(n).enumerate() {
                matrix.matmul(&input[row * k..][..k], 1, output, &pools[0]).unwrap();
            }
            // Emulated instructions take a while; the most threads have the most ways to differ.
            let slow = emulated(tier) && !tier.supported();
            for pool in &pools[if slow { 2 } else { 0 }..] {
                for m in [1, 2, 3, 4, 5, 7, 8, 16, 17, 32, 33, 64, 100] {
                    // Another place in the batch, too.
                    for first in [0, 100 - m] {
                        let mut together = vec![f32::NAN; m * n];
                        matrix.matmul(&input[first * k..][..m * k], m, &mut together, pool).unwrap();
                        let threads = pool.threads();
                        let same = bits(&together) == bits(&alone[first * n..][..m * n]);
                        assert!(same, "{ty:?} on {tier:?}, rows {first} to {}, {threads} threads", first + m);
                    }
                }
            }
        }
    }
}

#[test]
fn long_rows_taken_part_by_part_are_the_same_too() {
    let (alone_pool, pool) = (Pool::new(1).unwrap(), Pool::new(3).unwrap());
    for ty in TYPES {
        let (m, n, k) = (70, 16 * 3 + 5, if is_float(ty) { 5001 } else { 32 * 8 * 33 });
        let input = Random::new(16).normals(m * k);
        for tier in tiers() {
            let (matrix, _) = packed(ty, n, k, 17, tier, &pool);
            let mut together = vec![f32::NAN; m * n];
            matrix.matmul(&input, m, &mut together, &pool).unwrap();
            let mut alone = vec![f32::NAN; n];
            for row in [0, 1, 31, 43, 44, 63, 64, 67, 68, 69] {
                matrix.matmul(&input[row * k..][..k], 1, &mut alone, &alone_pool).unwrap();
                assert!(bits(&alone) == bits(&together[row * n..][..n]), "{ty:?} on {tier:?}, row {row}");
            }
        }
    }
}

#[test]
fn the_integer_tiers_differ_only_in_rounding() {
    let pool = Pool::new(2).unwrap();
    for ty in TYPES {
        let (n, k, m) = (48, 512, 3);
        let input = Random::new(6).normals(m * k);
        let outputs: Vec<Vec<f32>> = tiers()
            .filter(|&tier| !rounds_to_bfloats(ty, tier))
            .map(|tier| {
                let mut output = vec![0.0; m * n];
                packed(ty, n, k, 7, tier, &pool).0.matmul(&input, m, &mut output, &pool).unwrap();
                output
            })
            .collect();
        for output in &outputs {
            let size = outputs[0].iter().fold(0.0, |size: f32, y| size.max(y.abs()));
            assert!(output.iter().zip(&outputs[0]).all(|(y, other)| (y - other).abs() <= 2e-5 * size), "{ty:?}");
        }
    }
}

#[test]
fn amx_gives_the_bits_of_avx512() {
    let pool = Pool::new(2).unwrap();
    for ty in TYPES.into_iter().filter(|&ty| ty != GgmlType::BF16) {
        let (n, k) = (16 * 5 + 3, if is_float(ty) { 77 } else { 256 * 5 });
        let matrices: Vec<Packed> = tiers()
            .filter(|tier| [Tier::Avx512, Tier::Amx].contains(tier))
            .map(|tier| packed(ty, n, k, 18, tier, &pool).0)
            .collect();
        let [avx512, amx] = &matrices[..] else {
            println!("skipped: this machine has no AVX-512");
            return;
        };
        for m in [1, 7, 8, 9, 16, 23, 24, 31, 33] {
            let input = Random::new(m as u64).normals(m * k);
            let mut outputs = [vec![f32::NAN; m * n], vec![0.0; m * n]];
            avx512.matmul(&input, m, &mut outputs[0], &pool).unwrap();
            amx.matmul(&input, m, &mut outputs[1], &pool).unwrap();
            assert!(bits(&outputs[0]) == bits(&outputs[1]), "{ty:?}, {m} rows");
        }
    }
}

#[test]
fn matrices_that_share_their_input_go_together() {
    let pool = Pool::new(3).unwrap();
    let (m, k) = (6, 512);
    let input = Random::new(8).normals(m * k);
    let kinds =
        [(GgmlType::Q4_K, 40), (GgmlType::Q6_K, 16), (GgmlType::BF16, 7), (GgmlType::F16, 9), (GgmlType::Q8_0, 100)];
    for tier in tiers() {
        let matrices: Vec<Packed> = kinds.iter().map(|&(ty, n)| packed(ty, n, k, n as u64, tier, &pool).0).collect();
        let mut outputs: Vec<Vec<f32>> = kinds.iter().map(|&(_, n)| vec![f32::NAN; m * n]).collect();
        let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        matmul_many(&matrices.iter().collect::<Vec<_>>(), &Given::new(&input, m), &mut slices, &pool).unwrap();
        for (matrix, output) in matrices.iter().zip(&outputs) {
            let mut alone = vec![0.0; output.len()];
            matrix.matmul(&input, m, &mut alone, &pool).unwrap();
            assert_eq!(bits(output), bits(&alone), "{matrix:?}");
        }
    }
}

#[test]
fn a_value_that_is_no_number_is_not_lost() {
    let pool = Pool::new(1).unwrap();
    for ty in TYPES {
        let k = 512;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut input = Random::new(9).normals(2 * k);
            input[k + 77] = bad;
            for tier in tiers() {
                let (matrix, _) = packed(ty, 20, k, 10, tier, &pool);
                let mut output = vec![0.0; 2 * 20];
                matrix.matmul(&input, 2, &mut output, &pool).unwrap();
                assert!(output[..20].iter().all(|y| y.is_finite()), "{ty:?} on {tier:?}: the other row");
                assert!(output[20..].iter().all(|y| !y.is_finite()), "{ty:?} on {tier:?}: {bad}");
            }
        }
    }
}

#[test]
fn a_tier_that_the_cpu_lacks_is_refused() {
    for tier in Tier::ALL {
        let pool = Pool::with_tier(1, tier);
        assert_eq!(pool.is_ok(), tier.supported(), "{tier}");
        assert!(pool.is_ok_and(|pool| pool.tier() == tier) || !tier.supported());
    }
    let named = |asked| Tier::choose(asked).map_err(|error| error.message);
    assert_eq!(named(CpuTier::Auto).unwrap(), Tier::detect());
    assert_eq!(named(CpuTier::Portable).unwrap(), Tier::Portable);
    let foreign = if cfg!(target_arch = "x86_64") { CpuTier::Neon } else { CpuTier::Avx512 };
    let message = named(foreign).unwrap_err();
    assert!(message.contains(&foreign.to_string()) && message.contains("portable"), "{message}");
}

#[test]
fn zeros_stay_zeros() {
    let pool = Pool::new(1).unwrap();
    for ty in TYPES {
        let (matrix, _) = packed(ty, 16, 256, 11, Tier::detect(), &pool);
        let mut output = vec![1.0; 16];
        matrix.matmul(&[0.0; 256], 1, &mut output, &pool).unwrap();
        assert!(output.iter().all(|&y| y == 0.0), "{ty:?}");
    }
}

#[test]
fn memory_stays_near_the_file() {
    let pool = Pool::new(1).unwrap();
    for ty in TYPES.into_iter().filter(|&ty| !is_widened(ty)) {
        let (matrix, bytes) = packed(ty, 64, 1024, 12, Tier::detect(), &pool);
        assert!(matrix.bytes() as f64 <= 1.06 * bytes.len() as f64, "{ty:?}: {} of {}", matrix.bytes(), bytes.len());
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let pool = Pool::new(1).unwrap();
    let bytes = weights(GgmlType::Q4_K, 512 * 3, &mut Random::new(13));
    for (rows, columns, bytes) in
        [(3, 512, &bytes[1..]), (4, 512, &bytes[..]), (3, 500, &bytes), (0, 512, &[]), (usize::MAX, 512, &bytes)]
    {
        let error = Packed::pack(GgmlType::Q4_K, rows, columns, bytes, &pool).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ModelUnreadable, "{rows} x {columns}");
    }
    let error = Packed::pack(GgmlType::Q4_K, 3, 512, &bytes[1..], &pool).unwrap_err();
    assert!(error.message.contains("864") && error.message.contains("863"), "{}", error.message);
    let matrix = Packed::pack(GgmlType::Q4_K, 3, 512, &bytes, &pool).unwrap();
    assert!(matrix.matmul(&[0.0; 512], 1, &mut [0.0; 4], &pool).is_err());
    assert!(matrix.matmul(&[0.0; 511], 1, &mut [0.0; 3], &pool).is_err());
    assert!(matrix.row(3, &mut [0.0; 512]).is_err());
    assert!(matrix.row(0, &mut [0.0; 511]).is_err());
    matrix.matmul(&[], 0, &mut [], &pool).unwrap();
}

#[test]
fn it_may_be_called_from_inside_a_computation() {
    let pool = Pool::new(2).unwrap();
    let (matrix, _) = packed(GgmlType::Q8_0, 32, 256, 14, Tier::detect(), &pool);
    let input = Random::new(15).normals(256);
    let mut expected = vec![0.0; 32];
    matrix.matmul(&input, 1, &mut expected, &pool).unwrap();
    pool.run_chunks(8, 1, &|_| {
        let mut output = vec![0.0; 32];
        matrix.matmul(&input, 1, &mut output, &pool).unwrap();
        assert_eq!(bits(&output), bits(&expected));
    })
    .unwrap();
}
