"""Skills with an exact answer: sums, counting, repeating, lists, spelling, JSON.

Who uses it: dialogues.py, through the `MAKERS` table.
Invariant: every maker takes (voice, context) and returns one Exercise whose check decides the answer alone.
"""

import json

from voice import Context, Exercise, Voice, article, made_up_word
from words import (
    ANIMALS,
    CAPITALS,
    COLOURS,
    COMMON_WORDS,
    DAYS,
    FOODS,
    FRUITS,
    JOBS,
    MONTHS,
    NAMES,
    NUMBER_WORDS,
    SHORT_WORDS,
    THINGS,
    TOWNS,
    VEGETABLES,
    WORDS,
)

ASK_SUM = (
    "(what is|what's|whats|calculate|compute|work out|tell me|) {q}(?|?| =|)",
    "(how much is|how many is) {q}?",
    "what (do you get|is the result|comes out) (for|of) {q}?",
    "{q}=",
    "{q} = ?",
    "(can you|could you) (add up|calculate|solve|work out) {q}(| for me)?",
    "(solve|answer) this: {q}",
    "(i need|i want) to know {q}",
    "(quick|maths|math) question: {q}?",
    "{q}",
    "what does {q} (equal|make|come to)?",
)
SIGNS = {
    "+": ("+", "+", "+", "plus", "plus", "and"),
    "-": ("-", "-", "-", "minus", "minus"),
    "*": ("*", "*", "times", "times", "x", "multiplied by"),
    "/": ("/", "/", "divided by", "divided by"),
}


def _number(rng, value: int) -> str:
    return NUMBER_WORDS[value] if 0 <= value <= 20 and rng.random() < 0.06 else str(value)


def _operands(rng, sign: str) -> tuple[int, int, int]:
    if sign == "/":
        b, result = rng.randint(1, 12), rng.randint(0, 12)
        return b * result, b, result
    if sign == "*":
        top = rng.choices((10, 12, 20), (4, 4, 2))[0]
        a, b = rng.randint(0, top), rng.randint(0, top)
        return a, b, a * b
    top = rng.choices((10, 20, 30, 99), (3, 5, 6, 1))[0]
    a, b = rng.randint(0, top), rng.randint(0, top)
    if sign == "-" and a < b and rng.random() < 0.8:
        a, b = b, a
    return a, b, a + b if sign == "+" else a - b


def _in_range(a: int, b: int, sign: str) -> bool:
    return max(a, b) <= {"+": 30, "-": 30, "*": 20, "/": 144}[sign]


def arithmetic(voice: Voice, context: Context, sign: str) -> Exercise:
    """One sum; the answer repeats it, `7 + 8 = 15`, so that the digits stand next to each other."""
    rng = voice.rng
    a, b, result = _operands(rng, sign)
    category = {"+": "addition", "-": "subtraction", "*": "multiplication", "/": "division"}[sign]
    if not _in_range(a, b, sign):
        category += " (stretch)"
    check = ("number", result)
    full = f"{a} {sign} {b} = {result}"
    if rng.random() < 0.16:
        return _word_problem(voice, sign, a, b, result, category)
    glyph = rng.choice(SIGNS[sign])
    tight = len(glyph) == 1 and rng.random() < 0.3
    q = f"{a}{glyph}{b}" if tight else f"{_number(rng, a)} {glyph} {_number(rng, b)}"
    if rng.random() < 0.1:
        ask = ("{q}? (just|only) the (number|result)(|, please)", "{q}. answer with (just|only) (the|a) number")
        return voice.turn(category, ask, str(result), check, q=q)
    return voice.turn(category, ASK_SUM, full, check, q=q)


def _word_problem(voice: Voice, sign: str, a: int, b: int, result: int, category: str) -> Exercise:
    rng = voice.rng
    asks = {
        "+": (
            "{n} has {a} {t} and (gets|finds|buys) {b} more. how many {t} (does {n} have|are there)(| now)?",
            "i have {a} {t} and (get|buy|find) {b} more. how many (| {t}) do i have(| now)?",
            "(what is the sum of|add|add together) {a} and {b}",
        ),
        "-": (
            "{n} has {a} {t} and (loses|sells|gives away) {b}. how many {t} (are left|does {n} have left)?",
            "i have {a} {t} and (eat|lose|sell) {b}. how many (| {t}) are left?",
            "(subtract|take) {b} from {a}",
            "what is the difference (of|between) {a} and {b}?",
        ),
        "*": (
            "there are {a} boxes with {b} {t} each. how many {t} are there(| in all)?",
            "(multiply {a} by|multiply {a} and|what is the product of {a} and) {b}",
        ),
        "/": (
            "(divide|split) {a} by {b}",
            "share {a} {t} among {b} (friends|children). how many (does each|for each)( get|)?",
        ),
    }[sign]
    return voice.turn(
        category,
        asks,
        f"{a} {sign} {b} = {result}",
        ("number", result),
        a=a,
        b=b,
        n=rng.choice(NAMES),
        t=rng.choice(THINGS),
    )


