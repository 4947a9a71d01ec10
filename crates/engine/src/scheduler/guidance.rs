//! Classifier-free guidance: a second text, computed beside a sequence's own, that the draw is pushed away from.
//! The sequence owns one `Guide` where the request asks for it, and combines the logits of both before it draws.
//! Invariant: the second text is the negative prompt and then the sequence's own new tokens, nothing else.
//!
//! Sanchez et al., "Stay on topic with Classifier-Free Guidance", arXiv 2306.17806, equation 7, over log-probabilities:
//! `negative + scale * (own - negative)`.

use super::lane::Lane;

/// The second text and how strongly it counts.
pub struct Guide {
    /// 1 would change nothing.
    pub scale: f32,
    /// Negative prompt and new tokens.
    pub lane: Lane,
}

/// Puts the guided log-probabilities in place of `own` logits. NaN stays NaN.
pub fn combine(own: &mut [f32], negative: &[f32], scale: f32) {
    let (own_sum, negative_sum) = (log_sum(own), log_sum(negative));
    for (own, &negative) in own.iter_mut().zip(negative) {
        // What either text rules out has no difference to scale: the own text's word counts.
        if *own != f32::NEG_INFINITY && negative != f32::NEG_INFINITY {
            let (own_log, negative_log) = (f64::from(*own) - own_sum, f64::from(negative) - negative_sum);
            *own = (negative_log + f64::from(scale) * (own_log - negative_log)) as f32;
        } else {
            *own = (f64::from(*own) - own_sum) as f32;
        }
    }
}

/// ln(sum(exp(logits))).
fn log_sum(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    max + logits.iter().map(|&logit| (f64::from(logit) - max).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_softmax(logits: &[f32]) -> Vec<f64> {
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        logits.iter().map(|&logit| f64::from(logit) - sum.ln()).collect()
    }

    #[test]
    fn the_formula_holds_and_scale_one_changes_nothing() {
        let (own, negative) = ([1.0f32, -2.0, 0.5, 3.0], [0.3f32, 0.1, 2.0, -1.0]);
        let (a, b) = (log_softmax(&own), log_softmax(&negative));
        for scale in [0.0f32, 0.5, 1.0, 1.5, 3.0] {
            let mut combined = own;
            combine(&mut combined, &negative, scale);
            for ((found, own), negative) in combined.iter().zip(&a).zip(&b) {
                let wanted = negative + f64::from(scale) * (own - negative);
                assert!((f64::from(*found) - wanted).abs() < 1e-5, "{found} for {wanted} at {scale}");
            }
        }
    }

    #[test]
    fn what_is_ruled_out_stays_so_and_nan_shows() {
        let mut own = [0.0, f32::NEG_INFINITY, 1.0];
        combine(&mut own, &[f32::NEG_INFINITY, 0.0, 1.0], 2.0);
        assert!(own[0].is_finite() && own[1] == f32::NEG_INFINITY && own[2].is_finite());
        let mut own = [0.0, 1.0];
        combine(&mut own, &[f32::NAN, 0.0], 2.0);
        assert!(own[1].is_nan());
    }
}
