//! The attention kernel against the textbook formula in double precision, and against itself in other company.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::config::KvType;
use crate::ops::scratch::Memory;
use layout::KEYS;

struct World {
    shape: AttentionShape,
    kv_type: KvType,
    sinks: Option<Vec<f32>>,
    tier: Tier,
    pages: Memory,
    // Row after row, `[positions, kv_heads * head_dim]`, for the formula.
    keys: Vec<f32>,
    values: Vec<f32>,
    blocks: Vec<u32>,
    positions: usize,
}

fn random(seed: &mut u64) -> f32 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut seed = seed;
    (0..len).map(|_| random(&mut seed)).collect()
}

fn plain(heads: usize, kv_heads: usize, head_dim: usize) -> AttentionShape {
    let scale = 1.0 / (head_dim as f32).sqrt();
    AttentionShape { heads, kv_heads, head_dim, scale, causal: true, window: None, softcap: None }
}

impl World {
    /// `positions` keys scattered over blocks in reverse order, in pages where everything else is no number.
    fn new(shape: AttentionShape, kv_type: KvType, positions: usize, seed: u64) -> Self {
        let count = positions.div_ceil(KEYS);
        let blocks: Vec<u32> = (0..count as u32).rev().map(|b| b * 2 + 1).collect();
        let width = shape.kv_heads * shape.head_dim;
        let (keys, values) = (noise(positions * width, seed), noise(positions * width, seed + 1));
        let layout = layout_of(&shape, kv_type);
        let mut pages = Memory::zeroed(layout.block_bytes() * (2 * count + 2)).unwrap();
        pages.bytes_mut().fill(0xff);
        let span = StoreSpan { first_row: 0, rows: positions, start: 0, blocks: &blocks };
        let pool = Pool::new(2).unwrap();
        store(pages.bytes_mut(), &layout, 1, &[span], &keys, &values, None, &pool).unwrap();
        Self { shape, kv_type, sinks: None, tier: Tier::detect(), pages, keys, values, blocks, positions }
    }

    fn attend(&self, query: &[f32], start: usize, threads: usize) -> Vec<f32> {
        let cache = PagedCache::new(self.pages.bytes(), layout_of(&self.shape, self.kv_type), 1).unwrap();
        let keys = Keys::Blocks { blocks: &self.blocks, count: self.positions };
        self.attend_to(&KeyValues::Paged(cache), keys, query, start, threads)
    }

    fn attend_rows(&self, query: &[f32], start: usize, threads: usize) -> Vec<f32> {
        let source = KeyValues::Rows { keys: &self.keys, values: &self.values };
        self.attend_to(&source, Keys::Rows { first: 0, count: self.positions }, query, start, threads)
    }

    fn attend_to(
        &self,
        source: &KeyValues<'_>,
        keys: Keys<'_>,
        query: &[f32],
        start: usize,
        threads: usize,
    ) -> Vec<f32> {
        let pool = Pool::with_tier(threads, self.tier).unwrap();
        let rows = query.len() / (self.shape.heads * self.shape.head_dim);
        let span = QuerySpan { first_row: 0, rows, start, keys };
        let extras = AttentionExtras { rotation: None, sinks: self.sinks.as_deref() };
        let mut output = vec![0.0; query.len()];
        attend_into(query, source, &self.shape, &extras, &[span], &mut output, &pool).unwrap();
        output
    }

