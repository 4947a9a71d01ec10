//! Who computes how much in the next step: pure decisions over numbers.
//! The continuous loop asks before every step.
//! Invariant: the oldest sequence always makes progress; nobody is put back for somebody younger.
//!
//! Sequences that are talking go first, one row each. What is left of the step's tokens goes to prompts in order of
//! arrival, in chunks, so that a long prompt never stalls those who talk. If blocks run short for somebody who
//! talks, the youngest is put back; its prefix mostly stays in the cache. Guessed tokens get rows where no prompt wants
//! them, and blocks that are free anyway.

use crate::config::BLOCK_TOKENS;

/// One sequence as the plan sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Tokens whose keys are not computed yet; at least one.
    pub remaining: usize,
    /// Tokens whose keys are computed.
    pub computed: usize,
    /// Only the newest token remains, and it was generated.
    pub talking: bool,
    /// It keeps its blocks and waits: for its reader, its time, or a block that somebody older computes.
    pub stalled: bool,
    /// Blocks that it holds.
    pub blocks: usize,
    /// Of those, the ones that would become free without it.
    pub blocks_alone: usize,
    /// It may compute no more than this in one step.
    pub chunk_max: usize,
    /// Guessed tokens that it would have computed behind its newest; none unless it talks.
    pub drafted: usize,
    /// What computes rows of its own in the same step whenever it talks.
    pub beside: Option<Beside>,
}

/// A second text of a sequence, or the candidates that it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Rows that it takes.
    pub rows: usize,
    /// Blocks that it needs to compute them.
    pub blocks_needed: usize,
    /// Blocks that it holds.
    pub blocks: usize,
}

impl View {
    /// Rows that it takes when it talks.
    pub fn talk_rows(&self) -> usize {
        1 + self.beside.map_or(0, |beside| beside.rows)
    }
}

/// Bounds of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Rows in all.
    pub step_tokens_max: usize,
    /// Rows of prompts while somebody talks.
    pub prompt_tokens_beside_talk_max: usize,
    /// Blocks that nobody holds.
    pub blocks_free: usize,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Index of a sequence and how many rows it computes: of its remaining tokens, and behind them of its guessed ones.
    pub rows: Vec<(usize, usize)>,
    /// Sequences to put back into the line first.
    pub put_back: Vec<usize>,
}

fn missing_blocks(view: &View, tokens: usize) -> usize {
    let beside = view.beside.filter(|_| view.talking);
    let beside = beside.map_or(0, |beside| beside.blocks_needed.saturating_sub(beside.blocks));
    (view.computed + tokens).div_ceil(BLOCK_TOKENS).saturating_sub(view.blocks) + beside
}

/// Plans a step over `views`, oldest first.
pub fn plan(views: &[View], bounds: &Bounds) -> Plan {
    let mut plan = Plan::default();
    let mut free = bounds.blocks_free;
    let mut budget = bounds.step_tokens_max;
    for (index, view) in views.iter().enumerate() {
        if !view.talking || view.stalled || budget < view.talk_rows() || plan.put_back.contains(&index) {
            continue;
        }
        let missing = missing_blocks(view, 1);
        while missing > free {
            let youngest = (index..views.len()).rev().find(|i| !plan.put_back.contains(i)).unwrap_or(index);
            free += views[youngest].blocks_alone;
            plan.put_back.push(youngest);
            if youngest == index {
                break;
            }
        }
        if !plan.put_back.contains(&index) {
            free -= missing;
            budget -= view.talk_rows();
            plan.rows.push((index, 1));
        }
    }
    let talking = plan.rows.len();
    let prompt_max = if talking > 0 { bounds.prompt_tokens_beside_talk_max } else { budget };
    plan_prompts(views, free, budget.min(prompt_max), &mut plan);
    if plan.rows.len() == talking {
        plan_drafts(views, free, budget, &mut plan);
    }
    if plan.rows.is_empty() {
        put_back_for_oldest(views, &mut plan);
    }
    plan
}