def compare(voice: Voice, context: Context) -> Exercise:
    """Two numbers: which is larger or smaller, and even or odd."""
    rng = voice.rng
    if rng.random() < 0.3:
        n, word = rng.randint(0, 60), rng.choice(("even", "odd"))
        truth = (n % 2 == 0) == (word == "even")
        other = "even" if n % 2 == 0 else "odd"
        return voice.turn(
            "yes or no",
            ("is {n} (an|) {w}( number|)?", "is the number {n} {w}?", "(tell me|do you know) (if|whether) {n} is {w}"),
            f"{'Yes' if truth else 'No'}, {n} is {other}.",
            ("starts", "Yes" if truth else "No"),
            n=n,
            w=word,
        )
    a, b = rng.sample(range(0, rng.choice((10, 30, 100))), 2)
    if rng.random() < 0.5:
        larger = rng.random() < 0.5
        ask = "which (number |)is (larger|bigger|greater)" if larger else "which (number |)is (smaller|less)"
        best = max(a, b) if larger else min(a, b)
        return voice.turn(
            "compare",
            ask + "(,|:) {a} or {b}?",
            f"{best} is {'larger' if larger else 'smaller'}.",
            ("number", best),
            a=a,
            b=b,
        )
    larger = rng.random() < 0.5
    truth = (a > b) == larger
    word = "larger" if a > b else "smaller"
    return voice.turn(
        "yes or no",
        "is {a} (larger|bigger|greater|more) than {b}?" if larger else "is {a} (smaller|less) than {b}?",
        f"{'Yes' if truth else 'No'}, {a} is {word} than {b}.",
        ("starts", "Yes" if truth else "No"),
        a=a,
        b=b,
    )


def counting(voice: Voice, context: Context) -> Exercise:
    """Counting up, down and in steps."""
    rng = voice.rng
    kind = rng.random()
    if kind < 0.25:
        a, b, step = 1, rng.choice((3, 4, 5, 5, 6, 7, 8, 9, 10, 10, 12, 15, 20, rng.randint(2, 50))), 1
        ask = (
            "(count|please count|can you count|count up)( for me|) to {b}",
            "(list|write|say) the numbers (up to|from 1 to|1 to) {b}",
            "count from (1|one) to {b}",
        )
    elif kind < 0.65:
        a = rng.randint(0, rng.choice((10, 20, 60, 90)))
        b, step = a + rng.randint(2, rng.choice((6, 10, 14))), 1
        ask = (
            "(count|please count|can you count|count up)( for me|) from {a} to {b}",
            "(list|write|say|give me) the numbers (from|between) {a} (to|and) {b}",
            "{a} to {b}, (count|counting)(| please)",
            "(start|begin) at {a} and count to {b}",
        )
    elif kind < 0.87:
        b = rng.choice((0, 1, 1, 1, rng.randint(0, 20)))
        a, step = b + rng.randint(2, rng.choice((6, 10))), -1
        ask = ("count (down|backwards)( for me|) from {a} to {b}", "(count|please count) from {a} (down|back) to {b}")
    else:
        step = rng.choice((2, 2, 5, 10))
        a = rng.choice((0, step, step, 2 if step == 2 else step))
        b = a + step * rng.randint(2, 8)
        ask = "count (by|in) {s}(|s) from {a} to {b}"
    numbers = list(range(a, b + (1 if step > 0 else -1), step))
    return voice.turn("counting", ask, ", ".join(map(str, numbers)), ("numbers", numbers), a=a, b=b, s=abs(step))


def _anything(rng) -> str:
    return made_up_word(rng) if rng.random() < 0.4 else rng.choice(WORDS if rng.random() < 0.6 else COMMON_WORDS)


