//! Who runs when: a bounded queue of requests before one thread that owns a model.
//! The catalog starts one per loaded model; the door pushes into its queue.
//! Invariant: what was accepted ends in exactly one `Done` or `Failed`, unless its caller went away.

mod beams;
pub mod continuous;
pub mod contrast;
pub mod counters;
pub mod dictation;
pub mod encoding;
pub mod encoding_loop;
mod guard;
pub mod guidance;
pub mod lane;
pub mod line;
pub mod listening;
pub mod pacing;
pub mod parts;
pub mod plan;
pub mod queue;
pub mod sequence;
pub mod sharing;
pub mod speculation;
pub mod submission;
pub mod translating;
pub mod writing_loop;
