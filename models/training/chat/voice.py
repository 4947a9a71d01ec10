"""How a generated user speaks: template expansion, noise, and the key that decides about the held-out split.

Who uses it: every topic module writes its questions through a `Voice`.
Invariant: the split key comes from the clean text, before noise, so that a typo or other capitals can never carry a
held-out prompt into training.
"""

import hashlib
import random
import re
from dataclasses import dataclass, field

HELD_OUT_SHARE = 25  # One key in so many belongs to the evaluation.
_CHOICE = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"(\{\w+\})")


@dataclass
class Exercise:
    """One turn: what the user says, what the model should answer, and how an answer is judged.

    `check` is a pair (kind, expected); evaluate.py says what each kind means.
    """

    category: str
    user: str
    answer: str
    check: tuple
    key: str


@dataclass
class Context:
    """What both sides know at this point of a dialogue: the system prompt's persona and what the user told."""

    system: str | None = None
    persona: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    told: dict = field(default_factory=dict)  # fact -> the clean sentence that told it, a part of the split key


def is_held_out(key: str) -> bool:
    """Whether prompts with this key are for the evaluation only."""
    letters = re.sub(r"[^a-z0-9+*/|-]", "", key.lower())
    return int.from_bytes(hashlib.sha256(letters.encode()).digest()[:4], "big") % HELD_OUT_SHARE == 0


def expand(rng: random.Random, template: str) -> str:
    """Chooses one branch of every `(a|b|c)`, innermost first."""
    while True:
        found = _CHOICE.search(template)
        if not found:
            return re.sub(r" +", " ", template).strip()
        branch = rng.choice(found.group(1).split("|"))
        template = template[: found.start()] + branch + template[found.end() :]


def fill(template: str, slots: dict) -> str:
    """Puts the slots into `{name}` places; braces that are no slot stay as they are."""
    return _SLOT.sub(lambda m: str(slots.get(m.group(0)[1:-1], m.group(0))), template)


def made_up_word(rng: random.Random) -> str:
    """A pronounceable word that no pool holds, so that copying must be learned rather than a list of words."""
    onsets, vowels, codas = (
        "b c d f g h j k l m n p r s t v w z br dr gr kl pl st tr sh ch th".split(),
        "aeiou",
        "nrslmtkdx",
    )
    word = ""
    for _ in range(rng.choice((1, 2, 2, 2, 3))):
        word += rng.choice(onsets) + rng.choice(vowels)
    return word + (rng.choice(codas) if rng.random() < 0.6 or len(word) < 3 else "")


_SHORT_FORMS = re.compile(
    r"\b(json|api|cpu|gpu|kv|url|http|ip|lan|sdk|ai|openai|french|german|spanish|italian|latin|chinese)\b"
)


def _written_out(match: re.Match) -> str:
    word = match.group(0)
    return "OpenAI" if word == "openai" else word.upper() if len(word) < 5 else word.capitalize()


def _typo(rng: random.Random, text: str) -> str:
    spots = [m for m in re.finditer(r"[a-z]{5,}", text)]
    if not spots:
        return text
    spot = rng.choice(spots)
    at = rng.randrange(spot.start() + 1, spot.end() - 1)
    kind = rng.random()
    if kind < 0.4:
        return text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    if kind < 0.7:
        return text[:at] + text[at + 1 :]
    return text[:at] + text[at] + text[at:]


class Voice:
    """Says a template with slots; remembers the clean text as the key."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def say(self, templates, **slots) -> tuple[str, str]:
        """The noisy text and the clean key of one user turn."""
        rng = self.rng
        template = expand(rng, templates if isinstance(templates, str) else rng.choice(templates))
        key = fill(template, slots)
        parts = _SLOT.split(template)
        if rng.random() < 0.55:
            parts = [_SHORT_FORMS.sub(_written_out, p) if n % 2 == 0 else p for n, p in enumerate(parts)]
        if rng.random() < 0.07:
            at = rng.randrange(0, len(parts), 2)
            parts[at] = _typo(rng, parts[at])
        verbatim = slots.get("verbatim")  # the text is to be copied: its case and end must stay
        style = rng.random()
        if style > 0.25 and parts[0]:
            parts[0] = parts[0][0].upper() + parts[0][1:]
        if style > 0.3:
            parts = [re.sub(r"\bi\b", "I", p) if n % 2 == 0 else p for n, p in enumerate(parts)]
        if rng.random() < 0.01:
            parts = [p.upper() if n % 2 == 0 else p for n, p in enumerate(parts)]
        text = fill("".join(parts), slots)
        if verbatim:
            return text, key
        if rng.random() < 0.2:
            text = text.rstrip("?.!")
        elif rng.random() < 0.04:
            text += rng.choice(("?", "!", " ", " :)", "..", "\n"))
        return text, key

    def turn(self, category, templates, answer, check, context_key="", **slots) -> Exercise:
        """An exercise of one user template and one answer (its own `(a|b)` and slots are filled too)."""
        text, key = self.say(templates, **slots)
        if self.rng.random() < 0.04:
            text = self.rng.choice(("Please, ", "Hey, ", "Ok, ", "So, ", "Well, ")) + text
        answer = fill(expand(self.rng, answer), slots) if slots.get("raw") is None else answer
        return Exercise(category, text, answer, check, context_key + "|" + key)


def article(noun: str) -> str:
    """The noun with `a` or `an`."""
    return ("an " if noun[0] in "aeiou" else "a ") + noun
