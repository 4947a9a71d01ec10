//! Speculation in the loop: the same events with and without, whatever else happens.
//! A child of the loop's own tests, with a model whose text falls into circles, so that guesses are often right.

use super::*;
use crate::scheduler::speculation::draft_model::Draft;

/// Follows the last two tokens mostly and the whole history a little, so that text repeats itself and yet a wrong key
/// anywhere changes every probability.
struct Circling {
    inner: Remembering,
    /// Panics where one sequence has several rows behind its prompt of this length.
    panics_behind: usize,
}

impl TextModel for Circling {
    fn forward(&mut self, batch: &Batch) -> Result<Logits> {
        let guessed = |span: &crate::batch::Span| span.start >= self.panics_behind && span.rows.len() > 1;
        assert!(!batch.spans.iter().any(guessed), "several rows behind the prompt");
        let mut logits = self.inner.forward(batch)?;
        for (row, logits) in batch.logit_rows.iter().zip(logits.values.chunks_exact_mut(VOCABULARY)) {
            let span = batch.spans.iter().find(|span| span.rows.contains(row)).unwrap();
            let at = |back: usize| {
                let position = (batch.positions[*row] as usize).saturating_sub(back);
                let block = span.blocks[position / BLOCK_TOKENS] as usize;
                self.inner.slots[block * BLOCK_TOKENS + position % BLOCK_TOKENS] as usize
            };
            let next = (at(0) + at(1) + 1) % 12;
            logits.iter_mut().for_each(|logit| *logit /= 8.0);
            logits[next] += 6.0;
        }
        Ok(logits)
    }

    fn blocks(&self) -> usize {
        self.inner.blocks
    }
}

fn circling(blocks: usize) -> Circling {
    let inner = Remembering { slots: vec![0; blocks * BLOCK_TOKENS], blocks, delay: Duration::from_micros(20) };
    Circling { inner, panics_behind: usize::MAX }
}

fn with_drafts(limits: Limits, draft_tokens_max: usize) -> Limits {
    Limits { speculation: Speculation { prompt_lookup: true, draft_tokens_max }, ..limits }
}

fn draft(model: impl TextModel + 'static) -> Option<Draft> {
    Some(Draft { model: Box::new(model), context_tokens: 1000, vocabulary: VOCABULARY })
}

/// A dozen requests that use everything that sees one token after the other.
fn requests() -> Vec<(Submission, mpsc::Receiver<StepEvent>)> {
    let one = |index: u32| {
        let (mut submission, receiver) = request(prompt(index % 4, 5 + index as usize * 7), 60, u64::from(index));
        submission.logprobs = Some(2);
        let sampling = &mut submission.sampling;
        sampling.temperature = [0.0, 0.7, 1.0][index as usize % 3];
        match index % 6 {
            1 => sampling.repetition_penalty = 1.1,
            2 => (sampling.frequency_penalty, sampling.presence_penalty) = (0.05, 0.1),
            3 => sampling.logit_bias = vec![(3, -2.0), (7, 1.0)],
            4 => (sampling.top_p, sampling.top_k) = (0.9, 5),
            5 => sampling.min_p = 0.01,
            _ => {}
        }
        if index >= 6 {
            submission.end_tokens = Arc::from([5, 33]);
            submission.min_tokens = 20;
        }
        (submission, receiver)
    };
    (0..12).map(one).collect()
}

/// Everything that readers are told, with the bits of every number.
fn told(running: &Running) -> Vec<Vec<String>> {
    let (submissions, receivers): (Vec<_>, Vec<_>) = requests().into_iter().unzip();
    submissions.into_iter().for_each(|submission| running.queue.push(submission).unwrap());
    let all = |mut receiver: mpsc::Receiver<StepEvent>| {
        let mut events = Vec::new();
        while let Some(event) = receiver.blocking_recv() {
            events.push(match event {
                StepEvent::Token { id, logprobs } => {
                    let scores = logprobs.unwrap();
                    let bits: Vec<u32> = scores.top.iter().map(|score| score.logprob.to_bits()).collect();
                    format!("{id} {:x} {bits:x?}", scores.token.logprob.to_bits())
                }
                StepEvent::Done { reason, completion_tokens, .. } => format!("{reason:?} {completion_tokens}"),
                other => format!("{other:?}"),
            });
        }
        events
    };
    receivers.into_iter().map(all).collect()
}

fn without() -> Vec<Vec<String>> {
    let running = Running::with(circling(200), None, with_drafts(limits(1, 512), 0));
    let told = told(&running);
    assert_eq!(running.counters.snapshot().drafted_tokens, 0);
    told
}

