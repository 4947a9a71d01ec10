"""Trains the tokenizer: byte-level BPE, then Whisper's special tokens by their names and in their order.

Who uses it: train.py, windows.py (the ids).
Invariant: digits are never merged with one another, so every number is spelled and " 4" is one token before any digit.
"""

import random
import re

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from sentences import draw, word_list

LANGUAGES = ["en", "de"]
SPECIAL = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
]
WINDOW_SECONDS = 10
POSITIONS_PER_SECOND = 50
TIMESTAMPS = [f"<|{at / POSITIONS_PER_SECOND:.2f}|>" for at in range(WINDOW_SECONDS * POSITIONS_PER_SECOND + 1)]


def texts(seed: int, count: int):
    """What the pieces are learnt from; digits stand alone."""
    rng = random.Random(f"tokenizer {seed}")
    for _ in range(count):
        sentence = draw(rng)
        for text in (sentence.german, sentence.english, word_list(rng, rng.choice(LANGUAGES))):
            yield " " + re.sub(r"(\d)(?=\d)", r"\1 ", text)


def train_tokenizer(seed: int, pieces: int) -> Tokenizer:
    """`pieces` learnt pieces with the 256 bytes, then the special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=[], show_progress=False
    )
    tokenizer.train_from_iterator(texts(seed, 40_000), trainer)
    if tokenizer.get_vocab_size() != pieces:
        raise RuntimeError(f"{tokenizer.get_vocab_size()} pieces, not {pieces}")
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    tokenizer.add_tokens([AddedToken(name, special=False, normalized=False) for name in TIMESTAMPS])
    start = [(name, tokenizer.token_to_id(name)) for name in ("<|startoftranscript|>", "<|notimestamps|>", "<|endoftext|>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|startoftranscript|> <|notimestamps|> $A:0 <|endoftext|>",
        pair="<|startoftranscript|> <|notimestamps|> $A:0 $B:1 <|endoftext|>",
        special_tokens=start,
    )
    return tokenizer