    fn formula(&self, query: &[f32], start: usize) -> Vec<f64> {
        let AttentionShape { heads, kv_heads, head_dim, scale, causal, window, softcap } = self.shape;
        let width = kv_heads * head_dim;
        let mut output = Vec::new();
        for (row, q) in query.chunks_exact(heads * head_dim).enumerate() {
            let position = start + row;
            let sees = |key: usize| {
                let ahead = key > position;
                let apart = position.abs_diff(key);
                !(causal && ahead) && window.is_none_or(|window| apart < window)
            };
            for head in 0..heads {
                let kv = head / (heads / kv_heads) * head_dim;
                let q = &q[head * head_dim..(head + 1) * head_dim];
                let score = |p: usize| -> f64 {
                    let k = &self.keys[p * width + kv..][..head_dim];
                    let dot =
                        q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>() * f64::from(scale);
                    softcap.map_or(dot, |cap| f64::from(cap) * (dot / f64::from(cap)).tanh())
                };
                let weights: Vec<(usize, f64)> =
                    (0..self.positions).filter(|&p| sees(p)).map(|p| (p, score(p).exp())).collect();
                let sink = self.sinks.as_ref().map_or(0.0, |sinks| f64::from(sinks[head]).exp());
                let sum: f64 = weights.iter().map(|(_, weight)| weight).sum::<f64>() + sink;
                for d in 0..head_dim {
                    let value = |p: usize| f64::from(self.values[p * width + kv + d]);
                    output.push(weights.iter().map(|&(p, weight)| weight * value(p)).sum::<f64>() / sum);
                }
            }
        }
        output
    }

    /// The largest difference from the formula, for queries somewhat larger than keys.
    fn error(&self, start: usize, rows: usize) -> f64 {
        let query: Vec<f32> =
            noise(rows * self.shape.heads * self.shape.head_dim, 99).iter().map(|x| 3.0 * x).collect();
        let exact = self.formula(&query, start);
        let difference = |got: Vec<f32>| {
            assert_eq!(got.len(), exact.len());
            // No number is as wrong as can be.
            let differences = got.iter().zip(&exact).map(|(got, exact)| (f64::from(*got) - exact).abs());
            differences.fold(0.0, |worst, d| {
                if d <= worst {
                    worst
                } else if d.is_nan() {
                    f64::INFINITY
                } else {
                    d
                }
            })
        };
        let paged = difference(self.attend(&query, start, 2));
        if self.kv_type == KvType::F32 {
            assert!(difference(self.attend_rows(&query, start, 2)) < 3e-5, "{:?} from {start}, in rows", self.shape);
        }
        paged
    }
}

fn layout_of(shape: &AttentionShape, kv_type: KvType) -> PageLayout {
    PageLayout { kv_type, layers: 3, kv_heads: shape.kv_heads, head_dim: shape.head_dim }
}

fn shapes() -> Vec<AttentionShape> {
    vec![
        plain(4, 2, 64),
        plain(3, 3, 16),
        plain(9, 3, 40),
        plain(7, 1, 33),
        plain(70, 1, 16),
        AttentionShape { window: Some(7), ..plain(6, 1, 80) },
        AttentionShape { window: Some(50), ..plain(4, 4, 32) },
        AttentionShape { window: Some(1), ..plain(2, 1, 96) },
        AttentionShape { window: Some(300), ..plain(5, 1, 24) },
        AttentionShape { softcap: Some(2.0), ..plain(4, 2, 128) },
        AttentionShape { causal: false, ..plain(2, 2, 72) },
        AttentionShape { causal: false, window: Some(40), ..plain(6, 2, 64) },
    ]
}

#[test]
fn agrees_with_the_formula() {
    for shape in shapes() {
        for (start, rows) in [(0, 1), (0, 70), (31, 2), (64, 33), (99, 1), (505, 9), (600, 1)] {
            let world = World::new(shape, KvType::F32, start + rows, 7);
            let error = world.error(start, rows);
            assert!(error < 3e-5, "{shape:?}, {rows} from {start}: {error} off");
        }
    }
}

#[test]
fn every_tier_agrees_with_the_formula() {
    let mut checked = 0;
    for tier in Tier::ALL.into_iter().filter(|tier| tier.supported()) {
        for (shape, kv_type) in
            shapes().into_iter().flat_map(|shape| KvType::NAMES.map(|(kv_type, _)| (shape, kv_type)))
        {
            let mut world = World::new(shape, kv_type, 310, 7);
            world.tier = tier;
            let bound = bound(kv_type);
            let error = world.error(280, 30);
            assert!(error < bound, "{shape:?} in {kv_type:?} on {tier:?}: {error} off");
        }
        checked += 1;
    }
    assert!(checked > 0);
}

