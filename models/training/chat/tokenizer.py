"""The byte-level BPE of the chat model: its training, its chat template, and how a dialogue becomes tokens.

Who uses it: data.py, export.py, evaluate.py.
Invariant: digits are single tokens and all 256 bytes are in the vocabulary, so any text can be read back.
"""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END_OF_TEXT, START, END)

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' +"
    " '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train_tokenizer(texts, vocab_size: int) -> Tokenizer:
    """A BPE of exactly `vocab_size` pieces, special tokens first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(t, special=True) for t in SPECIAL],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == vocab_size, tokenizer.get_vocab_size()
    return tokenizer


def encode_dialogue(tokenizer: Tokenizer, system: str | None, turns) -> tuple[list[int], list[int]]:
    """Tokens and a mask of the same length: 1 where the model should have said the token itself.

    `turns` are (user, answer) pairs.
    """
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    newline, assistant = encode("\n"), encode("assistant\n")
    ids: list[int] = []
    mask: list[int] = []

    def put(tokens, value):
        ids.extend(tokens)
        mask.extend([value] * len(tokens))

    if system is not None:
        put([start, *encode("system\n" + system), end, *newline], 0)
    for user, answer in turns:
        put([start, *encode("user\n" + user), end, *newline, start, *assistant], 0)
        put([*encode(answer), end], 1)
        put(newline, 0)
    return ids, mask


def encode_prompt(tokenizer: Tokenizer, messages: list[dict]) -> list[int]:
    """What the chat template gives for these messages with a generation prompt."""
    text = "".join(f"{START}{m['role']}\n{m['content']}{END}\n" for m in messages) + f"{START}assistant\n"
    return tokenizer.encode(text, add_special_tokens=False).ids
