"""Remembering: the user tells a fact, and asks for it later in the same dialogue.

Who uses it: dialogues.py, through the `MAKERS` table and by `tell` and `ask`.
Invariant: an answer holds what the Context holds, and says so where nothing was told.
"""

from people import any_name
from voice import Context, Exercise, Voice, made_up_word
from words import ANIMALS, COLOURS, FOODS, TOWNS, WORDS

FACTS = {
    "name": (
        (
            "my name is {v}(.|)",
            (
                "(i am|i'm|call me|hi, i am|hello, i'm|hello, my name is|hi, my name is|hey, i'm|people call me|please"
                " call me|you can call me) {v}(.|)"
            ),
            "(this is|it's) {v}( speaking|)",
        ),
        "Nice to meet you, {v}!",
        (
            (
                "(what is|what's|whats|do you know|do you remember|tell me|remember|can you tell me|please say|and what"
                " is|so what is) my name(?|)"
            ),
            "who am i?",
            "(what am i called|how am i called|what did i say my name was|what was my name)?",
        ),
        "Your name is {v}.",
        "I do not know your name yet.",
    ),
    "colour": (
        (
            "my (favourite|favorite) (colour|color) is {v}(.|)",
            "(i like the (colour|color)|i love the (colour|color)) {v}(| most)(.|)",
        ),
        "I will remember that: {v}.",
        (
            "(what is|what's|do you know|do you remember|tell me) my (favourite|favorite) (colour|color)(?|)",
            "(which|what) (colour|color) do i (like|love)(| most)?",
        ),
        "Your favourite colour is {v}.",
        "I do not know your favourite colour yet.",
    ),
    "animal": (
        ("my (favourite|favorite) animal is the {v}(.|)", "(the {v} is my (favourite|favorite) animal)(.|)"),
        "I will remember that: {v}.",
        (
            "(what is|what's|do you know|do you remember|tell me) my (favourite|favorite) animal(?|)",
            "(which|what) animal do i (like|love)(| most)?",
        ),
        "Your favourite animal is the {v}.",
        "I do not know your favourite animal yet.",
    ),
    "town": (
        ("i (live in|am from|come from) {v}(.|)", "my (city|town|home) is {v}(.|)"),
        "I will remember that: {v}.",
        (
            "where (do i live|am i from|do i come from|is my home)?",
            "(what|which) (city|town) (do i live in|am i from)?",
            "(do you know|do you remember|tell me) where i live",
        ),
        "You live in {v}.",
        "I do not know where you live yet.",
    ),
    "age": (
        ("i am {v} years old(.|)", "my age is {v}(.|)", "i'm {v}(.| years old|)"),
        "I will remember that: {v}.",
        ("how old am i?", "what is my age?", "(tell me|do you know|do you remember) (my age|how old i am)"),
        "You are {v} years old.",
        "I do not know your age yet.",
    ),
    "food": (
        ("my (favourite|favorite) food is {v}(.|)", "(i like to eat|i love to eat) {v}(.|)"),
        "I will remember that: {v}.",
        (
            "(what is|what's|do you know|tell me) my (favourite|favorite) food(?|)",
            "what (food|) do i (like|love) to eat?",
        ),
        "Your favourite food is {v}.",
        "I do not know your favourite food yet.",
    ),
    "pet": (
        (
            "my (dog|cat|pet) is (called|named) {v}(.|)",
            "i have a (dog|cat|pet) (called|named) {v}(.|)",
            "my (dog|cat|pet)'s name is {v}(.|)",
        ),
        "I will remember that: {v}.",
        (
            "(what is|what's|tell me|do you remember) (the name of my pet|my pet's name)(?|)",
            "(how|what) is my pet called?",
        ),
        "Your pet is called {v}.",
        "I do not know your pet's name yet.",
    ),
    "number": (
        (
            "(remember the number|my lucky number is|remember this number:) {v}(.|)",
            "(my number is|the number is) {v}(.|)",
        ),
        "I will remember that: {v}.",
        (
            "(what is|what's|what was|tell me|do you remember) (my|the) (lucky number|number)(?|)",
            "(which|what) number (did i say|should you remember)?",
        ),
        "The number is {v}.",
        "I do not know your number yet.",
    ),
    "word": (
        ("(remember the word|the secret word is|the password is|the code word is|remember this word:) {v}(.|)",),
        "I will remember that: {v}.",
        (
            "(what is|what's|what was|tell me|do you remember) the (word|secret word|password|code word|secret)(?|)",
            "(which|what) word (did i say|should you remember)?",
        ),
        "The word is {v}.",
        "I do not know the word yet.",
    ),
}


def _value(rng, fact: str):
    if fact in ("name", "pet"):
        return any_name(rng)
    if fact == "word":
        return made_up_word(rng) if rng.random() < 0.5 else rng.choice(WORDS)
    if fact == "number":
        return rng.randint(0, 999)
    if fact == "age":
        return rng.randint(4, 99)
    return rng.choice({"colour": COLOURS, "animal": ANIMALS, "town": TOWNS, "food": FOODS}[fact])


def pick_fact(rng) -> str:
    """A fact to tell; the name half the time."""
    return "name" if rng.random() < 0.5 else rng.choice(tuple(FACTS))


def tell(voice: Voice, context: Context, fact: str) -> Exercise:
    """The user tells a fact (a second time it replaces the first)."""
    told, answer, *_ = FACTS[fact]
    value = _value(voice.rng, fact)
    context.facts[fact] = value
    exercise = voice.turn("memory (telling)", told, answer, ("keywords", [str(value)]), v=value)
    context.told[fact] = exercise.key
    return exercise


def ask(voice: Voice, context: Context, fact: str) -> Exercise:
    """The user asks for a fact that was told, or was not."""
    _, _, asks, answer, unknown = FACTS[fact]
    if fact in context.facts:
        value = context.facts[fact]
        return voice.turn("memory", asks, answer, ("keywords", [str(value)]), context_key=context.told[fact], v=value)
    return voice.turn("unknown", asks, unknown, ("any", ["not know", "don't know"]), context_key="never told")


def memory(voice: Voice, context: Context) -> Exercise:
    """Tells or asks, as the dialogue stands."""
    known = list(context.facts)
    if known and voice.rng.random() < 0.68:
        return ask(voice, context, voice.rng.choice(known))
    if voice.rng.random() < 0.12:
        return ask(voice, context, pick_fact(voice.rng))
    return tell(voice, context, pick_fact(voice.rng))


MAKERS = {"memory": memory}
