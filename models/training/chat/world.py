"""Small facts about the world: calendar, colours, animals, capitals, opposites, yes or no.

Who uses it: dialogues.py, through the `MAKERS` table.
Invariant: every answer follows from the tables in words.py; nothing is asked that they do not hold.
"""

import re

from voice import Context, Exercise, Voice, article, expand
from words import (
    BABIES,
    CAPITALS,
    DAYS,
    GROUPS,
    LEGS,
    MIXES,
    MONTH_DAYS,
    MONTHS,
    OPPOSITES,
    ORDINALS,
    PLANETS,
    SEASONS,
    SIMPLE_FACTS,
    SOUNDS,
    THING_COLOURS,
)

TELL = "(what|which|tell me which|do you know which)"


def _cased(rng, word: str) -> str:
    return word.lower() if rng.random() < 0.12 else word


def calendar(voice: Voice, context: Context) -> Exercise:
    """Days and months, their order and length."""
    rng = voice.rng
    turn = lambda ask, answer, words, **slots: voice.turn("calendar", ask, answer, ("keywords", words), **slots)
    kind = rng.random()
    days = rng.random() < 0.5
    names, unit = (DAYS, "day") if days else (MONTHS, "month")
    at = rng.randrange(len(names))
    name = names[at]
    if kind < 0.4:
        step, how = rng.choice(((1, "(comes |is |)(after|right after)"), (-1, "(comes |is |)(before|right before)")))
        other = names[(at + step) % len(names)]
        ask = (
            TELL + f" {unit} {how} {{d}}?",
            f"the {unit} {how.replace('comes ', '').replace('is ', '')} {{d}}(?|)",
            f"what (comes|{unit} comes|{unit} is) {'(after|next after)' if step > 0 else 'before'} {{d}}?",
        )
        answer = f"{other} comes {'after' if step > 0 else 'before'} {name}."
        return turn(ask, answer, [other], d=_cased(rng, name))
    if kind < 0.5:
        today, asked = rng.choice(
            (("today", "tomorrow"), ("today", "yesterday"), ("yesterday", "today"), ("tomorrow", "today"))
        )
        step = {
            ("today", "tomorrow"): 1,
            ("today", "yesterday"): -1,
            ("yesterday", "today"): 1,
            ("tomorrow", "today"): -1,
        }[(today, asked)]
        at = rng.randrange(7)
        verb = lambda w: {"today": "is", "tomorrow": "is", "yesterday": "was"}[w]
        other = DAYS[(at + step) % 7]
        return turn(
            (f"(if |){today} {verb(today)} {{d}}(, what|. what|, which) day {verb(asked)} {asked}?",),
            f"{asked.capitalize()} {verb(asked)} {other}.",
            [other],
            d=_cased(rng, DAYS[at]),
        )
    if kind < 0.68:
        if rng.random() < 0.5:
            ask, answer = (
                TELL + f" is the {{o}} {unit} of the {'week' if days else 'year'}?",
                f"what is {unit} number {{n}}(?| of the {'week' if days else 'year'}?)",
                f"(name|tell me) the {{o}} {unit} of the {'week' if days else 'year'}",
            ), f"The {ORDINALS[at]} {unit} is {name}."
            return turn(ask, answer, [name], o=ORDINALS[at], n=at + 1)
        ask = (
            f"(which|what) number( of the {'week' if days else 'year'}|) is {{d}}?",
            f"{{d}} is which {unit} of the {'week' if days else 'year'}?",
        )
        return turn(ask, f"{name} is the {ORDINALS[at]} {unit}.", [ORDINALS[at]], d=_cased(rng, name))
    if kind < 0.82:
        at = rng.randrange(12)
        days_in = MONTH_DAYS[at]
        return turn(
            (
                "how many days (does {m} have|are in {m}|has {m})(| got)?",
                "how long is {m}?",
                "(number of|tell me the number of) days in {m}",
            ),
            f"{MONTHS[at]} has {days_in} days.",
            [str(days_in)],
            m=_cased(rng, MONTHS[at]),
        )
    if kind < 0.92:
        what, of, n = rng.choice(
            (
                ("days", "a week", 7),
                ("months", "a year", 12),
                ("hours", "a day", 24),
                ("minutes", "an hour", 60),
                ("seconds", "a minute", 60),
                ("days", "a year", 365),
                ("seasons", "a year", 4),
                ("weeks", "a year", 52),
            )
        )
        return turn(
            (
                "how many {w} (are|are there) in {o}?",
                "how many {w} (does {o} have|has {o})?",
                "(tell me|do you know) how many {w} (are in|make) {o}",
            ),
            f"There are {n} {what} in {of}.",
            [str(n)],
            w=what,
            o=of,
        )
    if kind < 0.97:
        group = rng.choice((DAYS, MONTHS, SEASONS))
        noun = {DAYS: "days of the week", MONTHS: "months( of the year|)", SEASONS: "seasons( of the year|)"}[group]
        return turn(f"(list|name|what are|tell me|say|give me)( all|) the {noun}", ", ".join(group), list(group))
    return turn(
        ("(which|what) (days are|is) the weekend?", "when is the weekend?"),
        "Saturday and Sunday are the weekend.",
        ["Saturday", "Sunday"],
    )