#[test]
fn the_same_is_told_with_and_without() {
    let plain = without();
    assert!(plain.iter().any(|events| events.last().unwrap().starts_with("Stop")));
    // Alone, in a crowd, with steps so small that drafts are cut, and so short of blocks that sequences are put back.
    for (blocks, parallel, step_tokens_max) in [(200, 1, 512), (200, 12, 512), (200, 12, 15), (26, 12, 64)] {
        for draft_tokens_max in [2, 40] {
            let running =
                Running::with(circling(blocks), None, with_drafts(limits(parallel, step_tokens_max), draft_tokens_max));
            assert_eq!(told(&running), plain, "{blocks} blocks, {parallel} at once, {draft_tokens_max} guessed");
            let stats = running.counters.snapshot();
            assert!(stats.accepted_tokens > 0 && stats.accepted_tokens <= stats.drafted_tokens, "{stats:?}");
            assert_eq!(told(&running), plain, "again, from the cache");
        }
    }
}

#[test]
fn guesses_save_steps() {
    let running = Running::with(circling(64), None, with_drafts(limits(1, 512), 16));
    let (mut submission, mut receiver) = request(vec![1, 2, 3], 400, 0);
    submission.sampling.temperature = 0.0;
    running.queue.push(submission).unwrap();
    assert_eq!(collect(&mut receiver).0.len(), 400);
    // The reader is told before the step is counted.
    while running.counters.snapshot().finished == 0 {
        std::thread::yield_now();
    }
    let stats = running.counters.snapshot();
    assert_eq!(stats.generated_tokens, 400);
    assert!(stats.steps < 200, "{stats:?}");
    assert_eq!(stats.generated_tokens, stats.steps + stats.accepted_tokens);
}

#[test]
fn a_fault_in_a_step_with_guesses_is_computed_again_without() {
    let plain = without();
    let model = Circling { panics_behind: 85, ..circling(200) };
    let running = Running::with(model, None, with_drafts(limits(3, 512), 16));
    assert_eq!(told(&running), plain);
    assert_eq!(running.counters.snapshot().failed, 0);
}

#[test]
fn a_reader_that_is_behind_loses_nothing() {
    let running = Running::with(circling(64), None, with_drafts(limits(2, 512), 40));
    let (mut submission, mut receiver) = request(vec![1, 2, 3], 600, 0);
    submission.sampling.temperature = 0.0;
    running.queue.push(submission).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let (tokens, end) = collect(&mut receiver);
    assert_eq!((tokens.len(), end.unwrap().0), (600, FinishReason::Length));
    assert!(running.counters.snapshot().accepted_tokens > 0);
}

#[test]
fn a_model_that_drafts_for_itself_is_always_right() {
    let mut limits = with_drafts(limits(3, 512), 6);
    limits.speculation.prompt_lookup = false;
    let mut quick = circling(64);
    quick.inner.delay = Duration::ZERO;
    let running = Running::with(circling(64), draft(quick), limits);
    for _ in 0..2 {
        let pairs = (0..3u32).map(|seed| request(prompt(seed, 300), 60, 0));
        let mut receivers: Vec<_> = pairs
            .map(|(mut submission, receiver)| {
                submission.sampling.temperature = 0.0;
                running.queue.push(submission).unwrap();
                receiver
            })
            .collect();
        receivers.iter_mut().for_each(|receiver| assert_eq!(collect(receiver).0.len(), 60));
    }
    while running.counters.snapshot().finished < 6 {
        std::thread::yield_now();
    }
    let stats = running.counters.snapshot();
    assert_eq!(stats.accepted_tokens, stats.drafted_tokens);
    assert!(stats.accepted_tokens > 10, "{stats:?}");
}

#[test]
fn the_same_is_told_whatever_a_draft_model_guesses() {
    let plain = without();
    let other = |blocks: usize| Remembering { slots: vec![0; blocks * BLOCK_TOKENS], blocks, delay: Duration::ZERO };
    for (blocks, parallel) in [(200, 1), (200, 12), (26, 12)] {
        for guesses in [draft(circling(blocks)), draft(other(blocks)), draft(other(4))] {
            let running = Running::with(circling(blocks), guesses, with_drafts(limits(parallel, 64), 5));
            assert_eq!(told(&running), plain, "{blocks} blocks, {parallel} at once");
            assert!(running.counters.snapshot().drafted_tokens > 0);
        }
    }
}

#[test]
fn a_fault_in_the_draft_model_only_ends_its_guesses() {
    let plain = without();
    let broken = Circling { panics_behind: 0, ..circling(200) };
    let running = Running::with(circling(200), draft(broken), with_drafts(limits(4, 512), 5));
    assert_eq!(told(&running), plain);
    assert_eq!(running.counters.snapshot().failed, 0);
}