/// Numbers below 1 are rounded by up to 2^-12 or 1/254 of the largest; scores add up some tens of those.
fn bound(kv_type: KvType) -> f64 {
    match kv_type {
        KvType::F32 => 3e-5,
        KvType::F16 => 2e-3,
        KvType::Q8_0 => 2.5e-2,
    }
}

#[test]
fn halves_and_integers_are_as_close_as_they_can_be() {
    for shape in shapes() {
        for (start, rows) in [(0, 40), (300, 1), (505, 9)] {
            for kv_type in [KvType::F16, KvType::Q8_0] {
                let error = World::new(shape, kv_type, start + rows, 7).error(start, rows);
                assert!(error < bound(kv_type), "{shape:?} in {kv_type:?}, {rows} from {start}: {error} off");
            }
        }
    }
}

#[test]
fn sinks_take_their_share() {
    for (shape, sink) in shapes().into_iter().zip([0.5, -3.0, 4.0, 60.0].into_iter().cycle()) {
        let mut world = World::new(shape, KvType::F32, 290, 11);
        world.sinks = Some((0..shape.heads).map(|head| sink + head as f32 * 0.1).collect());
        let error = world.error(280, 10);
        assert!(error < 3e-5, "{shape:?} with sinks of {sink}: {error} off");
    }
}

#[test]
fn a_row_is_the_same_bits_in_any_chunk_and_on_any_number_of_threads() {
    for (shape, kv_type) in shapes().into_iter().zip([KvType::F16, KvType::F32, KvType::Q8_0].into_iter().cycle()) {
        let rows = 600;
        let world = World::new(shape, kv_type, rows, 3);
        let width = shape.heads * shape.head_dim;
        let query: Vec<f32> = noise(rows * width, 5).iter().map(|x| 3.0 * x).collect();
        let whole = world.attend(&query, 0, 1);
        // More threads cut the work elsewhere; with so many, by chunks of keys.
        assert!(whole == world.attend(&query, 0, 3), "{shape:?} in {kv_type:?} on 3 threads");
        for (chunk, threads) in [(1, 4), (7, 2), (256, 64)] {
            for (index, query) in query.chunks(chunk * width).enumerate().skip(rows / chunk / 2).take(9) {
                let start = index * chunk;
                let part = world.attend(query, start, threads);
                let same = part[..] == whole[start * width..][..part.len()];
                assert!(same, "{shape:?} in {kv_type:?}: {chunk} rows from {start} on {threads} threads");
            }
        }
    }
}

#[test]
fn long_sequences_are_cut_by_chunks_of_keys() {
    let shape = plain(8, 2, 64);
    let keys = Keys::Rows { first: 0, count: 20_000 };
    let mut tiles = tiles(&shape, &[QuerySpan { first_row: 0, rows: 1, start: 19_999, keys }]);
    let (pieces, records) = cut(&mut tiles, &shape, 8);
    assert!(tiles.len() == 2 && pieces.len() >= 32, "{} pieces", pieces.len());
    assert_eq!(records, tiles.len() * 20_000_usize.div_ceil(CHUNK) * 4 * piece::record_len(64));
    assert_eq!(pieces.iter().map(|piece| piece.chunks.len()).sum::<usize>(), 2 * 20_000_usize.div_ceil(CHUNK));
    assert_eq!(cut(&mut tiles, &shape, 1).0.len(), 2);
}

