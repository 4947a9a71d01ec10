//! Shows how far a load is: a bar on a terminal, one line per stage in a log.
//! `main` hands it to the engine.
//! Invariant: without a terminal no control characters are written, and no more than one line per stage.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use engine::Progress;
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

const BAR: &str = "{msg} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
const STEPS: &str = "{msg} [{bar:30}] {pos}/{len}";
const SPINNER: &str = "{spinner} {msg}";

/// A smaller total counts steps, such as layers, and no bytes.
const BYTES_MIN: u64 = 4096;

/// A bar on the error output, or lines in the log.
pub struct Display {
    /// The bar under way; none without a terminal.
    bar: Mutex<Option<ProgressBar>>,
    is_terminal: bool,
}

impl Display {
    /// Looks whether somebody watches.
    pub fn new() -> Self {
        Self { bar: Mutex::new(None), is_terminal: std::io::stderr().is_terminal() }
    }

    /// Takes the bar away, so that lines can be printed.
    pub fn clear(&self) {
        self.replace(None);
    }

    fn replace(&self, bar: Option<ProgressBar>) {
        let mut shown = self.bar.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = shown.take() {
            before.finish_and_clear();
        }
        *shown = bar;
    }

    fn bar(template: &str, length: Option<u64>, message: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(message.to_owned());
        bar
    }
}

impl Default for Display {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Display {
    fn stage(&self, text: &str) {
        if self.is_terminal {
            self.replace(Some(Self::bar(SPINNER, None, text)));
        } else {
            tracing::info!("{text}");
        }
    }

    fn start(&self, what: &str, bytes_total: u64) {
        let counts_bytes = bytes_total >= BYTES_MIN;
        if self.is_terminal {
            let template = if counts_bytes { BAR } else { STEPS };
            self.replace(Some(Self::bar(template, Some(bytes_total), what)));
        } else if counts_bytes {
            tracing::info!("{what} ({})", HumanBytes(bytes_total));
        } else {
            tracing::info!("{what}");
        }
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = self.bar.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            bar.inc(bytes);
        }
    }

    fn finish(&self) {
        self.replace(None);
    }
}
