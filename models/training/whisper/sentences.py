"""Sentences for training and for the held-out sets, drawn from the frames, and lists of random words.

Who uses it: windows.py, heldout.py, fixtures.py, tokenizer.py.
A drawn sentence is German and English of one meaning, or one of them alone. One of 16 is held out, by its text, in both
languages together; frames with few fillings are never held out.
Invariant: `draw(held_out=False)` never gives a sentence of which `draw(held_out=True)` gives either language.
"""

import hashlib
import random
import re
from typing import NamedTuple

from frames import ENGLISH, GERMAN, PAIRS
from words import POOLS

FEW_FILLINGS = 60
# Kinds of numbers, and how many there are of each.
NUMBERS = {"n": 87, "year": 115, "digital": 132}
MINUTES = ["05", "10", "15", "20", "25", "30", "35", "40", "45", "50", "55"]


class Sentence(NamedTuple):
    """One meaning; an empty string where a language has none."""

    german: str
    english: str


def _pool(kind: str) -> list[tuple[str, str]]:
    forms = [entry.strip().split(" = ") for entry in POOLS[kind].split(";")]
    return [(form[0], form[-1]) for form in forms]


FORMS = {kind: _pool(kind) for kind in POOLS}
FRAMES = (
    [tuple(line.split(" | ")) for line in PAIRS.strip().split("\n")]
    + [("", line) for line in ENGLISH.strip().split("\n")]
    + [(line, "") for line in GERMAN.strip().split("\n")]
)
PLACE = re.compile(r"\{([a-z_]+)(\d?)\}")


def _number(rng: random.Random, kind: str) -> str:
    """A number from 13 to 99, a year, or a time."""
    if kind == "n":
        return str(rng.randint(13, 99))
    if kind == "year":
        return str(rng.choice([rng.randint(1911, 1999), rng.randint(2001, 2026)]))
    return f"{rng.randint(1, 12)}:{rng.choice(MINUTES)}"


def _fill(rng: random.Random, german: str, english: str) -> tuple[str, str]:
    """Fills the places of both languages alike, and the places inside of what was filled in."""
    while place := PLACE.search(german) or PLACE.search(english):
        value = (_number(rng, place[1]),) * 2 if place[1] in NUMBERS else rng.choice(FORMS[place[1]])
        german, english = german.replace(place[0], value[0]), english.replace(place[0], value[1])
    upper = lambda text: text[:1].upper() + text[1:]
    return upper(german), upper(english)


def fillings(frame: tuple[str, str]) -> int:
    """How many sentences a frame has, roughly."""
    total = 1
    for kind, _ in {(place[1], place[2]) for place in PLACE.finditer(frame[0] + frame[1])}:
        total *= NUMBERS.get(kind) or len(FORMS[kind])
    return total


WEIGHTS = [0.3 if fillings(frame) == 1 else 0.6 if fillings(frame) < 20 else 1.0 for frame in FRAMES]


def is_held_out(sentence: Sentence) -> bool:
    """Whether the text belongs to the held-out part, if its frame has enough fillings for one."""
    key = sentence.english or sentence.german
    return hashlib.sha256(key.encode()).digest()[0] % 16 == 0


def draw(rng: random.Random, held_out: bool = False, need: str = "") -> Sentence:
    """A sentence of one of the two parts; `need` is "de", "en" or "both"."""
    while True:
        frame = rng.choices(FRAMES, WEIGHTS)[0]
        if (need in ("de", "both") and not frame[0]) or (need in ("en", "both") and not frame[1]):
            continue
        sentence = Sentence(*_fill(rng, *frame))
        splits = fillings(frame) >= FEW_FILLINGS
        if held_out == (splits and is_held_out(sentence)):
            return sentence


def _vocabulary() -> dict[str, list[str]]:
    """All words that the frames can say, by language, in the writing they have inside of a sentence."""
    found: dict[str, set[str]] = {"de": set(), "en": set()}
    texts = FRAMES + [form for forms in FORMS.values() for form in forms]
    for pair in texts:
        for language, text in zip(("de", "en"), pair):
            words = PLACE.sub(" ", text).split()
            inside = words[1:] if text[:1].isupper() and pair in FRAMES else words
            found[language].update(word.strip(".,?") for word in inside)
    return {language: sorted(words - {""}) for language, words in found.items()}


VOCABULARY = _vocabulary()


def word_list(rng: random.Random, language: str) -> str:
    """Random words in a row, so that sounds are learnt and not sentences alone."""
    words = rng.choices(VOCABULARY[language], k=rng.randint(2, 7))
    for at in range(len(words)):
        if rng.random() < 0.2:
            words[at] = _number(rng, rng.choice(["n", "n", "year", "digital"]))
    if rng.random() < 0.3:
        words = [word + "," for word in words[:-1]] + words[-1:]
    text = " ".join(words)
    return text[:1].upper() + text[1:] + rng.choice([".", ".", "?"])