#[test]
fn rows_of_several_sequences_do_not_meet() {
    let shape = plain(6, 2, 48);
    let worlds = [World::new(shape, KvType::F32, 300, 1), World::new(shape, KvType::F32, 40, 2)];
    let width = shape.heads * shape.head_dim;
    let query = noise(7 * width, 3);
    let keys = [&worlds[0].keys[..], &worlds[1].keys].concat();
    let values = [&worlds[0].values[..], &worlds[1].values].concat();
    let spans = [
        QuerySpan { first_row: 0, rows: 2, start: 298, keys: Keys::Rows { first: 0, count: 300 } },
        QuerySpan { first_row: 3, rows: 4, start: 30, keys: Keys::Rows { first: 300, count: 40 } },
    ];
    let source = KeyValues::Rows { keys: &keys, values: &values };
    let mut output = vec![7.0; query.len()];
    let pool = Pool::new(2).unwrap();
    attend_into(&query, &source, &shape, &AttentionExtras::default(), &spans, &mut output, &pool).unwrap();
    assert_eq!(output[..2 * width], worlds[0].attend_rows(&query[..2 * width], 298, 1));
    assert_eq!(output[2 * width..3 * width], vec![7.0; width]);
    assert_eq!(output[3 * width..], worlds[1].attend_rows(&query[3 * width..], 30, 1));
}

