//! The steps of one request in their order, and the walk from a row of logits to what may be drawn.
//! The sampler builds it once per sequence, of the steps that are on alone, and walks it once per token.
//! Invariant: a step that is off is not in the chain and costs nothing; the steps that most requests ask for work on
//! the row itself, and a list of the whole vocabulary is made only for a step that needs it.

use super::candidates::Candidates;
use super::dry::Dry;
use super::exponential::Scale;
use super::filters::{Filters, keep_min_p, keep_top_p};
use super::marks::Marks;
use super::peaks::Peaks;
use super::penalties::{self, Field, Window};
use super::targets::Target;
use super::{temperatures, truncations};
use crate::error::Result;
use crate::request::{DynamicTemperature, SamplerStep, Sampling};

/// What the walk ends with.
pub(super) enum Outcome {
    /// Every token of the row, weighed by this.
    Row(Scale),
    /// The candidates.
    List,
}

/// One step.
#[derive(Debug, Clone)]
enum Step {
    Edit(Edit),
    Shape(Shape),
    /// A temperature and the filters that come first of all shapes, in their usual order.
    Cut {
        temperature: f32,
        filters: Filters,
    },
}

/// Changes of single logits, by the history.
#[derive(Debug, Clone)]
enum Edit {
    Repetition { penalty: f32, seen: Window },
    Occurrence { frequency: f32, presence: f32, seen: Window },
    EncoderRepetition { penalty: f32, prompt: Vec<u32> },
    Dry(Box<Dry>),
}

/// Changes of the list.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    TopNSigma(f32),
    Temperature(f32),
    DynamicTemperature(DynamicTemperature),
    Quadratic { factor: f32, curve: f32 },
    TopK(usize),
    TopP(f32),
    Typical(f32),
    Epsilon(f32),
    Eta(f32),
    Tfs(f32),
    TopA(f32),
    MinP(f32),
    Xtc { threshold: f32, probability: f32 },
}

/// The steps of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    steps: Vec<Step>,
    /// Chooses at the very end.
    target: Option<Target>,
    marks: Marks,
}

impl Chain {
    pub(super) fn new(sampling: &Sampling, marks: &Marks, prompt: &[u32]) -> Self {
        let target = match (sampling.mirostat, sampling.adaptive) {
            (Some(mirostat), _) => Some(Target::mirostat(mirostat)),
            (None, Some(adaptive)) => Some(Target::adaptive(adaptive)),
            (None, None) => None,
        };
        let mut chain = Self { steps: Vec::new(), target, marks: marks.clone() };
        for step in order(&sampling.priority) {
            if let Some(edit) = edit_of(step, sampling, marks, prompt) {
                chain.push_edit(edit);
            } else if let Some(shape) = shape_of(step, sampling) {
                chain.push_shape(shape);
            }
        }
        chain
    }

    /// Frequency and presence penalty side by side are one step.
    fn push_edit(&mut self, edit: Edit) {
        if let (
            Some(Step::Edit(Edit::Occurrence { frequency, presence, .. })),
            Edit::Occurrence { frequency: more_frequency, presence: more_presence, .. },
        ) = (self.steps.last_mut(), &edit)
        {
            *frequency += more_frequency;
            *presence += more_presence;
            return;
        }
        self.steps.push(Step::Edit(edit));
    }

    /// The first shapes become a cut, as far as they are those that can, in the order in which a cut has them.
    fn push_shape(&mut self, shape: Shape) {
        let first = self.steps.iter().all(|step| matches!(step, Step::Edit(_)));
        if first && cut_rank(shape).is_some() {
            self.steps.push(Step::Cut { temperature: 1.0, filters: Filters::default() });
        }
        if let Some(Step::Cut { temperature, filters }) = self.steps.last_mut() {
            let reached = [filters.min_p > 0.0, filters.top_p < 1.0, filters.top_k > 0, *temperature != 1.0];
            let reached = reached.iter().position(|set| *set).map_or(-1, |place| 3 - place as i32);
            match (cut_rank(shape), shape) {
                (Some(rank), Shape::Temperature(value)) if rank > reached => return *temperature = value,
                (Some(rank), Shape::TopK(value)) if rank > reached => return filters.top_k = value,
                (Some(rank), Shape::TopP(value)) if rank > reached => return filters.top_p = value,
                (Some(rank), Shape::MinP(value)) if rank > reached => return filters.min_p = value,
                _ => {}
            }
        }
        self.steps.push(Step::Shape(shape));
    }

    /// Only the steps that change single logits, as the choice of the likeliest token needs them.
    pub(super) fn edit(&mut self, logits: &mut [f32]) {
        for step in &mut self.steps {
            if let Step::Edit(edit) = step {
                edit.apply(&mut Field::Row(logits));
            }
        }
    }

