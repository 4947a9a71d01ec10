//! Quantizing at load: how close it comes, that searching is worth it, and what is refused.
//! Invariant: errors are those of the numbers that the format's reader gives back, never of intermediate results.
#![allow(clippy::unwrap_used, missing_docs)]

use engine::ErrorKind;
use engine::ops::ggml::{GgmlType, dequantize};
use engine::ops::pool::Pool;
use engine::ops::quantize::{QUANTIZED, quantize, quantize_rows};

use crate::ops_data::Random;

fn encode(ty: GgmlType, numbers: &[f32]) -> Vec<u8> {
    let mut bytes = vec![0xff; ty.bytes(numbers.len()).unwrap()];
    quantize(ty, numbers, &mut bytes).unwrap();
    bytes
}

fn there_and_back(ty: GgmlType, numbers: &[f32]) -> Vec<f32> {
    let mut back = vec![f32::NAN; numbers.len()];
    dequantize(ty, &encode(ty, numbers), &mut back).unwrap();
    back
}

/// The root mean square of the difference over that of `numbers`.
fn relative_error(numbers: &[f32], back: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>();
    let wrong = squares(&mut numbers.iter().zip(back).map(|(a, b)| a - b));
    (wrong / squares(&mut numbers.iter().copied())).sqrt()
}

/// Plain rounding with the scale that the extremes of each `len` numbers give, which is stored exactly: the type's codes
/// without a search, and without the cost of rounding scales.
fn rounded(ty: GgmlType, numbers: &[f32]) -> Vec<f32> {
    let block = |numbers: &[f32]| -> Vec<f32> {
        let (low, high) = numbers.iter().fold((0.0_f32, 0.0_f32), |(low, high), &x| (low.min(x), high.max(x)));
        let largest = if -low > high { low } else { high };
        let signed = |steps: f32| {
            let scale = -largest / steps;
            numbers.iter().map(|x| (x / scale).round().clamp(-steps, steps - 1.0) * scale).collect()
        };
        let with_minimum = |steps: f32| {
            let scale = (high - low) / steps;
            numbers.iter().map(|x| ((x - low) / scale).round() * scale + low).collect()
        };
        match ty {
            GgmlType::Q8_0 => numbers.iter().map(|x| (x / largest * 127.0).round() * largest / 127.0).collect(),
            GgmlType::Q6_K => signed(32.0),
            GgmlType::Q5_0 => signed(16.0),
            GgmlType::Q4_0 => signed(8.0),
            GgmlType::Q5_K | GgmlType::Q5_1 => with_minimum(31.0),
            GgmlType::Q4_K | GgmlType::Q4_1 => with_minimum(15.0),
            // Evenly spaced codes are what an uneven codebook has to beat.
            _ => signed(8.0),
        }
    };
    numbers.chunks(if ty == GgmlType::Q6_K { 16 } else { 32 }).flat_map(block).collect()
}

#[test]
fn numbers_come_back_close_and_closer_than_by_plain_rounding() {
    let normal = Random::new(31).normals(256 * 64);
    for (ty, bound) in [
        (GgmlType::Q8_0, 0.006),
        (GgmlType::Q6_K, 0.018),
        (GgmlType::Q5_K, 0.038),
        (GgmlType::Q5_1, 0.038),
        (GgmlType::Q5_0, 0.042),
        (GgmlType::Q4_K, 0.078),
        (GgmlType::Q4_1, 0.078),
        (GgmlType::Q4_0, 0.088),
        (GgmlType::IQ4_XS, 0.08),
        (GgmlType::IQ4_NL, 0.08),
    ] {
        let error = relative_error(&normal, &there_and_back(ty, &normal));
        let plain = relative_error(&normal, &rounded(ty, &normal));
        println!("{ty:?}: {error:.5}, plain rounding {plain:.5}");
        assert!(error < bound, "{ty:?}: {error}");
        // Eight bits are rounded plainly; what differs is that their scale is a half float.
        let allowed = if ty == GgmlType::Q8_0 { 1.001 * plain } else { plain };
        assert!(error <= allowed, "{ty:?}: {error}, plain rounding {plain}");
    }
}

#[test]
fn numbers_of_every_size_come_back() {
    let mut random = Random::new(32);
    for ty in QUANTIZED {
        for size in [1e-3, 1.0, 1e2] {
            // Few large numbers among small ones, and some zeros.
            let numbers: Vec<f32> =
                (0..1024).map(|i| if i % 7 == 0 { 0.0 } else { random.normal().powi(3) * size }).collect();
            let error = relative_error(&numbers, &there_and_back(ty, &numbers));
            assert!(error < 0.15, "{ty:?} at {size}: {error}");
        }
        for constant in [0.0_f32, 0.75, -0.75, 1e-30, -1e-30, 1e30] {
            let back = there_and_back(ty, &[constant; 256]);
            assert!(back.iter().all(|x| x.is_finite()), "{ty:?}: {constant}");
            if constant.abs() < 1.0 {
                assert!(
                    back.iter().all(|x| (x - constant).abs() <= 0.02 * constant.abs().max(1e-20)),
                    "{ty:?}: {constant} as {}",
                    back[0]
                );
            }
        }
    }
}

#[test]
fn rows_are_quantized_alike_on_any_number_of_threads() {
    let (rows, columns) = (37, 512);
    let numbers = Random::new(33).normals(rows * columns);
    let stored: Vec<u8> = numbers.iter().flat_map(|&x| half::bf16::from_f32(x).to_le_bytes()).collect();
    let mut exact = vec![0.0; numbers.len()];
    dequantize(GgmlType::BF16, &stored, &mut exact).unwrap();
    for ty in QUANTIZED {
        let expected = encode(ty, &exact);
        for threads in 1..=3 {
            let pool = Pool::new(threads).unwrap();
            let found = quantize_rows(GgmlType::BF16, &stored, columns, ty, &pool).unwrap();
            assert!(found == expected, "{ty:?} on {threads} threads");
        }
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let pool = Pool::new(2).unwrap();
    let mut out = [0; 34];
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut numbers = [1.0; 32];
        numbers[20] = bad;
        assert_eq!(quantize(GgmlType::Q8_0, &numbers, &mut out).unwrap_err().kind, ErrorKind::ModelUnreadable);
        let stored: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        let error = quantize_rows(GgmlType::F32, &stored, 32, GgmlType::Q8_0, &pool).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    }
    assert!(quantize(GgmlType::Q8_0, &[1.0; 31], &mut out).is_err());
    assert!(quantize(GgmlType::Q8_0, &[1.0; 64], &mut out).is_err());
    assert_eq!(quantize(GgmlType::Q2_K, &[1.0; 256], &mut [0; 84]).unwrap_err().kind, ErrorKind::Internal);
    for (columns, bytes) in [(0, 0), (32, 100), (33, 33 * 4)] {
        assert!(quantize_rows(GgmlType::F32, &vec![0; bytes], columns, GgmlType::Q4_0, &pool).is_err());
    }
}
