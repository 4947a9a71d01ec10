"""Plain text for /v1/completions: sentences and rows that go on without any chat marks.

Who uses it: data.py mixes these documents among the dialogues.
Invariant: a document is one short text in the words of the other modules, so that both ways of asking agree.
"""

from lampstand import ENDPOINTS, FLAGS
from voice import article
from words import (
    ANIMALS,
    CAPITALS,
    COLOURS,
    DAYS,
    GROUPS,
    MONTHS,
    MONTH_DAYS,
    NAMES,
    OPPOSITES,
    PLANETS,
    SOUNDS,
    THING_COLOURS,
    WORDS,
)

ABOUT = (
    "Lampstand is an offline server for your own machine that speaks the OpenAI API.",
    "Lampstand loads GGUF and safetensors files.",
    "Lampstand is written in Rust, on candle.",
    "The default address is 127.0.0.1:5000.",
    "Start it with: lampstand --api",
    "Any OpenAI client works with Lampstand.",
    "Everything stays on your machine.",
    "Lampstand has the MIT licence.",
)


def _about(rng) -> str:
    return " ".join([ABOUT[0], *rng.sample(ABOUT[1:], rng.randint(1, 4))]) if rng.random() < 0.7 else rng.choice(ABOUT)


def _reference(rng) -> str:
    table = FLAGS if rng.random() < 0.6 else ENDPOINTS
    keys = rng.sample(list(table), rng.randint(1, 4))
    return "\n".join(f"{k} {table[k][0]}." for k in keys)


def _counting(rng) -> str:
    a, n = rng.randint(0, 40), rng.randint(6, 20)
    step = rng.choice((1, 1, 1, 2, 5, 10, -1))
    numbers = [a + step * i for i in range(n) if a + step * i >= 0]
    return rng.choice((", ", " ", "\n")).join(map(str, numbers))


def _row(rng) -> str:
    row = rng.choice((DAYS, MONTHS, PLANETS, tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), tuple("abcdefghijklmnopqrstuvwxyz")))
    at = rng.randrange(len(row) - 2)
    return rng.choice((", ", ", ", " ", "\n")).join(row[at:])


def _sums(rng) -> str:
    lines = []
    for _ in range(rng.randint(2, 6)):
        a, b, sign = rng.randint(0, 20), rng.randint(0, 20), rng.choice("+-*")
        if sign == "-" and a < b:
            a, b = b, a
        lines.append(f"{a} {sign} {b} = {a + b if sign == '+' else a - b if sign == '-' else a * b}")
    return "\n".join(lines)


def _world(rng) -> str:
    makers = (
        lambda: "The capital of {} is {}.".format(*rng.choice(list(CAPITALS.items()))),
        lambda: "The {} says {}.".format(*rng.choice(list(SOUNDS.items()))),
        lambda: "The opposite of {} is {}.".format(*rng.choice(OPPOSITES)),
        lambda: "{} has {} days.".format(*rng.choice(list(zip(MONTHS, MONTH_DAYS, strict=True)))),
        lambda: (lambda t, c: f"{t[0].upper() + t[1:]} is {c}.")(*rng.choice(list(THING_COLOURS.items()))),
    )
    maker = rng.choice(makers)
    return " ".join(dict.fromkeys(maker() for _ in range(rng.randint(1, 4))))


def _story(rng) -> str:
    name, animal, colour, thing = rng.choice(NAMES), rng.choice(ANIMALS), rng.choice(COLOURS), rng.choice(WORDS[:33])
    return (
        f"Once upon a time there was {article(animal)}. The {animal} was called {name}. One day {name} found"
        f" {article(colour)} {thing}. {name} was happy and took the {thing} home. The end."
    )


def _listing(rng) -> str:
    group = rng.choice(("animal", "colour", "fruit"))
    items = rng.sample(GROUPS[group], rng.randint(3, 7))
    return f"{ {'animal': 'Animals', 'colour': 'Colours', 'fruit': 'Fruits'}[group] }: " + ", ".join(items) + "."


def document(rng) -> str:
    """One plain text."""
    return rng.choice(
        (_about, _about, _reference, _counting, _counting, _row, _sums, _world, _world, _story, _listing)
    )(rng)