def repeating(voice: Voice, context: Context) -> Exercise:
    """Copies a word some times, or a sentence once; half of the words are made up."""
    rng = voice.rng
    if rng.random() < 0.5:
        word, n = _anything(rng), rng.randint(2, rng.choice((3, 4, 5, 6)))
        how = NUMBER_WORDS[n] if rng.random() < 0.6 else str(n)
        times = "twice" if n == 2 and rng.random() < 0.5 else how + " times"
        comma = rng.random() < 0.2
        ask = (
            "(say|write|repeat|print|please say|can you say) (the word |){w} {t}",
            '(say|write|repeat) "{w}" {t}',
            "{t}(:|,) {w}",
            "(i want you to|please) (say|repeat|write) {w} {t}",
        )
        ask = rng.choice(ask) + (rng.choice((", separated by commas", ", with commas")) if comma else "")
        answer = (", " if comma else " ").join([word] * n)
        return voice.turn("repeating", ask, answer, ("exact", answer), w=word, t=times, raw=True, verbatim=True)
    words = [_anything(rng) for _ in range(rng.choice((1, 1, 2, 3, 4, 5, 6, 7)))]
    if rng.random() < 0.3 and len(words) > 2:
        words = rng.choice(
            (["the", words[0], "is", *words[1:]], ["i", "like", *words], ["this", "is", article(words[0]), *words[1:]])
        )
    if rng.random() < 0.2:
        words.insert(rng.randrange(len(words) + 1), str(rng.randint(0, 99)))
    text = " ".join(words)
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:] + rng.choice(("", ".", "!", "?"))
    ask = (
        "(repeat|say) after me: {x}",
        "(repeat|echo|copy|say|say this|repeat this|write|write this): {x}",
        'say "{x}"',
        "(say|echo) {x}",
        "just say {x}",
        "(reply|answer|respond)( only|) with( just| exactly| only|)( the word| the words| the text|)(:|) {x}",
        '(repeat|write|echo|copy)( the sentence| the words| the text| this|) "{x}"',
        "(please repeat|can you repeat)( this|): {x}",
    )
    return voice.turn("repeating", ask, text, ("exact", text), x=text, raw=True, verbatim=True)


def _plural(group: str) -> str:
    return group + "s" if not group.endswith("y") or group == "day" else group[:-1] + "ies"


def _spelled(rng, group: str) -> str:
    return {"colour": rng.choice(("color", "colour"))}.get(group, group)


POOLS = {
    "animal": ANIMALS,
    "colour": COLOURS,
    "fruit": FRUITS,
    "vegetable": VEGETABLES,
    "day": DAYS,
    "month": MONTHS,
    "country": tuple(c for c in CAPITALS if not c.startswith("the ")),
    "city": TOWNS,
    "food": FOODS,
}


def _choose(rng, group: str, n: int) -> list[str]:
    """n things in the pool's own order: days and months from the first, the rest from one of the first eight places.

    A fixed order, begun anywhere, is what a small model can keep without saying a thing twice.
    """
    pool = POOLS[group]
    at = 0 if group in ("day", "month") else rng.randrange(8)
    return list((pool + pool)[at : at + n])


def lists(voice: Voice, context: Context) -> Exercise:
    """Names n things of a group, in a line or as a list."""
    rng = voice.rng
    group, n = rng.choice(tuple(POOLS)), rng.choice((1, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6))
    items = _choose(rng, group, n)
    word = _spelled(rng, group)
    noun = (
        (article(word) if rng.random() < 0.6 else "one " + word)
        if n == 1
        else f"{NUMBER_WORDS[n] if rng.random() < 0.5 else n} {_plural(word)}"
    )
    verb = "(name|list|give me|tell me|write|write down|can you name|i need|name me|please list)"
    style = rng.random() if n > 1 else 1
    if style < 0.15:
        ask, answer = verb + " {n} (as a|in a) numbered list", "\n".join(f"{i}. {x}" for i, x in enumerate(items, 1))
    elif style < 0.3:
        ask, answer = verb + " {n} (as|in|with) (bullet points|a bullet list|bullets)", "\n".join(
            f"- {x}" for x in items
        )
    else:
        ask, answer = verb + " {n}(| please|, please)", ", ".join(items)
    return voice.turn("lists", ask, answer, ("items", [group, n]), n=noun, raw=True)


def spelling(voice: Voice, context: Context) -> Exercise:
    """Letters of short common words."""
    rng = voice.rng
    word = rng.choice(SHORT_WORDS)
    kind = rng.random()
    if kind < 0.6:
        return voice.turn(
            "spelling",
            (
                "(spell|please spell|can you spell|spell out)( the word|) {w}",
                "how (do you|do i|to) spell {w}?",
                'spell "{w}"',
            ),
            "-".join(word),
            ("exact", "-".join(word)),
            w=word,
        )
    if kind < 0.75:
        return voice.turn(
            "spelling",
            ("how many letters (does {w} have|are in( the word|) {w})?",),
            f"{word} has {len(word)} letters.",
            ("number", len(word)),
            w=word,
        )
    first = rng.random() < 0.6
    letter = word[0] if first else word[-1]
    which = "first" if first else "last"
    return voice.turn(
        "spelling",
        (
            f"(what is |tell me |)the {which} letter (of|in)( the word|) {{w}}?",
            f"(which|what) letter does {{w}} {'(start|begin)' if first else 'end'} with?",
        ),
        f"The {which} letter of {word} is {letter}.",
        ("keywords", [f"is {letter}"]),
        w=word,
    )


