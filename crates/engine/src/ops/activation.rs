//! Activations between the matrices of a feed-forward, plain and gated, as the second matrix takes its rows.
//! The encoder calls it; the classification heads use single ones.
//! Invariant: a number's result depends on that number alone (and its gate), whatever the tier's registers hold beside it.

use super::packed::RowSource;
use super::tier::{Tier, exp, multiply_add, tiers};
use crate::error::{Error, Result};

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * Phi(x)`, with the normal distribution's own function (Hendrycks and Gimpel 2016).
    Gelu,
    /// The same with the authors' approximation by a hyperbolic tangent.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// `x * sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// By the name in a config.json.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            "tanh" => Self::Tanh,
            _ => return None,
        })
    }
}

/// The error function, to 2e-7: Abramowitz and Stegun 7.1.26.
#[inline(always)]
fn erf<const FUSED: bool>(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / multiply_add::<FUSED>(0.327_591_1, magnitude, 1.0);
    let mut p = 1.061_405_4f32;
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = multiply_add::<FUSED>(p, t, c);
    }
    (1.0 - p * t * exp::<FUSED>(-magnitude * magnitude)).copysign(x)
}

#[inline(always)]
fn activate_body<const FUSED: bool>(activation: Activation, row: &[f32], output: &mut [f32]) {
    let each = output.iter_mut().zip(row);
    match activation {
        Activation::Gelu => {
            each.for_each(|(y, &x)| *y = 0.5 * x * (1.0 + erf::<FUSED>(x * std::f32::consts::FRAC_1_SQRT_2)));
        }
        Activation::GeluTanh => each.for_each(|(y, &x)| {
            // 1 + tanh(u) is 2 sigmoid(2u).
            let u = 0.797_884_6 * multiply_add::<FUSED>(0.044_715 * x * x, x, x);
            *y = x / (1.0 + exp::<FUSED>(-2.0 * u));
        }),
        Activation::Relu => each.for_each(|(y, &x)| *y = if x < 0.0 { 0.0 } else { x }),
        Activation::Silu => each.for_each(|(y, &x)| *y = x / (1.0 + exp::<FUSED>(-x))),
        Activation::Tanh => each.for_each(|(y, &x)| *y = 1.0 - 2.0 / (1.0 + exp::<FUSED>(2.0 * x))),
    }
}

#[inline(always)]
fn multiply_body<const FUSED: bool>(row: &mut [f32], factors: &[f32]) {
    for (x, &factor) in row.iter_mut().zip(factors) {
        *x *= factor;
    }
}

tiers! {
    /// Applies it to every number of a row.
    pub(crate) fn activate(activation: Activation, row: &[f32], output: &mut [f32]) = activate_body;
}
tiers! { fn multiply(row: &mut [f32], factors: &[f32]) = multiply_body; }

/// Rows `activation(gate)`, or `activation(gate) * up` (Shazeer 2020), computed as a matrix takes them.
pub struct Activated<'a> {
    gate: &'a [f32],
    up: Option<&'a [f32]>,
    columns: usize,
    activation: Activation,
    tier: Tier,
}

impl<'a> Activated<'a> {
    /// Rows of `columns` numbers.
    ///
    /// # Errors
    /// `Internal` if the lengths do not agree.
    pub fn new(
        activation: Activation,
        gate: &'a [f32],
        up: Option<&'a [f32]>,
        columns: usize,
        tier: Tier,
    ) -> Result<Self> {
        if columns == 0 || !gate.len().is_multiple_of(columns) || up.is_some_and(|up| up.len() != gate.len()) {
            return Err(Error::internal("an activation of rows that are not as long"));
        }
        Ok(Self { gate, up, columns, activation, tier })
    }
}

impl RowSource for Activated<'_> {
    fn rows(&self) -> usize {
        self.gate.len() / self.columns
    }

    fn columns(&self) -> usize {
        self.columns
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let row = index * self.columns..(index + 1) * self.columns;
        activate(self.tier, self.activation, &self.gate[row.clone()], room);
        if let Some(up) = self.up {
            multiply(self.tier, room, &up[row]);
        }
        room
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The error function by its series, exact to double precision for the arguments used here.
    fn erf_exact(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn all_are_close_on_every_tier() {
        let inputs: Vec<f32> = (-400..=400).map(|i| i as f32 / 100.0).collect();
        let exact = |activation, x: f64| match activation {
            Activation::Gelu => 0.5 * x * (1.0 + erf_exact(x / 2f64.sqrt())),
            Activation::GeluTanh => 0.5 * x * (1.0 + (0.797_884_560_8 * (x + 0.044_715 * x.powi(3))).tanh()),
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        };
        let all = ["gelu", "gelu_new", "relu", "silu", "tanh"].map(|name| Activation::named(name).unwrap());
        for tier in Tier::ALL.into_iter().filter(|tier| tier.supported()) {
            for activation in all {
                let mut found = vec![0.0; inputs.len()];
                activate(tier, activation, &inputs, &mut found);
                for (&x, &y) in inputs.iter().zip(&found) {
                    let exact = exact(activation, f64::from(x));
                    assert!((f64::from(y) - exact).abs() < 1e-6, "{tier} {activation:?}({x}) = {y}, not {exact}");
                }
                let mut alone = [0.0];
                activate(tier, activation, &inputs[77..78], &mut alone);
                assert_eq!(alone[0].to_bits(), found[77].to_bits(), "{tier} {activation:?}: alone");
            }
        }
    }

    #[test]
    fn far_from_zero_nothing_overflows() {
        for activation in ["gelu", "gelu_new", "relu", "silu", "tanh"] {
            let activation = Activation::named(activation).unwrap();
            let mut found = [0.0; 4];
            activate(Tier::detect(), activation, &[-1e30, -200.0, 200.0, f32::NAN], &mut found);
            assert!(found[..3].iter().all(|y| y.is_finite()) && found[3].is_nan(), "{activation:?}: {found:?}");
        }
    }

    #[test]
    fn a_gate_multiplies() {
        let (gate, up) = ([1.0, -1.0, 2.0, 3.0], [2.0, 2.0, 0.5, -1.0]);
        let source = Activated::new(Activation::Relu, &gate, Some(&up), 2, Tier::detect()).unwrap();
        let mut room = [0.0; 2];
        // SAFETY: nobody else asks.
        assert_eq!(unsafe { source.row(1, &mut room) }, [1.0, -3.0]);
        assert!(Activated::new(Activation::Relu, &gate, Some(&up[..2]), 2, Tier::detect()).is_err());
    }
}
