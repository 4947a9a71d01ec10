"""The held-out set: sentences and voices that never occur in training; and how a model does on it in torch.

Who uses it: train.py (a small set, at intervals), evaluate.py, fixtures.py.
Invariant: the same seed gives the same sound, bit for bit, on one version of espeak-ng.
"""

import random
from typing import NamedTuple

import numpy as np
import torch

from features import RATE, log_mel
from score import error_rate, exact_rate
from sentences import Sentence, draw
from speech import SOURCE_RATE, Speaker
from tokenizer import WINDOW_SECONDS
from windows import HELD_OUT_VARIANTS, Ids, random_voice

TASKS = ["transcribe en", "transcribe de", "translate de"]


class Item(NamedTuple):
    """A recording at 16 kHz and what is to be written."""

    task: str
    sound: np.ndarray
    truth: str
    sentence: Sentence


def resample(sound: np.ndarray, rate: int = RATE) -> np.ndarray:
    """From espeak-ng's rate, through the spectrum."""
    length = round(len(sound) * rate / SOURCE_RATE)
    spectrum = np.fft.rfft(sound)[: length // 2 + 1]
    spectrum = np.pad(spectrum, (0, length // 2 + 1 - len(spectrum)))
    return np.fft.irfft(spectrum, length).astype(np.float32) * (length / len(sound))


def held_out_set(count: int, seed: str, noise: float = 0.003) -> list[Item]:
    """`count` recordings for each task: a held-out sentence by a held-out voice, a moment of silence around it, a little
    hiss."""
    speaker, items = Speaker(), []
    for task in TASKS:
        rng = random.Random(f"held out {task} {seed}")
        hiss = np.random.default_rng(rng.getrandbits(64))
        language = task.split()[1]
        while sum(item.task == task for item in items) < count:
            sentence = draw(rng, held_out=True, need="both" if task.startswith("translate") else language)
            said = sentence.german if language == "de" else sentence.english
            clip = speaker.speak(said, language, random_voice(rng, language, HELD_OUT_VARIANTS))
            sound = resample(clip.sound)
            sound *= 10 ** (-rng.uniform(1, 15) / 20) / np.abs(sound).max()
            around = [np.zeros(int(RATE * rng.uniform(0.05, 0.6)), np.float32) for _ in range(2)]
            sound = np.concatenate([around[0], sound, around[1]])
            if len(sound) > WINDOW_SECONDS * RATE:
                continue
            sound += noise * hiss.standard_normal(len(sound), np.float32) * rng.random()
            truth = sentence.english if task.startswith("translate") else said
            items.append(Item(task, np.round(sound.clip(-1, 1) * 32767).astype(np.int16), truth, sentence))
    return items


def features(items: list[Item]) -> np.ndarray:
    """Log-mel of whole windows: [items, 80, 1000]."""
    return np.stack([log_mel(np.pad(item.sound / 32768, (0, WINDOW_SECONDS * RATE - len(item.sound)))) for item in items])


class Judge:
    """Greedy decoding of a set in torch."""

    def __init__(self, tokenizer, items: list[Item]) -> None:
        self.tokenizer, self.ids, self.items = tokenizer, Ids(tokenizer), items
        self.mel = torch.from_numpy(features(items)).float()

    @torch.no_grad()
    def texts(self, model) -> list[str]:
        """What the model writes, without timestamps."""
        ids, texts = self.ids, []
        for first in range(0, len(self.items), 16):
            source = model.encoder(self.mel[first : first + 16])
            rows = [
                [ids.start, ids.language[item.task[-2:]], ids.translate if item.task.startswith("translate") else ids.transcribe, ids.no_timestamps]
                for item in self.items[first : first + 16]
            ]
            tokens = torch.tensor(rows)
            for _ in range(48):
                logits = model.logits(tokens, source)[0][:, -1]
                ended = (tokens == ids.end).any(1)
                tokens = torch.cat([tokens, logits.argmax(-1).masked_fill(ended, ids.end)[:, None]], 1)
                if bool((tokens == ids.end).any(1).all()):
                    break
            texts += [self.tokenizer.decode(row, skip_special_tokens=True).strip() for row in tokens.tolist()]
        return texts

    def report(self, model) -> str:
        """One line: word error rates, exact translations, an example of each."""
        answers, told = self.texts(model), []
        for task in TASKS:
            pairs = [(item.truth, answer) for item, answer in zip(self.items, answers) if item.task == task]
            wrong = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
            told.append(f"{task}: {error_rate(pairs):.1%} errors, {exact_rate(pairs):.0%} exact, {wrong}")
        return "; ".join(told)
