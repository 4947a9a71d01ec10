"""Makes the small vocabularies and vectors of tests/tokens_*.rs:  python3 make.py

byte_level.json      a tokenizer.json of byte-level pairs, cut into words as Llama 3 does
sentence_piece.json  a tokenizer.json of the pairs that SentencePiece learnt, as converters write it
vectors.json         scores and token types of the latter, and for both texts with their ids

Needs `tokenizers` and `sentencepiece`; the ids without special tokens are SentencePiece's own.
The same input gives the same files.
"""

import io
import json
from pathlib import Path

import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

FOLDER = Path(__file__).parent
SPACE = "\u2581"

LEARNT_FROM = [
    "The lamp stands on the table, and the table stands in the kitchen.",
    "She lit the lamp; it's warm, it'll burn until 1234 o'clock.",
    "def light(lamp):\n    return lamp.oil > 0 and not lamp.lit\n",
    "Der Leuchter steht auf dem Tisch. Wärme für alle Gäste!",
    "Лампа стоит на столе, а стол стоит на кухне.",
    "灯台在桌子上。桌子在厨房里。",
    "  two spaces   three spaces\tand a tab\n\n\nthree lines",
] * 3

PLAIN = [
    "",
    " ",
    "   ",
    "\n",
    "\t\n ",
    "The lamp",
    " The lamp",
    "  The  lamp  ",
    "It's IT'LL 12345 o'clock",
    "    return lamp.oil",
    "Wärme für alle",
    "Лампа на столе",
    "灯台在厨房",
    "🪔 and 👨‍👩‍👧 and e\u0301",
    "never seen: ξψ \u00a0\u3000 \ufffd",
    "aaaaaaaaaaaaaaaaaaaa",
    "the the the\n\nthe",
    SPACE + "x " + SPACE,
]
WITH_NAMES = [
    "<s>The lamp",
    "The lamp<|im_end|>\n",
    "<|im_end|><|im_end|>",
    "a<think> b</think>c",
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>lamp\n",
    "<|im_en",
]
CONTROL = ["<|im_start|>", "<|im_end|>"]
WRITTEN = ["<think>", "</think>"]


def byte_level():
    words = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=340, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(LEARNT_FROM, trainer)
    tokenizer.add_special_tokens(["<s>"] + CONTROL)
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in WRITTEN])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    # What a file asks for here must be ignored.
    tokenizer.enable_truncation(4)
    tokenizer.save(str(FOLDER / "byte_level.json"), pretty=False)
    tokenizer.no_truncation()
    return tokenizer


def sentence_piece():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(LEARNT_FROM),
        model_writer=model,
        model_type="bpe",
        vocab_size=400,
        byte_fallback=True,
        character_coverage=0.98,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        control_symbols=CONTROL,
        user_defined_symbols=WRITTEN,
        num_threads=1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(processor.get_piece_size())
    pieces = [processor.id_to_piece(i) for i in ids]
    scores = [processor.get_score(i) for i in ids]
    types = [
        2 if processor.is_unknown(i)
        else 3 if processor.is_control(i)
        else 6 if processor.is_byte(i)
        else 4 if pieces[i] in WRITTEN
        else 1
        for i in ids
    ]

    known = {piece: i for i, piece in enumerate(pieces) if types[i] == 1}
    splits = [
        (-scores[i], i, piece[:cut], piece[cut:])
        for piece, i in known.items()
        for cut in range(1, len(piece))
        if piece[:cut] in known and piece[cut:] in known
    ]
    merges = [(left, right) for _, _, left, right in sorted(splits)]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"] + CONTROL)
    tokenizer.add_tokens([AddedToken(name, normalized=False) for name in WRITTEN])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    for text in PLAIN:
        theirs = processor.encode(text)
        ours = tokenizer.encode(text, add_special_tokens=False).ids
        assert ours == theirs, (text, ours, theirs)
    tokenizer.save(str(FOLDER / "sentence_piece.json"), pretty=False)
    return tokenizer, scores, types


def vectors(tokenizer):
    return [[text, tokenizer.encode(text, add_special_tokens=False).ids] for text in PLAIN + WITH_NAMES]


def main():
    byte = byte_level()
    sentence, scores, types = sentence_piece()
    parts = {
        "scores": scores,
        "token_types": types,
        "byte_level": vectors(byte),
        "sentence_piece": vectors(sentence),
    }
    lines = []
    for name, value in parts.items():
        if isinstance(value[0], list):
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in value)
            lines.append(f'"{name}": [\n{rows}\n]')
        else:
            lines.append(f'"{name}": {json.dumps(value)}')
    (FOLDER / "vectors.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