    /// Takes every step. `coin` is a number in [0, 1) for the one that leaves something to chance.
    ///
    /// # Errors
    /// `Internal` if the logits are broken or rule out every token.
    pub(super) fn walk(
        &mut self,
        logits: &mut [f32],
        peaks: &mut Peaks,
        candidates: &mut Candidates,
        coin: impl Fn() -> f64,
    ) -> Result<Outcome> {
        let last = self.steps.len().saturating_sub(usize::from(self.target.is_none()));
        let mut listed = false;
        for (place, step) in self.steps.iter_mut().enumerate() {
            match step {
                Step::Edit(edit) if !listed => edit.apply(&mut Field::Row(logits)),
                Step::Edit(edit) => edit.apply(&mut Field::List(candidates)),
                Step::Cut { temperature, filters } => {
                    peaks.scan(logits)?;
                    let scale = Scale::new(peaks.max(), *temperature);
                    if !filters.keep_all(logits.len()) {
                        filters.apply(logits, peaks, scale, candidates);
                    } else if place == last {
                        return Ok(Outcome::Row(scale));
                    } else {
                        candidates.fill(peaks.above(logits, f32::NEG_INFINITY), scale);
                    }
                    candidates.divided(*temperature);
                    listed = true;
                }
                // Of a whole row this keeps few, so no list of all the others is made.
                Step::Shape(Shape::TopNSigma(n)) if !listed => {
                    peaks.scan(logits)?;
                    let bound = truncations::sigma_bound(logits.iter().copied(), peaks.max(), *n);
                    candidates.fill_from(logits, bound);
                    listed = true;
                }
                Step::Shape(shape) => {
                    if !listed {
                        peaks.scan(logits)?;
                        candidates.fill_from(logits, f32::NEG_INFINITY);
                        listed = true;
                    }
                    shape.apply(candidates, &self.marks, &coin);
                }
            }
        }
        let Some(target) = &mut self.target else {
            if listed {
                return Ok(Outcome::List);
            }
            peaks.scan(logits)?;
            return Ok(Outcome::Row(Scale::new(peaks.max(), 1.0)));
        };
        if !listed {
            peaks.scan(logits)?;
            candidates.fill_from(logits, f32::NEG_INFINITY);
        }
        target.shape(candidates, logits.len());
        Ok(Outcome::List)
    }

    /// `token` is now the sequence's last. `drawn_from` is what the walk ended with, if one led to this token.
    pub(super) fn accept(&mut self, token: u32, drawn_from: Option<&mut Candidates>) {
        for step in &mut self.steps {
            match step {
                Step::Edit(Edit::Repetition { seen, .. } | Edit::Occurrence { seen, .. }) => seen.accept(token),
                Step::Edit(Edit::Dry(dry)) => dry.accept(token),
                _ => {}
            }
        }
        if let (Some(target), Some(candidates)) = (&mut self.target, drawn_from) {
            target.accept(token, candidates);
        }
    }
}

/// Every step once: those of `priority`, then the others in their usual order.
fn order(priority: &[SamplerStep]) -> Vec<SamplerStep> {
    let mut order = Vec::with_capacity(SamplerStep::USUAL_ORDER.len());
    for &step in priority.iter().chain(&SamplerStep::USUAL_ORDER) {
        if !order.contains(&step) {
            order.push(step);
        }
    }
    order
}

fn cut_rank(shape: Shape) -> Option<i32> {
    match shape {
        Shape::Temperature(_) => Some(0),
        Shape::TopK(_) => Some(1),
        Shape::TopP(_) => Some(2),
        Shape::MinP(_) => Some(3),
        _ => None,
    }
}

fn edit_of(step: SamplerStep, sampling: &Sampling, marks: &Marks, prompt: &[u32]) -> Option<Edit> {
    let range = sampling.repetition_penalty_range as usize;
    let (frequency, presence) = (sampling.frequency_penalty, sampling.presence_penalty);
    let on = |edit: fn(f32, Window) -> Edit, value: f32, off: f32, tokens: &[u32]| {
        (value != off).then(|| edit(value, Window::new(range, tokens)))
    };
    match step {
        SamplerStep::RepetitionPenalty => {
            on(|penalty, seen| Edit::Repetition { penalty, seen }, sampling.repetition_penalty, 1.0, prompt)
        }
        SamplerStep::FrequencyPenalty => {
            on(|frequency, seen| Edit::Occurrence { frequency, presence: 0.0, seen }, frequency, 0.0, &[])
        }
        SamplerStep::PresencePenalty => {
            on(|presence, seen| Edit::Occurrence { frequency: 0.0, presence, seen }, presence, 0.0, &[])
        }
        SamplerStep::Dry => {
            let dry = sampling.dry.as_ref().filter(|dry| dry.multiplier > 0.0)?;
            Some(Edit::Dry(Box::new(Dry::new(dry, marks, prompt))))
        }
        SamplerStep::EncoderRepetitionPenalty => {
            let penalty = sampling.encoder_repetition_penalty;
            let mut prompt = prompt.to_vec();
            prompt.sort_unstable();
            prompt.dedup();
            (penalty != 1.0).then_some(Edit::EncoderRepetition { penalty, prompt })
        }
        _ => None,
    }
}

