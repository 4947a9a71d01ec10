"""How well the speech model writes: word errors and exact translations on sentences and voices that were held out.

Who uses it: people, `python models/training/whisper/evaluate.py --url http://127.0.0.1:5000/v1` through a running server, or
`--folder models/starter/whisper` through transformers. The language is told to neither, unless `--tell-language` asks for it.
Invariant: both ways hear the same files.
"""

import argparse
import io
import json
import time
import urllib.request
import uuid
import wave
from pathlib import Path

import numpy as np

from heldout import TASKS, Item, held_out_set
from score import error_rate, exact_rate


def wave_bytes(sound: np.ndarray, rate: int = 16000) -> bytes:
    """A WAV file, 16 bit: mono, or [samples, channels]."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1 if sound.ndim == 1 else sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.astype("<i2").tobytes())
    return out.getvalue()


def multipart(fields: dict[str, str], name: str, content: bytes) -> tuple[bytes, str]:
    """The body of a form with a file, and its content type."""
    mark = uuid.uuid4().hex
    parts = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()
    ]
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: audio/wav\r\n\r\n'
    return b"".join(parts) + head.encode() + content + f"\r\n--{mark}--\r\n".encode(), f"multipart/form-data; boundary={mark}"


class Server:
    """Answers of a running server."""

    def __init__(self, url: str, model: str, tell_language: bool) -> None:
        self.url, self.model, self.tell_language = url.rstrip("/"), model, tell_language

    def texts(self, items: list[Item]) -> list[str]:
        """What the server writes, one request after the other."""
        return [self._text(item) for item in items]

    def _text(self, item: Item) -> str:
        task, language = item.task.split()
        fields = {"model": self.model, "response_format": "json", "temperature": "0"}
        if self.tell_language and task == "transcribe":
            fields["language"] = language
        body, kind = multipart(fields, "speech.wav", wave_bytes(item.sound))
        path = "/audio/translations" if task == "translate" else "/audio/transcriptions"
        request = urllib.request.Request(self.url + path, data=body, headers={"Content-Type": kind})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)["text"]


class Folder:
    """Answers of transformers."""

    def __init__(self, folder: Path, tell_language: bool) -> None:
        import torch
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        torch.set_num_threads(1)
        self.processor = WhisperProcessor.from_pretrained(folder)
        self.model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tell_language = tell_language

    def texts(self, items: list[Item]) -> list[str]:
        """What the model writes for recordings of one task."""
        task, language = items[0].task.split()
        told, texts = language if self.tell_language else None, []
        for first in range(0, len(items), 16):
            sounds = [item.sound / 32768 for item in items[first : first + 16]]
            inputs = self.processor(sounds, sampling_rate=16000, return_tensors="pt").input_features
            tokens = self.model.generate(inputs, language=told, task=task)
            texts += [text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)]
        return texts


def main() -> None:
    """Asks and judges."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="base address of a running server, with /v1")
    parser.add_argument("--folder", type=Path, help="a model folder, read by transformers")
    parser.add_argument("--model", default="whisper-1", help="the model's name at the server")
    parser.add_argument("--tell-language", action="store_true")
    parser.add_argument("--count", type=int, default=200, help="recordings for each task")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--show", type=int, default=5, help="wrong answers to print for each task")
    args = parser.parse_args()
    if bool(args.url) == bool(args.folder):
        parser.error("one of --url and --folder is needed")
    engine = Server(args.url, args.model, args.tell_language) if args.url else Folder(args.folder, args.tell_language)
    items = held_out_set(args.count, args.seed)
    began = time.time()
    for task in TASKS:
        asked = [item for item in items if item.task == task]
        own = [(item.truth, answer) for item, answer in zip(asked, engine.texts(asked))]
        print(f"{task}: of {len(own)}, word error rate {error_rate(own):.2%}, all words right {exact_rate(own):.1%}")
        for truth, answer in [pair for pair in own if exact_rate([pair]) < 1][: args.show]:
            print(f"    {truth!r}\n    {answer!r}")
    heard = sum(len(item.sound) for item in items) / 16000
    print(f"{heard:.0f} s of sound in {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
