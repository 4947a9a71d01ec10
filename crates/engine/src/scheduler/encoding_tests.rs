//! The encoders' line and loop with a model that only counts: turns, bounds, faults, readers that go away.
//! Invariant: nothing here waits for a time to pass.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::error::ErrorKind;
use crate::pipelines::TextEncoder;
use crate::scheduler::counters::Counters;
use crate::scheduler::encoding_loop::{EncodeLimits, EncodeLoop};
use crate::vectors::{Pooling, Poolings};

const PURPOSE: Purpose = Purpose::Vector { pooling: Poolings::one(Pooling::Mean), dimensions: None, normalize: false };
const STALL_MAX: Duration = Duration::from_secs(60);

type Receiver = mpsc::Receiver<Result<Encoded>>;

/// A request of texts of these lengths; each token of a text is `mark`.
fn request(mark: u32, lengths: &[usize]) -> (EncodeSubmission, Receiver) {
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    let text = |&length: &usize| Framed { tokens: vec![mark; length], second_at: length, tokens_before: length };
    let texts = lengths.iter().map(text).collect();
    (EncodeSubmission { texts, purpose: PURPOSE, deadline: None, answers }, receiver)
}

fn marks(step: &Step) -> Vec<u32> {
    step.texts.iter().map(|taken| taken.job.text.tokens[0]).collect()
}

/// Answers the sum of a text's tokens. Token 13 is a fault, 14 a panic, 15 no number.
struct Sums;

impl TextEncoder for Sums {
    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>> {
        let has = |token| jobs.iter().any(|job| job.text.tokens.contains(&token));
        assert!(!has(14), "a panic that was asked for");
        if has(13) {
            return Err(Error::internal("a fault that was asked for"));
        }
        let sum = |job: &&EncodeJob| {
            let sum = job.text.tokens.iter().sum::<u32>();
            vec![if job.text.tokens.contains(&15) { f32::NAN } else { sum as f32 }]
        };
        Ok(jobs.iter().map(sum).collect())
    }
}

/// Runs the loop over everything that is in line, until nothing is left.
fn served(queue: Arc<EncodeQueue>, step_tokens_max: usize) -> Arc<Counters> {
    let counters = Arc::new(Counters::new(0));
    let limits = EncodeLimits { step_tokens_max, stall_max: STALL_MAX };
    let thread = {
        let (queue, counters) = (queue.clone(), counters.clone());
        std::thread::spawn(move || EncodeLoop::new(Box::new(Sums), queue, counters, limits).run())
    };
    while !queue.is_empty() {
        std::thread::yield_now();
    }
    queue.close();
    thread.join().unwrap();
    counters
}

fn received(receiver: &mut Receiver) -> Vec<Result<f32>> {
    std::iter::from_fn(|| receiver.try_recv().ok()).map(|answer| answer.map(|encoded| encoded.values[0])).collect()
}

#[test]
fn requests_take_turns_and_keep_their_order() {
    let queue = EncodeQueue::new(8, 1000);
    let (long, _one) = request(1, &[2; 6]);
    let (short, _two) = request(2, &[2; 2]);
    queue.push(long).unwrap();
    queue.push(short).unwrap();
    assert_eq!(marks(&queue.take(6, STALL_MAX)), [1, 2, 1]);
    let (late, _three) = request(3, &[2]);
    queue.push(late).unwrap();
    assert_eq!(marks(&queue.take(6, STALL_MAX)), [2, 1, 3]);
    assert_eq!(marks(&queue.take(100, STALL_MAX)), [1, 1, 1]);
    assert!(queue.is_empty());
}

#[test]
fn a_text_beyond_the_budget_goes_alone() {
    let queue = EncodeQueue::new(8, 1000);
    let (one, _one) = request(1, &[50]);
    let (two, _two) = request(2, &[3, 3]);
    queue.push(one).unwrap();
    queue.push(two).unwrap();
    assert_eq!(marks(&queue.take(10, STALL_MAX)), [1]);
    assert_eq!(marks(&queue.take(10, STALL_MAX)), [2, 2]);
}