/// Rows for guessed tokens, behind those of the talkers that are planned already.
fn plan_drafts(views: &[View], mut free: usize, mut budget: usize, plan: &mut Plan) {
    for (index, count) in &mut plan.rows {
        let view = &views[*index];
        let held = missing_blocks(view, *count);
        let room = if view.beside.is_some() {
            0
        } else {
            (view.blocks + held + free) * BLOCK_TOKENS - (view.computed + *count)
        };
        let drafted = view.drafted.min(budget).min(room);
        free -= missing_blocks(view, *count + drafted) - held;
        budget -= drafted;
        *count += drafted;
    }
}

fn plan_prompts(views: &[View], mut free: usize, mut budget: usize, plan: &mut Plan) {
    for (index, view) in views.iter().enumerate() {
        if view.talking || view.stalled || plan.put_back.contains(&index) {
            continue;
        }
        let room = (view.blocks + free) * BLOCK_TOKENS - view.computed.min((view.blocks + free) * BLOCK_TOKENS);
        let count = view.remaining.min(budget).min(view.chunk_max).min(room);
        if count == 0 {
            // Later ones wait too: the order of arrival holds among prompts.
            break;
        }
        free -= missing_blocks(view, count);
        budget -= count;
        plan.rows.push((index, count));
    }
}

