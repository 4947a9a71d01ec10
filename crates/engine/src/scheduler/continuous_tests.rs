//! The loop against a model that only remembers: its logits are a hash of the tokens it finds through the block
//! table, so a wrong block, a lost row or a foreign prefix shows at once.

#![allow(clippy::unwrap_used)]

use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::*;
use crate::config::BLOCK_TOKENS;
use crate::output::FinishReason;
use crate::request::Sampling;
use crate::scheduler::submission::tests::submission;
use crate::scheduler::submission::{StepEvent, Submission};

#[path = "branches_tests.rs"]
mod branches;
#[path = "speculation_tests.rs"]
mod speculation;

const VOCABULARY: usize = 50;
const PANICS: u32 = 40;
const GIVES_NAN: u32 = 41;

struct Remembering {
    slots: Vec<u32>,
    blocks: usize,
    delay: Duration,
}

impl TextModel for Remembering {
    fn forward(&mut self, batch: &Batch) -> Result<Logits> {
        std::thread::sleep(self.delay);
        assert!(!batch.tokens.contains(&PANICS), "token {PANICS} was computed");
        for &(from, to) in &batch.copies {
            let block = |id: u32| id as usize * BLOCK_TOKENS..(id as usize + 1) * BLOCK_TOKENS;
            self.slots.copy_within(block(from), block(to).start);
        }
        let (mut values, mut states) = (Vec::new(), Vec::new());
        for span in &batch.spans {
            for row in span.rows.clone() {
                let position = batch.positions[row] as usize;
                let slot = |p: usize| span.blocks[p / BLOCK_TOKENS] as usize * BLOCK_TOKENS + p % BLOCK_TOKENS;
                self.slots[slot(position)] = batch.tokens[row];
                let history: Vec<u32> = (0..=position).map(|p| self.slots[slot(p)]).collect();
                if batch.logit_rows.contains(&row) {
                    values.extend(logits_of(&history));
                }
                if batch.state_rows.contains(&row) {
                    states.extend(state_of(&history));
                }
            }
        }
        Ok(Logits { values, vocabulary: VOCABULARY, states, state_width: 4 })
    }

    fn blocks(&self) -> usize {
        self.blocks
    }
}

fn logits_of(history: &[u32]) -> Vec<f32> {
    if history.contains(&GIVES_NAN) {
        return vec![f32::NAN; VOCABULARY];
    }
    let mut hash = history.iter().fold(1_469_598_103u64, |h, &t| (h ^ u64::from(t)).wrapping_mul(1_099_511_628_211));
    (0..VOCABULARY)
        .map(|id| {
            hash = hash.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The two special tokens are never drawn by themselves.
            if id as u32 == PANICS || id as u32 == GIVES_NAN { -1e9 } else { (hash >> 40) as f32 / 1e6 }
        })
        .collect()
}

/// A state of four numbers.
fn state_of(history: &[u32]) -> Vec<f32> {
    logits_of(history)[..4].iter().map(|logit| logit - 8.0).collect()
}

struct Running {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(blocks: usize, limits: Limits, delay: Duration) -> Self {
        Self::with(Remembering { slots: vec![0; blocks * BLOCK_TOKENS], blocks, delay }, None, limits)
    }