def colours(voice: Voice, context: Context) -> Exercise:
    """The colour of a thing, and two colours mixed."""
    rng = voice.rng
    word = rng.choice(("color", "colour"))
    if rng.random() < 0.7:
        thing, colour = rng.choice(tuple(THING_COLOURS.items()))
        return voice.turn(
            "colours",
            (
                f"(what|which) {word} (is|has) {{t}}?",
                f"(what is|what's|tell me|do you know) the {word} of {{t}}?",
                f"{{t}} (is|has) (what|which) {word}?",
            ),
            f"{thing[0].upper() + thing[1:]} is {colour}.",
            ("keywords", [colour]),
            t=thing,
        )
    (a, b), mix = rng.choice(tuple(MIXES.items()))
    a, b = rng.sample((a, b), 2)
    return voice.turn(
        "colours",
        (
            "what (do you get|do i get|happens) (when you|if i|when i|if you) mix {a} and {b}?",
            "(mix|mixing) {a} (and|with) {b}( gives|)(?|)",
            f"(what|which) {word} (is|do|does) {{a}} (and|plus) {{b}}( make| give|)?",
        ),
        f"{a.capitalize()} and {b} make {mix}.",
        ("keywords", [mix]),
        a=a,
        b=b,
    )


def animals(voice: Voice, context: Context) -> Exercise:
    """Sounds, babies and legs."""
    rng = voice.rng
    kind = rng.random()
    if kind < 0.4:
        animal, sound = rng.choice(tuple(SOUNDS.items()))
        if rng.random() < 0.3:
            return voice.turn(
                "animals",
                ("(which|what) animal (says|goes|makes) {s}?", "who (says|goes) {s}?"),
                f"The {animal} says {sound}.",
                ("keywords", [animal]),
                s=sound,
            )
        return voice.turn(
            "animals",
            (
                "what (sound|noise) does {a} make?",
                "what does {a} say?",
                "how does {a} (sound|go)?",
                "(tell me |)the sound of {a}(?|)",
            ),
            f"The {animal} says {sound}.",
            ("keywords", [sound]),
            a=rng.choice((article(animal), "the " + animal)),
        )
    if kind < 0.65:
        animal, baby = rng.choice(tuple(BABIES.items()))
        return voice.turn(
            "animals",
            (
                "what is (a baby {a}|the baby of {b}|a young {a})( called|)?",
                "(what do you call|how do you call) a (baby|young) {a}?",
                "(tell me|do you know) the name (of|for) a (baby|young) {a}",
            ),
            f"A baby {animal} is called a {baby}.",
            ("keywords", [baby]),
            a=animal,
            b=article(animal),
        )
    animal, legs = rng.choice(tuple(LEGS.items()))
    return voice.turn(
        "animals",
        (
            "how many legs (does {a} have|has {a}( got|))?",
            "(number of|tell me the number of|what is the number of) legs (of|on) {a}(?|)",
        ),
        f"{article(animal).capitalize()} has {legs} legs.",
        ("number", legs),
        a=article(animal),
    )