/// Nobody can move: several prompts hold all blocks between them. The youngest goes back.
fn put_back_for_oldest(views: &[View], plan: &mut Plan) {
    let Some(oldest) = views.iter().position(|view| !view.stalled) else { return };
    let holds = |view: &View| view.blocks + view.beside.map_or(0, |beside| beside.blocks) > 0;
    let youngest = (0..views.len()).rev().find(|&i| i != oldest && holds(&views[i]) && !plan.put_back.contains(&i));
    plan.put_back.extend(youngest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(remaining: usize) -> View {
        View {
            remaining,
            computed: 0,
            talking: false,
            stalled: false,
            blocks: 0,
            blocks_alone: 0,
            chunk_max: 10_000,
            drafted: 0,
            beside: None,
        }
    }

    fn talking(computed: usize) -> View {
        let blocks = computed.div_ceil(BLOCK_TOKENS);
        View { remaining: 1, computed, talking: true, blocks, blocks_alone: blocks, ..prompt(1) }
    }

    fn bounds(blocks_free: usize) -> Bounds {
        Bounds { step_tokens_max: 512, prompt_tokens_beside_talk_max: 64, blocks_free }
    }

    #[test]
    fn talkers_go_first_and_a_long_prompt_gets_a_chunk() {
        let plan = plan(&[prompt(1000), talking(40), talking(33)], &bounds(100));
        assert_eq!(plan.rows, [(1, 1), (2, 1), (0, 64)]);
    }

    #[test]
    fn prompts_alone_fill_the_step_in_order_of_arrival() {
        let plan = plan(&[prompt(300), prompt(400), prompt(5)], &bounds(100));
        assert_eq!(plan.rows, [(0, 300), (1, 212)]);
    }

    #[test]
    fn the_youngest_goes_back_when_a_talker_needs_a_block() {
        let views = [talking(64), talking(40), talking(70)];
        let plan = plan(&views, &bounds(0));
        assert_eq!(plan.put_back, [2]);
        assert_eq!(plan.rows, [(0, 1), (1, 1)]);
    }

    #[test]
    fn a_talker_that_is_youngest_itself_goes_back() {
        let plan = plan(&[talking(40), talking(64)], &bounds(0));
        assert_eq!(plan.put_back, [1]);
        assert_eq!(plan.rows, [(0, 1)]);
    }

    #[test]
    fn a_chunk_is_cut_to_the_blocks_there_are() {
        let plan = plan(&[prompt(1000)], &bounds(3));
        assert_eq!(plan.rows, [(0, 96)]);
    }

    #[test]
    fn prompts_that_hold_everything_between_them_do_not_lock() {
        let half = |computed: usize| View { computed, blocks: 2, blocks_alone: 2, ..prompt(100) };
        let plan = plan(&[half(64), half(64)], &bounds(0));
        assert_eq!(plan.put_back, [1]);
    }

    #[test]
    fn the_stalled_wait_without_blocking_others() {
        let stalled = View { stalled: true, ..talking(40) };
        let plan = plan(&[stalled, talking(41)], &bounds(4));
        assert_eq!(plan.rows, [(1, 1)]);
        assert!(plan.put_back.is_empty());
    }

    #[test]
    fn a_chunk_bound_holds() {
        let bounded = View { chunk_max: 32, ..prompt(100) };
        assert_eq!(plan(&[bounded], &bounds(100)).rows, [(0, 32)]);
    }

    #[test]
    fn drafts_take_what_nobody_else_wants() {
        let drafting = |computed: usize, drafted: usize| View { drafted, ..talking(computed) };
        // 40 computed tokens hold two blocks, so 24 rows fit; the next needs the block that is free.
        assert_eq!(plan(&[drafting(40, 30), drafting(40, 30)], &bounds(1)).rows, [(0, 31), (1, 24)]);
        assert_eq!(plan(&[drafting(40, 30), prompt(10)], &bounds(9)).rows, [(0, 1), (1, 10)]);
        assert_eq!(plan(&[drafting(64, 30), talking(64)], &bounds(1)).put_back, [1]);
        let narrow = Bounds { step_tokens_max: 4, ..bounds(9) };
        assert_eq!(plan(&[drafting(40, 30), drafting(40, 30)], &narrow).rows, [(0, 3), (1, 1)]);
    }

    #[test]
    fn a_second_text_takes_a_row_and_its_blocks() {
        let guided = View { beside: Some(Beside { rows: 1, blocks_needed: 3, blocks: 2 }), drafted: 9, ..talking(40) };
        assert_eq!(plan(&[guided, talking(33)], &bounds(1)).rows, [(0, 1), (1, 1)]);
        assert_eq!(plan(&[talking(33), guided], &bounds(0)).put_back, [1]);
        // Two rows do not fit beside one in a step of two; the prompt gets what is left.
        let narrow = Bounds { step_tokens_max: 2, ..bounds(9) };
        assert_eq!(plan(&[talking(33), guided, prompt(5)], &narrow).rows, [(0, 1), (2, 1)]);
    }

    /// Random worlds: rows stay within the budget and the blocks, and somebody moves unless all are stalled.
    #[test]
    fn somebody_always_moves() {
        let mut state = 7u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let views: Vec<View> = (0..1 + random(6))
                .map(|_| {
                    let mut view = if random(2) == 0 { talking(1 + random(90)) } else { prompt(1 + random(300)) };
                    view.stalled = random(5) == 0;
                    if view.talking && random(4) == 0 {
                        let blocks_needed = 1 + random(4);
                        let blocks = blocks_needed - random(2);
                        view.beside = Some(Beside { rows: 1 + random(4), blocks_needed, blocks });
                    }
                    view.drafted = if view.talking && view.beside.is_none() { random(40) } else { 0 };
                    view
                })
                .collect();
            let bounds = bounds(random(5));
            let plan = plan(&views, &bounds);
            let freed: usize = plan.put_back.iter().map(|&i| views[i].blocks_alone).sum();
            let taken: usize = plan.rows.iter().map(|&(i, n)| missing_blocks(&views[i], n)).sum();
            assert!(taken <= bounds.blocks_free + freed);
            let rows = |&(i, n): &(usize, usize)| {
                n + views[i].beside.filter(|_| views[i].talking).map_or(0, |beside| beside.rows)
            };
            assert!(plan.rows.iter().map(rows).sum::<usize>() <= bounds.step_tokens_max);
            assert!(plan.rows.iter().all(|(i, _)| !plan.put_back.contains(i)));
            let held: usize = views.iter().map(|v| v.blocks + v.beside.map_or(0, |beside| beside.blocks)).sum();
            if views.iter().any(|v| !v.stalled) && held + bounds.blocks_free > 0 {
                assert!(!plan.rows.is_empty() || !plan.put_back.is_empty(), "{views:?} {bounds:?}");
            }
        }
    }
}
