//! Sequences that share, follow, are guided or paced, against the model that only remembers.
//! Invariant: whatever it waits for or is computed beside, an answer is the one that its request gets alone.

use super::*;
use crate::scheduler::guidance::combine;
use crate::scheduler::submission::NegativePrompt;

#[test]
fn siblings_compute_their_prompt_once() {
    for step_tokens_max in [512, 40] {
        let running = Running::start(200, limits(8, step_tokens_max), Duration::from_millis(1));
        let text = prompt(5, 100);
        let mut readers = Vec::new();
        for seed in 0..6 {
            let (submission, receiver) = request(text.clone(), 12, seed);
            running.queue.push(submission).unwrap();
            readers.push(receiver);
        }
        let cached: Vec<u32> = (0..6)
            .zip(&mut readers)
            .map(|(seed, reader)| {
                let (tokens, end) = collect(reader);
                assert_eq!(tokens, alone(text.clone(), 12, seed));
                end.unwrap().1
            })
            .collect();
        assert_eq!(cached, [0, 96, 96, 96, 96, 96]);
        let stats = running.counters.snapshot();
        assert_eq!((stats.prompt_tokens, stats.cached_tokens), (100 + 5 * 4, 5 * 96));
    }
}

#[test]
fn a_common_beginning_is_computed_once_too() {
    let running = Running::start(200, limits(8, 50), Duration::from_millis(1));
    let texts: Vec<Vec<u32>> = (0..4).map(|own| prompt(5, 70).into_iter().chain(prompt(own, 60)).collect()).collect();
    let mut readers = Vec::new();
    for text in &texts {
        let (submission, receiver) = request(text.clone(), 5, 1);
        running.queue.push(submission).unwrap();
        readers.push(receiver);
    }
    for (text, reader) in texts.into_iter().zip(&mut readers) {
        assert_eq!(collect(reader).0, alone(text, 5, 1));
    }
    assert_eq!(running.counters.snapshot().cached_tokens, 3 * 64);
}

#[test]
fn a_leader_that_goes_away_hands_over() {
    let running = Running::start(200, limits(8, 16), Duration::from_millis(1));
    let text = prompt(6, 150);
    let (leader, leaving) = request(text.clone(), 5, 1);
    running.queue.push(leader).unwrap();
    let mut readers = Vec::new();
    for seed in 0..3 {
        let (submission, receiver) = request(text.clone(), 5, seed);
        running.queue.push(submission).unwrap();
        readers.push(receiver);
    }
    drop(leaving);
    for (seed, reader) in (0..3).zip(&mut readers) {
        assert_eq!(collect(reader).0, alone(text.clone(), 5, seed));
    }
    assert!(running.counters.snapshot().cached_tokens >= 2 * 128);
}

#[test]
fn a_prompt_that_is_scored_neither_follows_nor_is_cut_short() {
    let running = Running::start(200, limits(8, 40), Duration::from_millis(1));
    let text = prompt(7, 100);
    let (first, mut first_reader) = request(text.clone(), 3, 1);
    running.queue.push(first).unwrap();
    let (mut scored, mut reader) = request(text.clone(), 3, 1);
    scored.prompt_logprobs = Some(0);
    running.queue.push(scored).unwrap();
    let Some(StepEvent::Prompt(scores)) = reader.blocking_recv() else { panic!("no scores") };
    assert_eq!(scores.len(), 99);
    assert_eq!(collect(&mut reader).0, collect(&mut first_reader).0);
}

fn guided(text: Vec<u32>, negative: Vec<u32>, max_tokens: usize, seed: u64) -> (Submission, mpsc::Receiver<StepEvent>) {
    let (mut submission, receiver) = request(text, max_tokens, seed);
    submission.guidance = Some(NegativePrompt { scale: 1.7, tokens: negative });
    (submission, receiver)
}

