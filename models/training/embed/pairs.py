"""Draws pairs of texts that mean the same, and decides which meanings are held out.

Who uses it: train.py for batches, evaluate.py for the held-out pairs.
Invariant: the split goes by meaning (frame and concepts), so that no wording of a held-out meaning is ever trained on.
"""

import random
from typing import NamedTuple

from frames import FRAMES, draw, key, say
from moderated import CATEGORIES
from voice import _typo as typo
from voice import expand, is_held_out

MODERATED_SHARE = 0.12
PASSAGE_SHARE = 0.1


class Pair(NamedTuple):
    """Two texts of one meaning; two pairs with the same meaning are no negatives of one another."""

    first: str
    second: str
    meaning: str


def paraphrase(rng: random.Random, held_out: bool) -> Pair:
    """Two wordings of one meaning on the wanted side of the split."""
    while True:
        number = rng.randrange(len(FRAMES))
        meaning = draw(rng, FRAMES[number])
        told = key(number, meaning)
        if is_held_out(told) != held_out:
            continue
        first, second = rng.sample(FRAMES[number], 2)
        pair = Pair(say(rng, first, meaning), say(rng, second, meaning), told)
        if pair.first != pair.second:
            return pair


def moderated(rng: random.Random) -> Pair:
    """A sentence with its category's description, or two sentences of one category."""
    names = list(CATEGORIES)
    category = rng.choices(names, [3 if name == "harmless" else 1 for name in names])[0]
    descriptions, sentences = CATEGORIES[category]
    first = expand(rng, rng.choice(sentences))
    second = rng.choice(descriptions) if rng.random() < 0.7 else expand(rng, rng.choice(sentences))
    return Pair(first, second, category)


def noisy(rng: random.Random, text: str) -> str:
    """The text as people write it: an end, a typo now and then."""
    if rng.random() < 0.05:
        text = typo(rng, text)
    return (
        text + "." if rng.random() < 0.4 and text[-1] not in "?.!" else text.rstrip("?") if rng.random() < 0.3 else text
    )


def training_pair(rng: random.Random) -> Pair:
    """What training sees: paraphrases, moderation, and passages that hold a paraphrase among other sentences."""
    if rng.random() < MODERATED_SHARE:
        first, second, meaning = moderated(rng)
    else:
        first, second, meaning = paraphrase(rng, held_out=False)
        if rng.random() < PASSAGE_SHARE:
            others = [paraphrase(rng, held_out=False).first for _ in range(rng.randint(1, 4))]
            others.insert(rng.randrange(len(others) + 1), second)
            second = ". ".join(others)
    first, second = rng.sample((first, second), 2)
    return Pair(noisy(rng, first), noisy(rng, second), meaning)


def held_out_pairs(count: int, seed: int) -> list[Pair]:
    """Pairs of held-out meanings, each meaning once and no text twice."""
    rng = random.Random(f"held out {seed}")
    pairs, seen = [], set()
    while len(pairs) < count:
        pair = paraphrase(rng, held_out=True)
        if seen.isdisjoint(pair):
            seen.update(pair)
            pairs.append(pair)
    return pairs