#[test]
fn a_full_line_refuses_and_the_abandoned_make_room() {
    let queue = EncodeQueue::new(2, 100);
    let (one, keep_one) = request(1, &[60]);
    let (two, _keep_two) = request(2, &[60]);
    let (three, _keep_three) = request(3, &[60]);
    queue.push(one).unwrap();
    let refused = queue.push(two).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Overloaded);
    assert!(refused.retry_after_s.is_some());
    drop(keep_one);
    queue.push(three).unwrap();
    assert_eq!(marks(&queue.take(100, STALL_MAX)), [3]);
}

#[test]
fn late_requests_and_those_nobody_reads_end() {
    let queue = EncodeQueue::new(8, 1000);
    let (mut late, mut keep_late) = request(1, &[2]);
    late.deadline = Some(Instant::now());
    let (gone, receiver) = request(2, &[2]);
    queue.push(late).unwrap();
    queue.push(gone).unwrap();
    drop(receiver);
    let step = queue.take(100, STALL_MAX);
    assert_eq!((step.texts.len(), step.cancelled, step.failed), (0, 1, 1));
    assert_eq!(keep_late.try_recv().unwrap().unwrap_err().kind, ErrorKind::Timeout);
    // One whose reader takes nothing rests, and is given up after a while.
    let (full, _keep) = request(3, &vec![1; ANSWERS_MAX + 1]);
    queue.push(full).unwrap();
    let step = queue.take(10_000, STALL_MAX);
    assert_eq!(step.texts.len(), ANSWERS_MAX);
    assert!(queue.take(10_000, STALL_MAX).texts.is_empty() && queue.len() == 1);
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(queue.take(10_000, Duration::ZERO).failed, 1);
}

#[test]
fn answers_come_in_order_and_a_closed_line_tells_those_who_wait() {
    let queue = Arc::new(EncodeQueue::new(8, 1000));
    let (one, mut first) = request(1, &[1, 2, 3, 4, 5]);
    let (two, mut second) = request(2, &[4, 1]);
    queue.push(one).unwrap();
    queue.push(two).unwrap();
    let counters = served(queue.clone(), 3).snapshot();
    let numbers = |receiver| received(receiver).into_iter().map(Result::unwrap).collect::<Vec<f32>>();
    assert_eq!((numbers(&mut first), numbers(&mut second)), (vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![8.0, 2.0]));
    assert_eq!((counters.finished, counters.prompt_tokens, counters.failed), (2, 20, 0));
    let (three, _third) = request(3, &[1]);
    assert_eq!(queue.push(three).unwrap_err().kind, ErrorKind::Overloaded);
    let queue = EncodeQueue::new(8, 1000);
    let (four, mut fourth) = request(4, &[1]);
    queue.push(four).unwrap();
    queue.close();
    assert_eq!(received(&mut fourth)[0].as_ref().unwrap_err().kind, ErrorKind::Cancelled);
}

#[test]
fn a_fault_ends_its_own_request_alone() {
    for bad in [13, 14, 15] {
        let queue = Arc::new(EncodeQueue::new(8, 1000));
        let (guilty, mut at_fault) = request(bad, &[1, 1, 1]);
        let (innocent, mut unharmed) = request(2, &[1, 2, 3]);
        queue.push(guilty).unwrap();
        queue.push(innocent).unwrap();
        let counters = served(queue, 100).snapshot();
        let answers = received(&mut at_fault);
        assert!(answers.len() == 1 && answers[0].as_ref().unwrap_err().kind == ErrorKind::Internal, "{bad}");
        let answers: Vec<f32> = received(&mut unharmed).into_iter().map(Result::unwrap).collect();
        assert_eq!((answers, counters.failed), (vec![2.0, 4.0, 6.0], 1), "{bad}");
    }
}
