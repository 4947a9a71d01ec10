//! What a step costs by its number of rows, measured while running: time = base + rows * time per row.
//! The loop keeps one for the model (and one for a draft model) and asks what one more row would cost.
//! Invariant: only decides how much is drafted; wrong times make it slower, never wrong.
//!
//! A straight line by least squares over the last steps, older ones fading. Reading the weights is the base, arithmetic
//! the slope; on a CPU a row more costs some 8 to 20 % of a step with one row.

/// What a row costs, as a share of a step with one row, before anything was measured.
const ROW_SHARE_AT_FIRST: f64 = 0.15;

/// What a row costs at least, as a share of a step with one row: no noise may make drafts look free.
const ROW_SHARE_MIN: f64 = 0.02;

/// How much a step still counts at the next one: some fifty steps are remembered.
const FADE: f64 = 0.98;

/// A step that takes this many times what was expected was held up by something else and counts as this much.
const HELD_UP: f64 = 3.0;

/// Steps before a step can be told to be held up.
const STEPS_KNOWN_MIN: f64 = 8.0;

/// Rows must differ by so much (variance) before a slope can be read from them.
const VARIANCE_MIN: f64 = 0.2;

/// Times of steps that held nothing but tokens of those who talk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    // Fading sums over steps: their number, rows, rows squared, seconds, rows times seconds.
    steps: f64,
    rows: f64,
    squares: f64,
    seconds: f64,
    products: f64,
    row_share: Option<f64>,
}

impl Pace {
    /// A step of `rows` rows took `seconds`.
    pub(crate) fn note(&mut self, rows: usize, seconds: f64) {
        let seconds = if self.steps < STEPS_KNOWN_MIN { seconds } else { seconds.min(self.step_s(rows) * HELD_UP) };
        let rows = rows as f64;
        self.steps = self.steps * FADE + 1.0;
        self.rows = self.rows * FADE + rows;
        self.squares = self.squares * FADE + rows * rows;
        self.seconds = self.seconds * FADE + seconds;
        self.products = self.products * FADE + rows * seconds;
        let (mean_rows, mean_s) = (self.rows / self.steps, self.seconds / self.steps);
        let variance = self.squares / self.steps - mean_rows * mean_rows;
        if variance >= VARIANCE_MIN && mean_s > 0.0 {
            let slope = (self.products / self.steps - mean_rows * mean_s) / variance;
            // As a share of one row's step, which is mean - slope * (mean_rows - 1).
            let one = (mean_s - slope * (mean_rows - 1.0)).max(slope);
            self.row_share = Some(if one > 0.0 { (slope / one).clamp(ROW_SHARE_MIN, 1.0) } else { 1.0 });
        }
    }

    /// Whether anything was measured yet; before, times are in units of a step with one row.
    pub(crate) fn is_known(&self) -> bool {
        self.steps > 0.0
    }

    fn row_share(&self) -> f64 {
        self.row_share.unwrap_or(ROW_SHARE_AT_FIRST)
    }

    /// Seconds of a step with one row, on the line through the mean.
    fn one_row_s(&self) -> f64 {
        if !self.is_known() {
            return 1.0;
        }
        let mean_rows = self.rows / self.steps;
        self.seconds / self.steps / (1.0 + self.row_share() * (mean_rows - 1.0))
    }

    /// Seconds that one more row costs.
    pub(crate) fn row_s(&self) -> f64 {
        self.one_row_s() * self.row_share()
    }

    /// Seconds that a step of `rows` rows takes.
    pub(crate) fn step_s(&self, rows: usize) -> f64 {
        self.one_row_s() * (1.0 + self.row_share() * (rows as f64 - 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, wanted: f64) -> bool {
        (value / wanted - 1.0).abs() < 0.05
    }

    #[test]
    fn finds_the_line() {
        let mut pace = Pace::default();
        for step in 0..100 {
            let rows = 1 + step % 7;
            pace.note(rows, 0.010 + 0.002 * rows as f64);
        }
        assert!(near(pace.row_s(), 0.002) && near(pace.step_s(4), 0.018), "{pace:?}");
    }

    #[test]
    fn one_size_of_step_keeps_the_share_that_was_known() {
        let mut pace = Pace::default();
        (0..50).for_each(|step| pace.note(1 + step % 2 * 4, if step % 2 == 0 { 0.010 } else { 0.014 }));
        (0..500).for_each(|_| pace.note(1, 0.010));
        (0..500).for_each(|_| pace.note(1, 0.020));
        assert!(near(pace.step_s(1), 0.020) && near(pace.row_s(), 0.002), "{pace:?}");
    }

    #[test]
    fn a_step_that_was_held_up_counts_little() {
        let mut pace = Pace::default();
        (0..60).for_each(|step| pace.note(1 + step % 3, 0.010 + 0.001 * (step % 3) as f64));
        pace.note(3, 10.0);
        assert!(pace.step_s(1) < 0.02 && pace.row_s() < 0.006, "{pace:?}");
    }

    #[test]
    fn odd_times_stay_within_bounds() {
        let mut pace = Pace::default();
        for (rows, seconds) in [(1, 0.0), (5, 0.0), (1, 1.0), (9, 0.1), (1, 1.0), (3, f64::MIN_POSITIVE)] {
            pace.note(rows, seconds);
            assert!(pace.row_s().is_finite() && pace.row_s() >= 0.0 && pace.step_s(8).is_finite(), "{pace:?}");
        }
    }
}
