"""Trains the WordPiece tokenizer, lower-cased as BERT's uncased ones are.

Who uses it: train.py.
Invariant: every printable ASCII character and the usual letters of Latin scripts are pieces, so that little text is [UNK].
"""

import string

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyzßæøłđœ"


def train_tokenizer(texts, size: int, context: int) -> Tokenizer:
    """WordPiece over `texts`; it cuts at `context` tokens."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    alphabet = sorted(set(string.printable.strip().lower()) | set(LETTERS))
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, initial_alphabet=alphabet, special_tokens=SPECIAL, limit_alphabet=400, show_progress=False
    )
    # Every character also as the inside of a word.
    inside = [" ".join("a" + letter for letter in alphabet if letter.isalnum())]
    tokenizer.train_from_iterator([*texts, *inside], trainer)
    first, last = (tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", last), ("[CLS]", first))
    tokenizer.enable_truncation(context)
    return tokenizer
