//! Text to token ids and back: vocabularies, special tokens, streams of pieces, stop strings.
//! The door and the generation stream call it, off the engine's thread.
//! Invariant: pieces of a stream joined are exactly the decoded whole.
