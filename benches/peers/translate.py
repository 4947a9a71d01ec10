#!/usr/bin/env python3
"""Translates with CTranslate2 and Lampstand by turns and prints medians and ratios as Markdown.

Run it with a Python that has torch, transformers, sentencepiece and ctranslate2. The model is M2M100's shape with weights from a seed; both
sides take the same weights in 8 bits and as many threads, and write as many tokens. See README.md beside this file.
"""
import argparse
import json
import os
import pathlib
import sys

from sides import OURS, ROOT, Side, build, rounds, wanted

HERE = pathlib.Path(__file__).resolve().parent
MODELS = ROOT / "target" / "random-models"
# Width, layers of each half, heads, width of the feed-forward: M2M100's two sizes, and one for trying this script.
SHAPES = {"418m": (1024, 12, 16, 4096), "1.2b": (1024, 24, 16, 8192), "micro": (64, 2, 2, 128)}
VOCABULARY, LANGUAGES, FILLING = 128_112, 100, 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=pathlib.Path, help="our bench `translate`, built; else cargo builds it")
    parser.add_argument("--shape", type=lambda text: text.split(","), default=["418m"])
    parser.add_argument("--sides", type=lambda text: text.split(","), help="only those whose names begin so")
    parser.add_argument("--passages", type=lambda text: text.split(","), default=["1", "8"])
    parser.add_argument("--beams", type=lambda text: text.split(","), default=["1", "4"])
    parser.add_argument("--tokens", type=int, default=32, help="of each passage, and of its translation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    if os.getloadavg()[0] > 0.5:
        print("The machine is busy: these ratios will say more about its other work.", file=sys.stderr)
    print(f"{arguments.threads} threads, {arguments.pairs} rounds a row, {arguments.tokens} tokens in and out\n", flush=True)
    print("| model | passages | beams | side | ms | Lampstand q8_0 is |\n|---|---:|---:|---|---:|---:|", flush=True)
    for shape in arguments.shape:
        compare(arguments, shape)


def compare(arguments, shape):
    source = folder(shape)
    bench = arguments.bench or build(["bench", "--no-run", "-p", "engine", "--bench", "translate"], "translate")
    ours = lambda *options: Side(bench, "--lines", "--model", source, "--threads", arguments.threads, *options)
    makers = {
        OURS: lambda: ours("--quantize", "q8_0"),
        "CTranslate2 int8": lambda: Side(sys.executable, __file__, "ctranslate2", converted(source), arguments.threads),
    }
    sides = wanted(arguments.sides, makers)
    for passages in arguments.passages:
        for beams in arguments.beams:
            line = f"translate {passages} {beams} {arguments.tokens}"
            for name, ms, ratio, _ in rounds(arguments.pairs, sides, lambda _, side: side.ask(line), lambda answer: answer["ms"]):
                print(f"| {shape} | {passages} | {beams} | {name} | {ms:.1f} | {ratio:.2f} |", flush=True)
    for side in sides.values():
        side.close()


def folder(shape):
    """The folder that transformers and Lampstand read; made when it is missing."""
    path = MODELS / f"m2m100-{shape}"
    if not (path / "model.safetensors").exists():
        import torch
        import transformers

        hidden, layers, heads, feed_forward = SHAPES[shape]
        config = transformers.M2M100Config(
            vocab_size=VOCABULARY, d_model=hidden, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads,
            decoder_attention_heads=heads, encoder_ffn_dim=feed_forward, decoder_ffn_dim=feed_forward,
        )
        torch.manual_seed(1)
        write_vocabulary(path)
        transformers.M2M100ForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(path)
    return path


def write_vocabulary(path):
    """A vocabulary of the right size. Nothing is encoded with it: sides are given ids."""
    import io

    import sentencepiece

    path.mkdir(parents=True, exist_ok=True)
    words = [f"word{index:06d}" for index in range(VOCABULARY - LANGUAGES - FILLING - 4)]
    # The languages stand among the words, where CTranslate2's converter finds them whatever transformers calls them.
    languages = ["__en__", "__de__", *(f"__x{index:02d}__" for index in range(LANGUAGES - 2))]
    names = ["<s>", "<pad>", "</s>", "<unk>", *words, *languages]
    (path / "vocab.json").write_text(json.dumps({name: index for index, name in enumerate(names)}))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["some words", "other words"]), model_writer=model, vocab_size=16, model_type="bpe", minloglevel=2,
    )
    (path / "sentencepiece.bpe.model").write_bytes(model.getvalue())


def converted(source):
    """The same with 8-bit weights for CTranslate2, made when it is missing."""
    path = MODELS / f"{source.name}-ct2"
    if not (path / "model.bin").exists():
        from ctranslate2.converters import TransformersConverter

        TransformersConverter(str(source)).convert(str(path), quantization="int8", force=True)
    return path


def obey(model, threads):
    """CTranslate2 as a side."""
    import time

    import ctranslate2

    translator = ctranslate2.Translator(model, device="cpu", compute_type="int8", inter_threads=1, intra_threads=int(threads))
    for line in sys.stdin:
        _, passages, beams, tokens = line.split()
        passages, beams, tokens = int(passages), int(beams), int(tokens)
        word = lambda index, place: f"word{(1000 + (place * 7919 + index * 104729) % 100000) % 100000:06d}"
        source = [["__en__", *[word(index, place) for place in range(tokens - 2)], "</s>"] for index in range(passages)]
        began = time.perf_counter()
        found = translator.translate_batch(
            source, target_prefix=[["__de__"]] * passages, beam_size=beams, min_decoding_length=tokens, max_decoding_length=tokens,
            max_batch_size=0, return_scores=False,
        )
        ms = (time.perf_counter() - began) * 1e3
        written = {len(result.hypotheses[0]) for result in found}
        print(json.dumps({"ms": ms, "written": sorted(written)}), flush=True)


if __name__ == "__main__":
    sys.exit(obey(*sys.argv[2:]) if sys.argv[1:2] == ["ctranslate2"] else main())