    fn with(model: impl TextModel + 'static, draft: Option<Draft>, limits: Limits) -> Self {
        let blocks = model.blocks();
        let (queue, counters) = (Arc::new(Queue::new(1000, 1 << 20)), Arc::new(Counters::new(blocks)));
        let (line, tally) = (queue.clone(), counters.clone());
        let thread = std::thread::spawn(move || {
            Continuous::new(Box::new(model), draft, line, tally, limits).run();
        });
        Self { queue, counters, thread: Some(thread) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.queue.close();
        self.thread.take().unwrap().join().unwrap();
        let stats = self.counters.snapshot();
        assert_eq!((stats.blocks_free, stats.running), (stats.blocks_total, 0), "blocks leaked");
    }
}

fn limits(parallel: usize, step_tokens_max: usize) -> Limits {
    Limits {
        parallel,
        step_tokens_max,
        prefix_cache: true,
        vocabulary: VOCABULARY,
        stall_max: Duration::from_secs(60),
        speculation: Speculation::default(),
    }
}

fn request(prompt: Vec<u32>, max_tokens: usize, seed: u64) -> (Submission, mpsc::Receiver<StepEvent>) {
    let (mut submission, receiver) = submission(prompt);
    submission.max_tokens = max_tokens;
    submission.sampling = Sampling { temperature: 1.0, seed: Some(seed), ..Sampling::default() };
    (submission, receiver)
}

fn collect(receiver: &mut mpsc::Receiver<StepEvent>) -> (Vec<u32>, Result<(FinishReason, u32)>) {
    let mut tokens = Vec::new();
    loop {
        match receiver.blocking_recv().expect("the loop gave up without a word") {
            StepEvent::Token { id, .. } => tokens.push(id),
            StepEvent::Prompt(_) | StepEvent::Distribution(_) | StepEvent::End(_) => {}
            StepEvent::Done { reason, cached_tokens, .. } => return (tokens, Ok((reason, cached_tokens))),
            StepEvent::Failed(error) => return (tokens, Err(error)),
        }
    }
}

fn prompt(seed: u32, len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (seed * 31 + i * i * 7 + i) % 40).collect()
}

fn alone(prompt: Vec<u32>, max_tokens: usize, seed: u64) -> Vec<u32> {
    let running = Running::start(64, limits(1, 512), Duration::ZERO);
    let (submission, mut receiver) = request(prompt, max_tokens, seed);
    running.queue.push(submission).unwrap();
    let (tokens, end) = collect(&mut receiver);
    end.unwrap();
    tokens
}

#[test]
fn alone_and_in_a_crowd_are_the_same() {
    // 40 blocks for 33 sequences of up to 5: they are put back again and again, prompts are cut at odd places.
    let running = Running::start(40, limits(16, 50), Duration::ZERO);
    let cases: Vec<_> = (0..33u32).map(|i| (prompt(i % 5, 3 + (i as usize * 13) % 90), 100, u64::from(i))).collect();
    let mut receivers = Vec::new();
    for (prompt, max, seed) in &cases {
        let (submission, receiver) = request(prompt.clone(), *max, *seed);
        running.queue.push(submission).unwrap();
        receivers.push(receiver);
    }
    for ((prompt, max, seed), mut receiver) in cases.into_iter().zip(receivers) {
        let (tokens, end) = collect(&mut receiver);
        assert_eq!(end.unwrap().0, FinishReason::Length);
        assert_eq!(tokens, alone(prompt, max, seed));
    }
    assert!(running.counters.snapshot().preempted > 0, "the test wants a shortage of blocks");
}

#[test]
fn a_prefix_is_reused_and_changes_nothing() {
    let running = Running::start(64, limits(4, 512), Duration::ZERO);
    let text = prompt(3, 100);
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (submission, mut receiver) = request(text.clone(), 10, 7);
        running.queue.push(submission).unwrap();
        let (tokens, end) = collect(&mut receiver);
        runs.push((tokens, end.unwrap().1));
    }
    assert_eq!(runs[0].0, runs[1].0);
    assert_eq!((runs[0].1, runs[1].1), (0, 96));
}

#[test]
fn a_panic_fails_its_own_request_only() {
    let running = Running::start(64, limits(8, 512), Duration::from_millis(1));
    let (good, mut good_receiver) = request(prompt(1, 40), 40, 1);
    let (bad, mut bad_receiver) = request(vec![1, 2, PANICS, 3], 5, 2);
    running.queue.push(good).unwrap();
    running.queue.push(bad).unwrap();
    assert_eq!(collect(&mut bad_receiver).1.unwrap_err().kind, ErrorKind::Internal);
    let (tokens, end) = collect(&mut good_receiver);
    end.unwrap();
    assert_eq!(tokens, alone(prompt(1, 40), 40, 1));
    // And the thread still serves.
    let (next, mut receiver) = request(prompt(2, 10), 3, 3);
    running.queue.push(next).unwrap();
    assert_eq!(collect(&mut receiver).0.len(), 3);
}

