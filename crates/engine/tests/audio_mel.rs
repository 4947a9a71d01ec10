//! Log-mel rows as transformers computes them, for 80 and 128 filters and windows of 10 and 30 seconds.
//! Recorded by tests/fixtures/audio/make_mel.py; the sound is made here from the same formula.
//! Invariant: every value agrees to 1e-4, at the ends of the window and where the padding begins as well.

use engine::audio::LogMel;
use serde_json::Value;

use crate::toy::SplitMix64;

fn sound(count: usize) -> Vec<f32> {
    let mut draws = SplitMix64::new(20);
    let sample = |index: usize| {
        let noise = (draws.next().unwrap() >> 40) as f64 / f64::from(1 << 24) - 0.5;
        let at = index as f64 / 16_000.0;
        let chirp = 0.5 * (2.0 * std::f64::consts::PI * (100.0 * at + 130.0 * at * at)).sin();
        if (20_000..28_000).contains(&index) { 0.0 } else { (chirp + 0.01 * noise) as f32 }
    };
    (0..count).map(sample).collect()
}

#[test]
fn rows_agree_with_transformers() {
    let fixture: Value = serde_json::from_str(include_str!("../../../tests/fixtures/audio/mel.json")).unwrap();
    let windows = fixture["windows"].as_array().unwrap();
    assert_eq!(windows.len(), 5);
    for window in windows {
        let number = |key: &str| window[key].as_u64().unwrap() as usize;
        let (bins, frames) = (number("bins"), number("frames"));
        let mel = LogMel::new(bins, frames).unwrap();
        let mut rows = Vec::new();
        mel.compute(&sound(number("samples")), &mut rows).unwrap();
        assert_eq!(rows.len(), frames * bins);
        for (row, expected) in window["rows"].as_object().unwrap() {
            let at = row.parse::<usize>().unwrap() * bins;
            for (bin, expected) in expected.as_array().unwrap().iter().enumerate() {
                let (got, expected) = (rows[at + bin], expected.as_f64().unwrap() as f32);
                assert!((got - expected).abs() < 1e-4, "{bins} x {frames}, row {row}, bin {bin}: {got} for {expected}");
            }
        }
        let mean = rows.iter().map(|value| f64::from(*value)).sum::<f64>() / rows.len() as f64;
        assert!((mean - window["mean"].as_f64().unwrap()).abs() < 1e-4, "{mean}");
    }
}
