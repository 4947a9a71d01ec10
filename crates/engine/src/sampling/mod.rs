//! From logits to the next token: penalties, bias, filters, a seeded draw, logprobs.
//! The scheduler's loop calls it once per sequence and step.
//! Invariant: never sorts the whole vocabulary; the same logits, history and seed give the same token.