#[test]
fn nan_logits_fail_their_own_sequence_and_are_not_cached() {
    let running = Running::start(64, limits(8, 512), Duration::ZERO);
    let mut poisoned = prompt(4, 70);
    poisoned[5] = GIVES_NAN;
    let (bad, mut bad_receiver) = request(poisoned, 5, 1);
    let (good, mut good_receiver) = request(prompt(4, 70), 5, 1);
    running.queue.push(bad).unwrap();
    running.queue.push(good).unwrap();
    assert_eq!(collect(&mut bad_receiver).1.unwrap_err().kind, ErrorKind::Internal);
    assert_eq!(collect(&mut good_receiver).0.len(), 5);
}

#[test]
fn a_reader_that_leaves_frees_its_place() {
    let running = Running::start(64, limits(1, 512), Duration::from_millis(2));
    let (long, mut receiver) = request(prompt(1, 10), 2000, 1);
    running.queue.push(long).unwrap();
    assert!(matches!(receiver.blocking_recv(), Some(StepEvent::Token { .. })));
    drop(receiver);
    let (next, mut receiver) = request(prompt(2, 10), 3, 3);
    running.queue.push(next).unwrap();
    assert_eq!(collect(&mut receiver).0.len(), 3);
    assert_eq!(running.counters.snapshot().cancelled, 1);
}

#[test]
fn a_slow_reader_waits_and_loses_nothing() {
    let running = Running::start(64, limits(2, 512), Duration::ZERO);
    let (slow, mut slow_receiver) = request(prompt(1, 10), 500, 1);
    running.queue.push(slow).unwrap();
    // The channel fills up; meanwhile somebody else is served.
    let (next, mut receiver) = request(prompt(2, 10), 200, 3);
    running.queue.push(next).unwrap();
    assert_eq!(collect(&mut receiver).0.len(), 200);
    let (tokens, end) = collect(&mut slow_receiver);
    assert_eq!((tokens.len(), end.unwrap().0), (500, FinishReason::Length));
    assert_eq!(tokens, alone(prompt(1, 10), 500, 1));
}

#[test]
fn a_deadline_ends_the_answer() {
    let running = Running::start(64, limits(1, 512), Duration::from_millis(2));
    let (mut late, mut receiver) = request(prompt(1, 10), 100_000, 1);
    late.deadline = Some(Instant::now() + Duration::from_millis(30));
    running.queue.push(late).unwrap();
    assert_eq!(collect(&mut receiver).1.unwrap_err().kind, ErrorKind::Timeout);
}

#[test]
fn prompt_logprobs_cover_every_token_but_the_first() {
    let running = Running::start(64, limits(2, 512), Duration::ZERO);
    let text = prompt(1, 75);
    for _ in 0..2 {
        let (mut submission, mut receiver) = request(text.clone(), 0, 1);
        submission.prompt_logprobs = Some(2);
        running.queue.push(submission).unwrap();
        let Some(StepEvent::Prompt(scores)) = receiver.blocking_recv() else { panic!("no scores") };
        assert_eq!(scores.iter().map(|s| s.token.id).collect::<Vec<_>>(), text[1..]);
        let logits = logits_of(&text[..40]);
        let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        let exact = f64::from(logits[text[40] as usize]) - sum.ln();
        assert!((f64::from(scores[39].token.logprob) - exact).abs() < 1e-3);
        assert!(matches!(receiver.blocking_recv(), Some(StepEvent::Done { reason: FinishReason::Length, .. })));
    }
}

#[test]
fn end_tokens_end_unless_it_is_too_early() {
    let running = Running::start(64, limits(2, 512), Duration::ZERO);
    let all: Vec<u32> = (0..VOCABULARY as u32).collect();
    let (mut now, mut receiver) = request(prompt(1, 10), 50, 1);
    now.end_tokens = Arc::from(all);
    running.queue.push(now).unwrap();
    let (tokens, end) = collect(&mut receiver);
    assert_eq!((tokens.len(), end.unwrap().0), (0, FinishReason::Stop));
    let even: Vec<u32> = (0..VOCABULARY as u32).filter(|id| id % 2 == 0).collect();
    let (mut later, mut receiver) = request(prompt(1, 10), 50, 1);
    later.end_tokens = Arc::from(even);
    later.min_tokens = 6;
    running.queue.push(later).unwrap();
    let (tokens, _) = collect(&mut receiver);
    assert!(tokens.len() >= 6 && tokens.iter().all(|id| id % 2 == 1));
}