def capitals(voice: Voice, context: Context) -> Exercise:
    """Countries and capitals, both ways."""
    rng = voice.rng
    country, city = rng.choice(tuple(CAPITALS.items()))
    if rng.random() < 0.25:  # the plainest wording, which made-up countries share, must be sure
        return voice.turn(
            "capitals",
            "(what is|what is|what's|tell me) the capital of {c}?",
            f"The capital of {country} is {city}.",
            ("keywords", [city]),
            c=_cased(rng, country),
        )
    if rng.random() < 0.75:
        return voice.turn(
            "capitals",
            (
                (
                    "(what is|what's|whats|tell me|do you know|name|what city is|which city is)( please|) the capital("
                    " city|) of {c}?"
                ),
                "(capital|the capital) of {c}(?|)",
                "what is {p}'s capital?",
                "{c}: capital?",
                "{c} has (what|which) capital( city|)?",
                "which city is the capital of {c}?",
            ),
            f"The capital of {country} is {city}.",
            ("keywords", [city]),
            c=_cased(rng, country),
            p=country.removeprefix("the "),
        )
    return voice.turn(
        "capitals",
        (
            "{t} is the capital of (which|what)( country|)?",
            "(which|what) country (has|has got) the capital {t}?",
            "(which|what) country is {t} the capital of?",
        ),
        f"{city} is the capital of {country}.",
        ("keywords", [country.removeprefix("the ")]),
        t=_cased(rng, city),
    )


def opposites(voice: Voice, context: Context) -> Exercise:
    """The opposite of a common word."""
    rng = voice.rng
    pair = rng.choice(OPPOSITES)
    word, other = pair if rng.random() < 0.5 else pair[::-1]
    return voice.turn(
        "opposites",
        (
            "(what is|what's|tell me|do you know|name|give me) the opposite of {w}?",
            "(the opposite|opposite) of {w}(?|)",
            "what is the (contrary|reverse) of {w}?",
            'the opposite of "{w}" is',
            "{w} is the opposite of (what|which word)?",
        ),
        f"The opposite of {word} is {other}.",
        ("keywords", [f"is {other}"]),
        w=word,
    )


def yes_or_no(voice: Voice, context: Context) -> Exercise:
    """Membership of a group, capitals and simple facts."""
    rng = voice.rng
    kind = rng.random()
    if kind < 0.45:
        group = rng.choice(tuple(GROUPS))
        true = rng.random() < 0.5
        other = rng.choice([g for g in GROUPS if g != group])
        thing = rng.choice([t for t in GROUPS[group] if t != "orange"])
        asked = group if true else other
        bare = thing[0].isupper() or group in ("colour", "season")
        noun = thing if bare else article(thing)
        ask = ("is {t} {g}?", "(tell me|do you know|can you tell me) (if|whether) {t} is {g}")
        answer = f"{'Yes' if true else 'No'}, {noun} is {article(group)}."
        return voice.turn("yes or no", ask, answer, ("starts", "Yes" if true else "No"), t=noun, g=article(asked))
    if kind < 0.65:
        country, city = rng.choice(tuple(CAPITALS.items()))
        wrong = rng.choice([c for c in CAPITALS if c != country])
        true = rng.random() < 0.5
        return voice.turn(
            "yes or no",
            ("is {t} the capital( city|) of {c}?", "{t} is the capital of {c}, (right|true|is it|isn't it)?"),
            f"{'Yes' if true else 'No'}, {city} is the capital of {country}.",
            ("starts", "Yes" if true else "No"),
            t=city,
            c=country if true else wrong,
        )
    template, answer = rng.choice(SIMPLE_FACTS)
    subject = expand(rng, re.search(r"\(([^)]*)\)", template).group(0)) if "(" in template else ""
    if subject in ("big", "large"):
        subject = ""
    template = re.sub(r"\([^)]*\)", subject, template, count=1)
    answer = answer.format(subject)
    answer = re.sub(r"^(Yes|No), (.)", r"\1, \2", answer)
    return voice.turn(
        "yes or no",
        (
            template + "?",
            "(tell me|hey|please)(,|:) " + template + "?",
            "(true or not|yes or no)(:|,) " + template + "?",
        ),
        answer,
        ("starts", answer.split(",")[0]),
    )


def space(voice: Voice, context: Context) -> Exercise:
    """The planets in order."""
    rng = voice.rng
    at = rng.randrange(8)
    if rng.random() < 0.2:
        return voice.turn(
            "calendar",
            "(list|name|what are|tell me)( all|) the planets",
            ", ".join(PLANETS),
            ("keywords", list(PLANETS)),
        )
    return voice.turn(
        "calendar",
        (TELL + " is the {o} planet( from the sun|)?", "(name|tell me) the {o} planet( from the sun|)"),
        f"The {ORDINALS[at]} planet is {PLANETS[at]}.",
        ("keywords", [PLANETS[at]]),
        o=ORDINALS[at],
    )


MAKERS = {
    "calendar": calendar,
    "colours": colours,
    "animals": animals,
    "capitals": capitals,
    "opposites": opposites,
    "yes or no": yes_or_no,
    "planets": space,
}