fn guided_alone(text: Vec<u32>, negative: Vec<u32>, max_tokens: usize, seed: u64) -> Vec<u32> {
    let running = Running::start(64, limits(1, 512), Duration::ZERO);
    let (submission, mut receiver) = guided(text, negative, max_tokens, seed);
    running.queue.push(submission).unwrap();
    let (tokens, end) = collect(&mut receiver);
    end.unwrap();
    tokens
}

#[test]
fn guidance_is_the_formula_over_both_texts() {
    for (text, negative) in [(prompt(1, 40), prompt(2, 70)), (vec![3], vec![4]), (prompt(1, 64), prompt(1, 3))] {
        let (mut submission, mut receiver) = guided(text.clone(), negative.clone(), 20, 1);
        submission.sampling.temperature = 0.0;
        let running = Running::start(64, limits(2, 30), Duration::ZERO);
        running.queue.push(submission).unwrap();
        let (tokens, end) = collect(&mut receiver);
        end.unwrap();
        let (mut own, mut other) = (text, negative);
        for token in tokens {
            let mut logits = logits_of(&own);
            combine(&mut logits, &logits_of(&other), 1.7);
            let best = (0..VOCABULARY as u32).rev().max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize]));
            assert_eq!(Some(token), best);
            own.push(token);
            other.push(token);
        }
    }
}

#[test]
fn guided_alone_and_in_a_crowd_are_the_same() {
    // So few blocks that both texts of a sequence are put back together, again and again.
    let running = Running::start(24, limits(9, 37), Duration::ZERO);
    let texts = |i: u32| (prompt(i % 4, 5 + (i as usize * 17) % 80), prompt(i % 3, 1 + (i as usize * 29) % 90));
    let mut readers = Vec::new();
    for i in 0..18u32 {
        let (own, negative) = texts(i);
        let (submission, receiver) =
            if i % 3 == 0 { request(own, 60, u64::from(i)) } else { guided(own, negative, 60, u64::from(i)) };
        running.queue.push(submission).unwrap();
        readers.push(receiver);
    }
    for (i, reader) in (0..18u32).zip(&mut readers) {
        let (tokens, end) = collect(reader);
        assert_eq!(end.unwrap().0, FinishReason::Length);
        let (own, negative) = texts(i);
        let seed = u64::from(i);
        let wanted = if i % 3 == 0 { alone(own, 60, seed) } else { guided_alone(own, negative, 60, seed) };
        assert_eq!(tokens, wanted, "request {i}");
    }
    assert!(running.counters.snapshot().preempted > 0, "the test wants a shortage of blocks");
}

#[test]
fn a_guided_reader_that_leaves_and_a_fault_in_the_negative_prompt_leak_nothing() {
    let running = Running::start(64, limits(4, 20), Duration::from_millis(1));
    let (leaving, mut receiver) = guided(prompt(1, 30), prompt(2, 50), 500, 1);
    running.queue.push(leaving).unwrap();
    assert!(matches!(receiver.blocking_recv(), Some(StepEvent::Token { .. })));
    drop(receiver);
    for fault in [PANICS, GIVES_NAN] {
        let (bad, mut receiver) = guided(prompt(1, 30), vec![1, fault, 2], 5, 1);
        running.queue.push(bad).unwrap();
        assert_eq!(collect(&mut receiver).1.unwrap_err().kind, ErrorKind::Internal);
    }
    let (good, mut receiver) = guided(prompt(1, 30), prompt(2, 50), 5, 1);
    running.queue.push(good).unwrap();
    assert_eq!(collect(&mut receiver).0, guided_alone(prompt(1, 30), prompt(2, 50), 5, 1));
}

#[test]
fn a_paced_answer_is_the_same_and_holds_nobody_up() {
    let running = Running::start(64, limits(4, 512), Duration::ZERO);
    let (mut paced, mut paced_reader) = request(prompt(1, 40), 30, 1);
    paced.tokens_per_second_max = Some(400);
    running.queue.push(paced).unwrap();
    let (other, mut reader) = request(prompt(2, 40), 60, 2);
    running.queue.push(other).unwrap();
    assert_eq!(collect(&mut reader).0, alone(prompt(2, 40), 60, 2));
    assert_eq!(collect(&mut paced_reader).0, alone(prompt(1, 40), 30, 1));
}

