#!/usr/bin/env python3
"""A Python library at work for whisper.py, in a process of its own: obeys lines of standard input, answers each with a line of JSON.

usage: whisper_sides.py SIDE FOLDER THREADS; SIDE is ctranslate2, torch-f32, torch-bf16 or faster-whisper. Lines are `encode`,
`decode WINDOWS TOKENS` and `transcribe WINDOWS BEAMS FILE`, as far as the side can. A process for each side, since threads of one
library may still spin while the next is measured.
"""
import json
import sys
import time

# Tokens that are written before the clock starts, as our bench does.
WARM_TOKENS = 4


def main():
    side, folder, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answer = {"ctranslate2": CTranslate2, "faster-whisper": FasterWhisper}.get(side, Torch)(side, folder, threads)
    for line in sys.stdin:
        work, *rest = line.split(maxsplit=3)
        numbers = [int(word) if word.isdigit() else word.strip() for word in rest]
        print(json.dumps(getattr(answer, work)(*numbers)), flush=True)


def spectrogram(windows):
    """Log-mel rows of tones that come and go, as many windows as asked for."""
    import numpy
    import transformers

    at = numpy.arange(30 * 16000, dtype=numpy.float32)
    samples = 0.3 * (numpy.sin(at * 0.09) * numpy.sin(at * 0.0007) + 0.3 * numpy.cos(at * 0.31))
    features = transformers.WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="np").input_features
    return numpy.ascontiguousarray(numpy.repeat(features, windows, axis=0).astype(numpy.float32))


def milliseconds(work):
    began = time.perf_counter()
    result = work()
    return (time.perf_counter() - began) * 1e3, result


class CTranslate2:
    """Its `Whisper` class with 8-bit weights."""

    def __init__(self, _, folder, threads):
        import ctranslate2

        self.library = ctranslate2
        self.model = ctranslate2.models.Whisper(folder, device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1)
        self.encoded = {}
        self.encode()

    def encode(self):
        features = self.library.StorageView.from_array(spectrogram(1))
        return {"ms": milliseconds(lambda: self.model.encode(features))[0]}

    def decode(self, windows, tokens):
        """The time of many tokens less that of few: what lies before the first, such as keys and values of the window, falls out."""
        if windows not in self.encoded:
            self.encoded[windows] = self.model.encode(self.library.StorageView.from_array(spectrogram(windows)))
        few, _ = self.generate(windows, WARM_TOKENS + 1)
        many, last = self.generate(windows, WARM_TOKENS + 1 + tokens)
        return {"ms": many - few, "last": last}

    def generate(self, windows, tokens):
        from whisper_models import PROMPT

        # The library counts half of the length that it is told for the prompt before.
        options = dict(beam_size=1, max_length=2 * tokens, suppress_blank=False, suppress_tokens=[])
        ms, texts = milliseconds(lambda: self.model.generate(self.encoded[windows], [PROMPT] * windows, **options))
        ids = [text.sequences_ids[0] for text in texts]
        assert all(len(text) == tokens for text in ids), f"{[len(text) for text in ids]} tokens, not {tokens}"
        return ms, ids[0][-1]


class Torch:
    """transformers' model, its parts called one by one, without what `generate` does around them."""

    def __init__(self, side, folder, threads):
        import torch
        import transformers

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch, self.caches = torch, transformers
        dtype = torch.bfloat16 if side.endswith("bf16") else torch.float32
        self.model = transformers.WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
        self.features = torch.from_numpy(spectrogram(1)).to(dtype)
        self.encoded = self.model.model.encoder(self.features).last_hidden_state

    def encode(self):
        return {"ms": milliseconds(lambda: self.model.model.encoder(self.features))[0]}

    def decode(self, windows, tokens):
        from whisper_models import PROMPT

        torch, cache = self.torch, self.caches.EncoderDecoderCache(self.caches.DynamicCache(), self.caches.DynamicCache())
        hidden, last = self.encoded.repeat(windows, 1, 1), torch.tensor([PROMPT] * windows)

        def steps(count, last):
            for _ in range(count):
                rows = self.model.model.decoder(
                    input_ids=last, encoder_hidden_states=hidden, past_key_values=cache, use_cache=True
                ).last_hidden_state[:, -1]
                last = self.model.proj_out(rows).argmax(-1, keepdim=True)
            return last

        last = steps(1 + WARM_TOKENS, last)
        ms, last = milliseconds(lambda: steps(tokens, last))
        return {"ms": ms, "last": last[0].item()}


class FasterWhisper:
    """faster-whisper as its users call it; several windows go through its batched pipeline."""

    def __init__(self, _, folder, threads):
        import faster_whisper

        self.model = faster_whisper.WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=threads)
        self.batched = faster_whisper.BatchedInferencePipeline(self.model)

    def transcribe(self, windows, beams, path):
        options = {"language": "en", "beam_size": beams}

        def work():
            if windows > 1:
                segments, _ = self.batched.transcribe(path, batch_size=windows, **options)
            else:
                segments, _ = self.model.transcribe(path, **options)
            # Nothing is computed before its segments are asked for.
            return list(segments)

        ms, segments = milliseconds(work)
        return {"ms": ms, "tokens": sum(len(segment.tokens) for segment in segments)}


if __name__ == "__main__":
    sys.exit(main())