#[test]
fn queries_and_keys_are_rotated_on_the_way() {
    let shape = plain(4, 2, 32);
    let (rows, half) = (70, 8);
    let angles: Vec<f32> = (0..rows * half).map(|i| (i / half) as f32 / (1.0 + (i % half) as f32)).collect();
    let table = RotaryTable {
        cos: angles.iter().map(|a| a.cos()).collect(),
        sin: angles.iter().map(|a| a.sin()).collect(),
        half,
    };
    let rotated = |x: &[f32]| {
        let mut y = x.to_vec();
        for (index, head) in y.chunks_exact_mut(32).enumerate() {
            let row = index * 32 / (x.len() / rows);
            for i in 0..half {
                let (cos, sin) = (table.cos[row * half + i], table.sin[row * half + i]);
                let (a, b) = (head[i], head[half + i]);
                (head[i], head[half + i]) = (a * cos - b * sin, b * cos + a * sin);
            }
        }
        y
    };
    let query = noise(rows * 4 * 32, 5);
    let mut world = World::new(shape, KvType::F32, rows, 4);
    let layout = layout_of(&shape, KvType::F32);
    let pool = Pool::new(2).unwrap();
    let span = StoreSpan { first_row: 0, rows, start: 0, blocks: &world.blocks };
    store(world.pages.bytes_mut(), &layout, 1, &[span], &world.keys, &world.values, Some(&table), &pool).unwrap();
    let cache = KeyValues::Paged(PagedCache::new(world.pages.bytes(), layout, 1).unwrap());
    let keys = Keys::Blocks { blocks: &world.blocks, count: rows };
    let spans = [QuerySpan { first_row: 0, rows, start: 0, keys }];
    let mut output = vec![0.0; query.len()];
    let extras = AttentionExtras { rotation: Some(&table), sinks: None };
    attend_into(&query, &cache, &shape, &extras, &spans, &mut output, &pool).unwrap();
    world.keys = rotated(&world.keys);
    for (got, exact) in output.iter().zip(world.formula(&rotated(&query), 0)) {
        assert!((f64::from(*got) - exact).abs() < 3e-5, "{got}, not {exact}");
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let shape = AttentionShape { scale: 1.0, ..plain(1, 1, 32) };
    let world = World::new(shape, KvType::F32, 40, 1);
    let query: Vec<f32> = (0..40 * 32).map(|i| if i % 3 == 0 { 500.0 } else { -500.0 }).collect();
    assert!(world.attend(&query, 0, 1).iter().all(|x| x.is_finite()));
}

/// What is no number is seen by those who see its key, and by nobody else.
#[test]
fn what_is_no_number_stays_with_those_who_see_it() {
    for kv_type in [KvType::F32, KvType::F16, KvType::Q8_0] {
        for bad in [f32::NAN, f32::INFINITY] {
            let shape = plain(6, 2, 32);
            let width = shape.kv_heads * shape.head_dim;
            let mut world = World::new(shape, kv_type, 80, 1);
            let query = noise(80 * shape.heads * shape.head_dim, 2);
            let fine = world.attend(&query, 0, 2);
            let (mut keys, mut values) = (world.keys.clone(), world.values.clone());
            keys[50 * width..][..width].fill(bad);
            values[50 * width..][..width].fill(bad);
            let span = StoreSpan { first_row: 0, rows: 80, start: 0, blocks: &world.blocks };
            let pool = Pool::new(1).unwrap();
            let layout = layout_of(&shape, kv_type);
            store(world.pages.bytes_mut(), &layout, 1, &[span], &keys, &values, None, &pool).unwrap();
            let bad_from = 50 * shape.heads * shape.head_dim;
            let got = world.attend(&query, 0, 2);
            assert_eq!(got[..bad_from], fine[..bad_from], "{kv_type:?}");
            assert!(got[bad_from..].iter().all(|x| !x.is_finite()), "{kv_type:?}");
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let shape = plain(4, 2, 16);
    let world = World::new(shape, KvType::F16, 40, 1);
    let cache = PagedCache::new(world.pages.bytes(), layout_of(&shape, KvType::F16), 1).unwrap();
    let (query, pool) = (noise(2 * 64, 1), Pool::new(1).unwrap());
    let refused = |shape: &AttentionShape, extras: AttentionExtras<'_>, spans: &[QuerySpan<'_>]| {
        let mut output = vec![0.0; query.len()];
        attend_into(&query, &KeyValues::Paged(cache), shape, &extras, spans, &mut output, &pool).is_err()
    };
    let none = AttentionExtras::default();
    let good = QuerySpan { first_row: 0, rows: 2, start: 38, keys: Keys::Blocks { blocks: &world.blocks, count: 40 } };
    assert!(!refused(&shape, none, &[good]));
    assert!(refused(&plain(4, 3, 16), none, &[good]));
    assert!(refused(&plain(2, 1, 32), none, &[good]));
    assert!(refused(&shape, AttentionExtras { sinks: Some(&[0.0]), ..none }, &[good]));
    assert!(refused(&shape, none, &[QuerySpan { first_row: 1, ..good }]));
    assert!(refused(&shape, none, &[good, QuerySpan { rows: 1, ..good }]));
    assert!(refused(&shape, none, &[QuerySpan { keys: Keys::Blocks { blocks: &world.blocks, count: 65 }, ..good }]));
    assert!(refused(&shape, none, &[QuerySpan { keys: Keys::Blocks { blocks: &[0, 99], count: 40 }, ..good }]));
    assert!(refused(&shape, none, &[QuerySpan { keys: Keys::Rows { first: 0, count: 40 }, ..good }]));
    let layout = layout_of(&shape, KvType::F16);
    assert!(PagedCache::new(world.pages.bytes(), layout, 3).is_err());
    assert!(PagedCache::new(&world.pages.bytes()[2..], layout, 0).is_err());
    let mut pages = Memory::zeroed(2 * layout.block_bytes()).unwrap();
    let span = StoreSpan { first_row: 0, rows: 2, start: 31, blocks: &[0, 1] };
    let numbers = noise(2 * 32, 1);
    let mut stores = |spans: &[StoreSpan<'_>], numbers: &[f32]| {
        store(pages.bytes_mut(), &layout, 0, spans, numbers, numbers, None, &pool).is_ok()
    };
    assert!(stores(&[span], &numbers));
    assert!(!stores(&[span], &numbers[1..]));
    assert!(!stores(&[StoreSpan { blocks: &[0], ..span }], &numbers));
    assert!(!stores(&[StoreSpan { blocks: &[0, 2], ..span }], &numbers));
    assert!(!stores(&[StoreSpan { rows: 1, ..span }, StoreSpan { rows: 1, ..span }], &numbers));
    assert!(!stores(&[StoreSpan { first_row: 1, ..span }], &numbers));
}