#[test]
fn a_request_may_forbid_guessing() {
    let running = Running::start(64, limits(4, 512), Duration::ZERO);
    let ends: Vec<u32> = (0..120).map(|i| i % 4).collect();
    let (mut plain, mut reader) = request(ends.clone(), 200, 1);
    plain.draft_tokens_max = Some(0);
    running.queue.push(plain).unwrap();
    assert_eq!(collect(&mut reader).0, alone(ends, 200, 1));
    assert_eq!(running.counters.snapshot().drafted_tokens, 0);
}

fn contrasting(text: Vec<u32>, max_tokens: usize) -> (Submission, mpsc::Receiver<StepEvent>) {
    let (mut submission, receiver) = request(text, max_tokens, 1);
    submission.penalty_alpha = 0.6;
    submission.sampling.top_k = 4;
    (submission, receiver)
}

#[test]
fn contrastive_search_is_the_formula() {
    for text in [prompt(1, 40), prompt(2, 31), prompt(3, 32), vec![5]] {
        let running = Running::start(64, limits(2, 30), Duration::ZERO);
        let (submission, mut receiver) = contrasting(text.clone(), 50);
        running.queue.push(submission).unwrap();
        let (tokens, end) = collect(&mut receiver);
        assert_eq!((tokens.len(), end.unwrap().0), (50, FinishReason::Length));
        let unit = |history: &[u32]| {
            let state: Vec<f64> = state_of(history).into_iter().map(f64::from).collect();
            let norm = state.iter().map(|x| x * x).sum::<f64>().sqrt();
            state.into_iter().map(|x| x / norm).collect::<Vec<f64>>()
        };
        let mut history = text;
        let mut states: Vec<Vec<f64>> = (1..=history.len()).map(|end| unit(&history[..end])).collect();
        for token in tokens {
            let logits = logits_of(&history);
            let sum: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
            let mut order: Vec<usize> = (0..VOCABULARY).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let score = |&id: &usize| {
                let state = unit(&[&history[..], &[id as u32]].concat());
                let alike = |past: &Vec<f64>| past.iter().zip(&state).map(|(a, b)| a * b).sum::<f64>();
                let most = states.iter().map(alike).fold(f64::NEG_INFINITY, f64::max);
                0.4 * f64::from(logits[id]).exp() / sum - 0.6 * most
            };
            let best = order[..4].iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
            assert!((score(&(token as usize)) - score(best)).abs() < 1e-5, "{token} instead of {best}");
            history.push(token);
            states.push(unit(&history));
        }
    }
}

#[test]
fn contrastive_search_alone_and_in_a_crowd_is_the_same() {
    let alone = |text: Vec<u32>| {
        let running = Running::start(64, limits(1, 512), Duration::ZERO);
        let (submission, mut receiver) = contrasting(text, 60);
        running.queue.push(submission).unwrap();
        collect(&mut receiver).0
    };
    let running = Running::start(20, limits(6, 37), Duration::ZERO);
    let texts: Vec<Vec<u32>> = (0..10).map(|i| prompt(i % 4, 5 + (i as usize * 17) % 80)).collect();
    let mut readers = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let (submission, receiver) =
            if i % 3 == 0 { request(text.clone(), 60, 1) } else { contrasting(text.clone(), 60) };
        running.queue.push(submission).unwrap();
        readers.push(receiver);
    }
    for (i, (text, reader)) in texts.into_iter().zip(&mut readers).enumerate() {
        let tokens = collect(reader).0;
        let wanted = if i % 3 == 0 { super::alone(text, 60, 1) } else { alone(text) };
        assert_eq!(tokens, wanted, "request {i}");
    }
    assert!(running.counters.snapshot().preempted > 0, "the test wants a shortage of blocks");
}
