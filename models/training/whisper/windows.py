"""Makes training windows: sentences are spoken, joined, disturbed, and written down as Whisper's token sequences.

Who uses it: train.py (in processes of its own), test_whisper.py.
Invariant: what a window says is in it to the end: a sentence that the window cuts is left out, and with timestamps only its
start is written.
"""

import random
import re
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

from features import log_mel
from sentences import draw, word_list
from speech import Clip, Speaker, Voice
from tokenizer import LANGUAGES, POSITIONS_PER_SECOND, SPECIAL

ACCENTS = {
    "en": ["en-us"] * 5 + ["en"] * 4 + ["en-gb-x-rp", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc"],
    "de": ["de"],
}
VARIANTS = (
    ". . m1 m2 m3 m5 m6 m7 m8 f1 f2 f3 f5 m1 m2 m3 f1 f2 f5 klatt klatt2 klatt4 Andy Annie Alex Alicia Andrea Denis Diogo Gene "
    "Gene2 Henrique Hugo Jacky Lee Marco Michael Mike adam anika antonio aunty belinda benjamin boris caleb david ed edward "
    "grandma grandpa john linda marcelo max michel miguel norbert pablo paul pedro quincy rob robert sandro shelby steph travis "
    "victor zac"
).split()
# Never heard in training; heldout.py speaks with them.
HELD_OUT_VARIANTS = ["f4", "m4", "Mario"]
# Source samples of one position (20 ms): 441 keeps the voice, more makes it higher and faster. All have small factors.
SAMPLES_PER_POSITION = [405, 420, 432, 441, 441, 441, 441, 448, 450, 462, 480]
SILENT_PHONEME = 0
IGNORED = -100
PROMPT_TOKENS_MAX = 60


class Ids:
    """The ids of the special tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        ids = {name: tokenizer.token_to_id(name) for name in SPECIAL}
        self.end, self.start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
        self.language = {language: ids[f"<|{language}|>"] for language in LANGUAGES}
        self.translate, self.transcribe = ids["<|translate|>"], ids["<|transcribe|>"]
        self.previous, self.no_speech = ids["<|startofprev|>"], ids["<|nospeech|>"]
        self.no_timestamps = ids["<|notimestamps|>"]
        self.first_time = self.no_timestamps + 1


class Spoken(NamedTuple):
    """A clip, what it says, and what is to be written (the same, or the translation)."""

    clip: Clip
    said: str
    written: str


class Example(NamedTuple):
    """One window: features, tokens with their labels, where each label is heard, phonemes by position."""

    mel: np.ndarray
    tokens: list[int]
    labels: list[int]
    heard: list[tuple[float, float]]
    phonemes: np.ndarray


class Batch(NamedTuple):
    """Examples of one length as arrays; `first_position` says where in the window the crop is meant to be."""

    mel: np.ndarray
    tokens: np.ndarray
    labels: np.ndarray
    heard: np.ndarray
    phonemes: np.ndarray
    first_position: int


def random_voice(rng: random.Random, language: str, variants: list[str] = VARIANTS) -> Voice:
    """An accent, a variant and a way of speaking."""
    variant = rng.choice(variants)
    name = rng.choice(ACCENTS[language]) + ("" if variant == "." else f"+{variant}")
    gap = rng.choice([0, 0, 0, 0, 2, 4])
    return Voice(name, rng.randint(125, 235), rng.randint(20, 80), rng.randint(15, 85), gap)


def disturb(rng: random.Random, noise: np.random.Generator, source: np.ndarray, samples: int) -> np.ndarray:
    """Brings `source` to `samples` at 16 kHz, and mostly colours it, adds noise or an echo, and changes its level: all on
    the spectrum, in one transform there and one back."""
    spectrum = np.fft.rfft(source)[: samples // 2 + 1] * (samples / len(source))
    if len(spectrum) < samples // 2 + 1:
        spectrum = np.pad(spectrum, (0, samples // 2 + 1 - len(spectrum)))
    hertz = np.linspace(0, 8000, len(spectrum), dtype=np.float32)
    kind = rng.random()
    if kind < 0.55:
        knots = [0, 150, 400, 1000, 2000, 4000, 8000]
        decibel = np.interp(hertz, knots, [rng.uniform(-7, 7) for _ in knots]).astype(np.float32)
        spectrum = spectrum * 10 ** (decibel / 20)
    if kind < 0.06:
        spectrum = spectrum * ((hertz > 250) & (hertz < 3600))
    elif kind < 0.16:
        spectrum = spectrum * (hertz < rng.uniform(4000, 7500))
    if rng.random() < 0.1:
        length = int(16000 * rng.uniform(0.1, 0.35))
        echo = noise.standard_normal(length, np.float32) * np.exp(-6 * np.arange(length, dtype=np.float32) / length)
        echo *= rng.uniform(0.1, 0.6) / np.sqrt((echo**2).sum())
        echo[0] = 1
        spectrum = spectrum * np.fft.rfft(echo, samples)
    power = (np.abs(spectrum) ** 2).mean()
    if rng.random() < 0.5:
        colour = np.maximum(hertz, 40) ** -rng.choice([0, 0, 0.5, 0.5, 1, 1.5])
        hiss = noise.standard_normal((2, len(hertz)), np.float32)
        hiss = (hiss[0] + 1j * hiss[1]) * colour
        ratio = 10 ** (-rng.uniform(10, 45) / 10) if power > 0 else 1.0
        spectrum = spectrum + hiss * np.sqrt(max(power, 1e-9) * ratio / (np.abs(hiss) ** 2).mean())
    sound = np.fft.irfft(spectrum, samples).astype(np.float32)
    if rng.random() < 0.06:
        tone = rng.choice([50, 60, 100, rng.uniform(100, 3000)])
        sound += 0.05 * (np.abs(sound).max() + 1e-4) * np.sin(2 * np.pi * tone / 16000 * np.arange(samples, dtype=np.float32))
    peak = np.abs(sound).max()
    if peak > 0:
        sound *= 10 ** (-rng.uniform(0, 32) / 20) / peak
    return np.round(sound * 32767) / 32768


class Maker:
    """Makes examples and batches; one for each process."""

    def __init__(self, tokenizer: Tokenizer, phonemes: list[str], seed: str) -> None:
        self.tokenizer, self.ids, self.speaker = tokenizer, Ids(tokenizer), Speaker()
        self.phonemes = {name: number for number, name in enumerate(phonemes)}
        self.rng = random.Random(seed)
        self.noise = np.random.default_rng(self.rng.getrandbits(64))
        # Whether this batch has prompts: together they cost less, for all rows are as long as the longest.
        self.prompts = False

    def say(self, language: str, translate: bool, voice: Voice, text: str = "") -> Spoken:
        """A drawn sentence, or a list of words, spoken."""
        rng = self.rng
        if translate:
            sentence = draw(rng, need="both")
            said, written = sentence.german, sentence.english
        else:
            if rng.random() < 0.1:
                said = word_list(rng, language)
            else:
                sentence = draw(rng, need=language)
                said = sentence.german if language == "de" else sentence.english
            written = said
        return Spoken(self.speaker.speak(said, language, voice), said, written)

    def task(self) -> tuple[str, bool]:
        """Language and whether to translate."""
        return self.rng.choices([("en", False), ("de", False), ("de", True)], [40, 25, 35])[0]

    def words(self, text: str) -> list[list[int]]:
        """The tokens of each word."""
        return [self.tokenizer.encode(" " + word, add_special_tokens=False).ids for word in text.split()]

    def window(self, spoken: list[Spoken], starts: list[int], positions: int, samples: int, task, first_position: int) -> Example:
        """The example of clips that start at the source samples `starts`; `samples` of the source make one position."""
        rng, ids, (language, translate) = self.rng, self.ids, task
        source = np.zeros(positions * samples, np.float32)
        phonemes = np.full(positions, SILENT_PHONEME, np.uint8)
        timed = rng.random() < 0.5
        body: list[tuple[int, tuple[float, float]]] = []
        nowhere = (-1.0, -1.0)

        def time(sample: int) -> tuple[int, tuple[float, float]]:
            place = min(positions, round(sample / samples))
            return ids.first_time + first_position + place, (place - 1.0, place + 1.0)

        for item, start in zip(spoken, starts):
            sound = item.clip.sound
            part = sound[: len(source) - start]
            source[start : start + len(part)] += part
            self.mark(phonemes, item.clip, start, samples)
            if len(part) < len(sound):
                if timed:
                    body.append(time(start))
                break
            if timed:
                body.append(time(start))
            for number, tokens in enumerate(self.words(item.written)):
                place = nowhere
                # The digits of a number are heard one by one: its attention is left free.
                if not translate and not re.search(r"\d", item.written.split()[number]):
                    begin, end = item.clip.words[number]
                    place = ((start + begin * 22050) / samples, (start + end * 22050) / samples)
                body.extend((token, place) for token in tokens)
            if timed:
                body.append(time(start + len(sound)))
        sound = disturb(rng, self.noise, source, positions * 320)
        tokens = [ids.start, ids.language[language], ids.translate if translate else ids.transcribe]
        labels = [ids.language[language], IGNORED]
        if not timed:
            tokens.append(ids.no_timestamps)
            labels.append(IGNORED)
        if not spoken:
            tokens[1] = rng.choice(list(ids.language.values()))
            labels[0] = ids.no_speech
        heard = [nowhere] * len(labels) + [place for _, place in body] + [nowhere]
        labels += [token for token, _ in body] + [ids.end]
        tokens += [token for token, _ in body]
        if not spoken and rng.random() < 0.5:
            tokens, labels, heard = [ids.start, ids.no_speech], [ids.no_speech, ids.end], [nowhere] * 2
        if self.prompts and rng.random() < 0.6:
            tokens, labels, heard = self.prompted(tokens, labels, heard, task)
        mel = log_mel(sound)
        if rng.random() < 0.4:
            band, frame = rng.randrange(72), rng.randrange(mel.shape[1] - 12)
            mel[band : band + rng.randint(1, 8)] = mel.mean()
            mel[:, frame : frame + rng.randint(1, 10)] = mel.mean()
        return Example(mel.astype(np.float16), tokens, labels, heard, phonemes)

    def prompted(self, tokens, labels, heard, task):
        """The example with a text before it, without loss on that text."""
        language, translate = task
        previous: list[int] = []
        for _ in range(self.rng.randint(1, 4)):
            sentence = draw(self.rng, need="both")
            text = sentence.english if translate or language == "en" else sentence.german
            previous += self.tokenizer.encode(" " + text, add_special_tokens=False).ids
        previous = [self.ids.previous] + previous[-PROMPT_TOKENS_MAX:]
        count = len(previous)
        return previous + tokens, [IGNORED] * count + labels, [(-1.0, -1.0)] * count + heard

    def mark(self, phonemes: np.ndarray, clip: Clip, start: int, samples: int) -> None:
        """Writes the phonemes of a clip by position."""
        ends = [seconds for seconds, _ in clip.phonemes[1:]] + [len(clip.sound) / 22050]
        for (begin, name), end in zip(clip.phonemes, ends):
            first, last = (round((start + seconds * 22050) / samples) for seconds in (begin, end))
            phonemes[first:last] = self.phonemes.get(name, SILENT_PHONEME)

    def short_batch(self, count: int) -> list[Batch]:
        """Several batches of single sentences, each of sentences of like length."""
        rng, drawn = self.rng, []
        while len(drawn) < 4 * count:
            task = self.task()
            item, samples = self.say(*task, random_voice(rng, task[0])), rng.choice(SAMPLES_PER_POSITION)
            length = len(item.clip.sound) / samples
            if length <= 290:
                drawn.append((length, item, samples, task))
        drawn.sort(key=lambda row: row[0])
        batches = []
        for first in range(0, len(drawn), count):
            self.prompts = rng.random() < 0.15
            rows = drawn[first : first + count]
            positions = min(300, int(-(-(rows[-1][0] + rng.randint(2, 12)) // 10) * 10))
            at = rng.randrange(0, 500 - positions + 1) if rng.random() < 0.5 else 0
            examples = []
            for length, item, samples, task in rows:
                if rng.random() < 0.03:
                    examples.append(self.silence(positions, task, at))
                    continue
                start = int(rng.random() ** 2 * (positions - length) * samples)
                examples.append(self.window([item], [start], positions, samples, task, at))
            batches.append(self.batch(examples, at))
        rng.shuffle(batches)
        return batches

    def silence(self, positions: int, task, first_position: int) -> Example:
        """A window without speech."""
        return self.window([], [], positions, 441, task, first_position)

    def long_batch(self, count: int, positions: int) -> Batch:
        """Windows of one to four sentences with pauses; the last one may be cut when the window is a whole one."""
        rng, examples = self.rng, []
        self.prompts = rng.random() < 0.25
        for _ in range(count):
            task, samples = self.task(), rng.choice(SAMPLES_PER_POSITION)
            if rng.random() < 0.04:
                examples.append(self.silence(positions, task, 0))
                continue
            voice, room = random_voice(rng, task[0]), positions * samples
            spoken, starts, at = [], [], int(rng.choice([0, rng.uniform(0, 0.5), rng.uniform(0, 2.5)]) * 22050)
            cut_allowed = rng.random() < 0.25
            for _ in range(rng.choice([1, 1, 2, 2, 3, 4])):
                item = self.say(*task, voice)
                fits = at + len(item.clip.sound) <= room
                if not fits and not (cut_allowed and spoken and at < room - 8000):
                    continue
                spoken.append(item)
                starts.append(at)
                at += len(item.clip.sound) + int(rng.choice([rng.uniform(0.15, 0.6), rng.uniform(0.3, 2.5)]) * 22050)
                if not fits:
                    break
            examples.append(self.window(spoken, starts, positions, samples, task, 0))
        return self.batch(examples, 0)

    def batch(self, examples: list[Example], first_position: int) -> Batch:
        """Examples of one length as arrays."""
        length = max(len(example.tokens) for example in examples)
        tokens = np.full((len(examples), length), self.ids.end, np.int64)
        labels = np.full((len(examples), length), IGNORED, np.int64)
        heard = np.full((len(examples), length, 2), -1, np.float32)
        for row, example in enumerate(examples):
            count = len(example.tokens)
            tokens[row, :count], labels[row, :count], heard[row, :count] = example.tokens, example.labels, example.heard
        mel = np.stack([example.mel for example in examples])
        return Batch(mel, tokens, labels, heard, np.stack([example.phonemes for example in examples]), first_position)


def phoneme_names(seed: int, count: int = 400) -> list[str]:
    """The phonemes that espeak-ng speaks in both languages; the first stands for silence."""
    speaker, rng, found = Speaker(), random.Random(f"phonemes {seed}"), set()
    for _ in range(count):
        for language in LANGUAGES:
            clip = speaker.speak(word_list(rng, language), language, random_voice(rng, language))
            found.update(name for _, name in clip.phonemes if not name.startswith("_") and name not in (";", ""))
    return ["_", *sorted(found)]