/// The shape that a step is, if it is on. Mirostat takes the place of all filters.
fn shape_of(step: SamplerStep, sampling: &Sampling) -> Option<Shape> {
    let temperature = match step {
        SamplerStep::Temperature if sampling.dynamic_temperature.is_none() && sampling.temperature != 1.0 => {
            Some(Shape::Temperature(sampling.temperature))
        }
        SamplerStep::DynamicTemperature => sampling.dynamic_temperature.map(Shape::DynamicTemperature),
        SamplerStep::QuadraticSampling => (sampling.smoothing_factor > 0.0)
            .then_some(Shape::Quadratic { factor: sampling.smoothing_factor, curve: sampling.smoothing_curve }),
        _ => None,
    };
    if temperature.is_some() || sampling.mirostat.is_some() {
        return temperature;
    }
    let below = |shape: fn(f32) -> Shape, value: f32| (value < 1.0).then(|| shape(value));
    let above = |shape: fn(f32) -> Shape, value: f32| (value > 0.0).then(|| shape(value));
    match step {
        SamplerStep::TopNSigma => above(Shape::TopNSigma, sampling.top_n_sigma),
        SamplerStep::TopK => (sampling.top_k > 0).then_some(Shape::TopK(sampling.top_k as usize)),
        SamplerStep::TopP => below(Shape::TopP, sampling.top_p),
        SamplerStep::TypicalP => below(Shape::Typical, sampling.typical_p),
        SamplerStep::EpsilonCutoff => above(Shape::Epsilon, sampling.epsilon_cutoff),
        SamplerStep::EtaCutoff => above(Shape::Eta, sampling.eta_cutoff),
        SamplerStep::Tfs => below(Shape::Tfs, sampling.tfs),
        SamplerStep::TopA => above(Shape::TopA, sampling.top_a),
        SamplerStep::MinP => above(Shape::MinP, sampling.min_p),
        SamplerStep::Xtc => (sampling.xtc_probability > 0.0)
            .then_some(Shape::Xtc { threshold: sampling.xtc_threshold, probability: sampling.xtc_probability }),
        _ => None,
    }
}

impl Edit {
    fn apply(&mut self, field: &mut Field) {
        match self {
            Self::Repetition { penalty, seen } => penalties::repetition(*penalty, seen, field),
            Self::Occurrence { frequency, presence, seen } => {
                penalties::occurrence(*frequency, *presence, seen, field);
            }
            Self::EncoderRepetition { penalty, prompt } => penalties::encoder_repetition(*penalty, prompt, field),
            Self::Dry(dry) => dry.apply(field),
        }
    }
}

impl Shape {
    fn apply(self, candidates: &mut Candidates, marks: &Marks, coin: impl Fn() -> f64) {
        match self {
            Self::TopNSigma(n) => truncations::cut_top_n_sigma(candidates, n),
            Self::Temperature(temperature) => temperatures::temper(candidates, temperature),
            Self::DynamicTemperature(dynamic) => temperatures::temper_by_entropy(candidates, dynamic),
            Self::Quadratic { factor, curve } => temperatures::smooth(candidates, factor, curve),
            Self::TopK(count) => candidates.keep_best(count),
            Self::TopP(mass) => keep_top_p(candidates, mass),
            Self::Typical(mass) => truncations::keep_typical(candidates, mass),
            Self::Epsilon(least) => candidates.keep_likely(f64::from(least)),
            Self::Eta(epsilon) => truncations::cut_eta(candidates, epsilon),
            Self::Tfs(share) => truncations::cut_tail(candidates, share),
            Self::TopA(a) => truncations::cut_top_a(candidates, a),
            Self::MinP(share) => keep_min_p(candidates, share),
            Self::Xtc { threshold, probability } => {
                if coin() < f64::from(probability) {
                    truncations::exclude_top(candidates, threshold, marks.kept());
                }
            }
        }
    }
}