def _fields(rng) -> dict:
    name = rng.choice(NAMES) if rng.random() < 0.6 else made_up_word(rng).capitalize()
    pool = {
        "name": name,
        "age": rng.randint(1, 99),
        "city": rng.choice(TOWNS),
        rng.choice(("colour", "color")): rng.choice(COLOURS),
        "animal": rng.choice(ANIMALS),
        "job": rng.choice(JOBS[:40]),
        "food": rng.choice(FOODS),
        "count": rng.randint(0, 50),
        "word": _anything(rng),
        "day": rng.choice(DAYS),
    }
    if rng.random() < 0.65:
        keys = ["name", "age"] if rng.random() < 0.7 else ["name", rng.choice(list(pool)[1:])]
        if rng.random() < 0.25:
            keys.append(rng.choice([k for k in pool if k not in keys]))
    else:
        keys = rng.sample(list(pool), rng.choice((1, 2, 2, 3)))
    return {k: pool[k] for k in keys}


def json_answers(voice: Voice, context: Context) -> Exercise:
    """An object from what the user says, a list, or another question's answer as JSON."""
    rng = voice.rng
    kind = rng.random()
    if kind < 0.6:
        value = _fields(rng)
        answer = json.dumps(value)
        if rng.random() < 0.3 and set(value) == {"name", "age"}:
            ask = (
                "{n} is {a} years old. (answer|reply|write it|give me that) (in|as) json( with name and age|)",
                "(make|write|give me)( a| some|) json (of|for) this: {n} is {a} years old",
                "turn this into json: {n} is {a}( years old|)",
                "json for {n}, (age |){a}( years old|)",
            )
            return voice.turn("json", ask, answer, ("json", value), n=value["name"], a=value["age"], raw=True)
        link = rng.choice((" ", " ", " ", " = ", ": "))
        parts = [f"{k}{link}{v}" for k, v in value.items()]
        listed = (", ".join(parts[:-1]) + rng.choice((" and ", ", ")) + parts[-1]) if len(parts) > 1 else parts[0]
        ask = (
            "(give me|write|make|create|return|i need|show me)( a| some| an|) json( object|) with {x}",
            "(answer|reply)( only|) (in|with) json: {x}",
            "{x} (as|in|to) json(| please)",
            "(write|put) {x} (as|in|into) json",
            "(convert|turn) (this |)(in|)to json: {x}",
            "json with {x}",
        )
        return voice.turn("json", ask, answer, ("json", value), x=listed, raw=True)
    if kind < 0.8:
        group, n = rng.choice(("colour", "animal", "fruit", "day", "month", "city")), rng.choice((2, 3, 3, 4, 5))
        items, word = _choose(rng, group, n), _plural(_spelled(rng, group))
        noun = f"{NUMBER_WORDS[n] if rng.random() < 0.5 else n} {word}"
        if rng.random() < 0.5:
            ask = (
                "(list|name|give me|write) {n} (as|in)( a|) json( list| array)",
                "(give me|write|return) a json (list|array) (of|with) {n}",
            )
            return voice.turn("json", ask, json.dumps(items), ("json items", [group, n, None]), n=noun, raw=True)
        ask = '(list|name|give me|write) {n} (as|in) a json object with (the|a) key "{k}"'
        return voice.turn(
            "json", ask, json.dumps({word: items}), ("json items", [group, n, word]), n=noun, k=word, raw=True
        )
    if rng.random() < 0.6:
        sign = rng.choice("+-*")
        a, b = rng.randint(0, 12), rng.randint(0, 12)
        if sign == "-" and a < b:
            a, b = b, a
        value = {"answer": a + b if sign == "+" else a - b if sign == "-" else a * b}
        question = f"what is {a} {rng.choice(SIGNS[sign][:4])} {b}"
    else:
        country = rng.choice(tuple(CAPITALS))
        value, question = {"answer": CAPITALS[country]}, "what is the capital of " + country
    ask = ("(answer|reply)( only|) (in|with) json: {q}?", "{q}? (answer|reply|respond) (in|as|with) json")
    return voice.turn("json", ask, json.dumps(value), ("json", value), q=question, raw=True)


MAKERS = {
    "addition": lambda v, c: arithmetic(v, c, "+"),
    "subtraction": lambda v, c: arithmetic(v, c, "-"),
    "multiplication": lambda v, c: arithmetic(v, c, "*"),
    "division": lambda v, c: arithmetic(v, c, "/"),
    "compare": compare,
    "counting": counting,
    "repeating": repeating,
    "lists": lists,
    "spelling": spelling,
    "json": json_answers,
}
