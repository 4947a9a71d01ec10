//! The attention kernel against the textbook formula in double precision, and against itself in other company.

#![allow(clippy::unwrap_used)]

use super::*;

struct World {
    shape: AttentionShape,
    keys: Vec<f32>,
    values: Vec<f32>,
    // Straight copies per position, `[position][kv_head * head_dim]`, for the formula.
    plain_keys: Vec<Vec<f32>>,
    plain_values: Vec<Vec<f32>>,
    blocks: Vec<u32>,
}

fn random(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

impl World {
    /// `positions` keys scattered over blocks in reverse order, in a pool with other blocks full of noise.
    fn new(shape: AttentionShape, positions: usize, seed: u64) -> Self {
        let mut seed = seed;
        let count = positions.div_ceil(KEYS);
        let blocks: Vec<u32> = (0..count as u32).rev().map(|b| b * 2 + 1).collect();
        let width = shape.kv_heads * shape.head_dim;
        let mut noise = |len: usize| (0..len).map(|_| random(&mut seed)).collect::<Vec<_>>();
        let size = (count * 2 + 2) * width * KEYS;
        let (mut keys, mut values) = (noise(size), noise(size));
        let plain_keys: Vec<_> = (0..positions).map(|_| noise(width)).collect();
        let plain_values: Vec<_> = (0..positions).map(|_| noise(width)).collect();
        for p in 0..positions {
            for h in 0..shape.kv_heads {
                let base = (blocks[p / KEYS] as usize * shape.kv_heads + h) * shape.head_dim * KEYS;
                for d in 0..shape.head_dim {
                    keys[base + d * KEYS + p % KEYS] = plain_keys[p][h * shape.head_dim + d];
                    values[base + (p % KEYS) * shape.head_dim + d] = plain_values[p][h * shape.head_dim + d];
                }
            }
        }
        Self { shape, keys, values, plain_keys, plain_values, blocks }
    }

    fn attend(&self, query: &[f32], start: usize, threads: usize) -> Vec<f32> {
        let width = self.shape.heads * self.shape.head_dim;
        let rows = query.len() / width;
        let pool = Pool::new(threads).unwrap();
        let query = Tensor::from_slice(query, (rows, width), &candle_core::Device::Cpu).unwrap();
        let cache = PagedCache { keys: Cached::F32(&self.keys), values: Cached::F32(&self.values) };
        let span = QuerySpan { first_row: 0, rows, start, blocks: &self.blocks };
        let output = attend(&query, &cache, &self.shape, &[span], &pool).unwrap();
        values(&output).unwrap().to_vec()
    }

    fn formula(&self, query: &[f32], start: usize) -> Vec<f64> {
        let AttentionShape { heads, kv_heads, head_dim, scale, window } = self.shape;
        let mut output = Vec::new();
        for (row, q) in query.chunks_exact(heads * head_dim).enumerate() {
            let position = start + row;
            let from = window.map_or(0, |w| (position + 1).saturating_sub(w));
            for head in 0..heads {
                let kv = head / (heads / kv_heads) * head_dim;
                let q = &q[head * head_dim..(head + 1) * head_dim];
                let score = |p: usize| -> f64 {
                    let k = &self.plain_keys[p][kv..kv + head_dim];
                    q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>() * f64::from(scale)
                };
                let weights: Vec<f64> = (from..=position).map(|p| score(p).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for d in 0..head_dim {
                    let mixed: f64 =
                        weights.iter().zip(from..).map(|(w, p)| w * f64::from(self.plain_values[p][kv + d])).sum();
                    output.push(mixed / sum);
                }
            }
        }
        output
    }
}

fn shapes() -> Vec<AttentionShape> {
    [
        (4, 2, 64, None),
        (3, 3, 16, None),
        (9, 3, 40, None),
        (6, 1, 80, Some(7)),
        (4, 4, 32, Some(50)),
        (2, 1, 96, Some(1)),
    ]
    .map(|(heads, kv_heads, head_dim, window)| AttentionShape {
        heads,
        kv_heads,
        head_dim,
        scale: 1.0 / (head_dim as f32).sqrt(),
        window,
    })
    .to_vec()
}

#[test]
fn agrees_with_the_formula() {
    for shape in shapes() {
        for (start, rows) in [(0, 1), (0, 70), (31, 2), (64, 33), (99, 1)] {
            let world = World::new(shape, start + rows, 7);
            let mut seed = 99;
            let query: Vec<f32> = (0..rows * shape.heads * shape.head_dim).map(|_| 3.0 * random(&mut seed)).collect();
            let got = world.attend(&query, start, 2);
            for (got, exact) in got.iter().zip(world.formula(&query, start)) {
                assert!((f64::from(*got) - exact).abs() < 2e-5, "{shape:?} from {start}: {got}, not {exact}");
            }
        }
    }
}

#[test]
fn a_row_is_the_same_bits_in_any_chunk_and_on_any_number_of_threads() {
    for shape in shapes() {
        let rows = 75;
        let world = World::new(shape, rows, 3);
        let width = shape.heads * shape.head_dim;
        let mut seed = 5;
        let query: Vec<f32> = (0..rows * width).map(|_| 3.0 * random(&mut seed)).collect();
        let whole = world.attend(&query, 0, 1);
        assert_eq!(whole, world.attend(&query, 0, 3));
        for chunk in [1, 7, 32] {
            let mut pieces = Vec::new();
            for (index, query) in query.chunks(chunk * width).enumerate() {
                pieces.extend(world.attend(query, index * chunk, 2));
            }
            assert_eq!(whole, pieces, "{shape:?} in chunks of {chunk}");
        }
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let shape = AttentionShape { heads: 1, kv_heads: 1, head_dim: 32, scale: 1.0, window: None };
    let world = World::new(shape, 40, 1);
    let query: Vec<f32> = (0..40 * 32).map(|i| if i % 3 == 0 { 500.0 } else { -500.0 }).collect();
    assert!(world.attend(&query, 0, 1).iter().all(|x| x.is_finite()));
}
