"""Whole dialogues: the mixture of topics, their order, and the split between training and evaluation.

Who uses it: data.py (training) and evaluate.py (the held-out prompts).
Invariant: `training_dialogue` never holds a turn whose key is held out; `held_out_prompts` holds only such final turns.
"""

import random

import lampstand
import memory
import people
import skills
import world
from voice import Context, Exercise, Voice, is_held_out

MAKERS = {**people.MAKERS, **memory.MAKERS, **skills.MAKERS, **world.MAKERS, **lampstand.MAKERS}

# How often each topic comes up in training. Sums and copying need the most practice.
MIXTURE = {
    "addition": 11,
    "subtraction": 11,
    "multiplication": 9,
    "division": 5.5,
    "compare": 11,
    "counting": 6,
    "repeating": 15,
    "lists": 7.5,
    "spelling": 6,
    "json": 8.5,
    "greeting": 3,
    "identity": 6,
    "persona": 0,
    "thanks": 1.5,
    "memory": 11,
    "unknown": 4,
    "small talk": 1.4,
    "calendar": 6,
    "colours": 1.5,
    "animals": 2.5,
    "capitals": 9,
    "opposites": 3,
    "yes or no": 11,
    "planets": 0.5,
    "about": 6,
    "flags": 6,
    "endpoints": 2.5,
}
PERSONA_WEIGHT = 30  # the weight of "persona" where the system prompt gives one; then "identity" has none

# How many of 500 held-out prompts each topic gets.
EVALUATION = {
    "greeting": 10,
    "identity": 20,
    "persona": 35,
    "about": 20,
    "flags": 40,
    "endpoints": 25,
    "addition": 30,
    "subtraction": 30,
    "multiplication": 30,
    "division": 15,
    "compare": 10,
    "calendar": 25,
    "colours": 10,
    "animals": 10,
    "capitals": 20,
    "opposites": 10,
    "yes or no": 15,
    "counting": 20,
    "repeating": 25,
    "spelling": 10,
    "lists": 15,
    "json": 25,
    "memory": 30,
    "unknown": 15,
    "thanks": 5,
}

# The plainest wordings are always trained: a user tries these first.
ALWAYS_TRAINED = {
    "hello",
    "hi",
    "hey",
    "hello!",
    "hi!",
    "who are you?",
    "what is your name?",
    "what's your name?",
    "how are you?",
    "what can you do?",
    "what is lampstand?",
    "thanks",
    "thank you",
    "bye",
    "goodbye",
    "what is my name?",
    "count to 10",
    "how do i listen on the network?",
    "what is the capital of france?",
    "what is 2 + 2?",
    "2+2",
    "2+2=",
    "what is 2+2?",
    "tell me a joke",
    "ping",
    "name three colours",
    "name three animals",
    "what is the default port?",
}


def _allowed(exercise: Exercise) -> bool:
    return exercise.key.rsplit("|", 1)[-1].lower() in ALWAYS_TRAINED or not is_held_out(exercise.key)


def _make(voice: Voice, context: Context, topic: str, wanted) -> Exercise | None:
    """An exercise of the topic for which `wanted` holds; the context is as it was where none is found."""
    for _ in range(20):
        facts, told = dict(context.facts), dict(context.told)
        exercise = MAKERS[topic](voice, context)
        if wanted(exercise):
            return exercise
        context.facts, context.told = facts, told
    return None


def new_context(voice: Voice, kind: str | None = None) -> Context:
    """A fresh dialogue: no system prompt, a general one, or a persona."""
    context = Context()
    kind = kind or voice.rng.choices(("none", "general", "persona"), (58, 14, 28))[0]
    if kind == "general":
        context.system = voice.rng.choice(people.GENERIC_SYSTEMS)
    elif kind == "persona":
        people.system_prompt(voice, context)
    return context


def _topics(context: Context, last: str | None) -> tuple[list[str], list[float]]:
    weights = dict(MIXTURE)
    if context.persona:
        weights |= {"persona": PERSONA_WEIGHT, "identity": 0}
    if context.facts:
        weights["memory"] *= 2.2
    if last == "thanks":
        weights["thanks"] = 0
    return list(weights), list(weights.values())


def training_dialogue(rng: random.Random, turns: int) -> tuple[str | None, list[Exercise]]:
    """The system prompt and that many turns, none of them held out."""
    voice = Voice(rng)
    context = new_context(voice)
    exercises: list[Exercise] = []
    topic = None
    while len(exercises) < turns:
        names, weights = _topics(context, topic)
        topic = rng.choices(names, weights)[0]
        if topic == "greeting" and exercises and rng.random() < 0.7:
            continue
        exercise = _make(voice, context, topic, _allowed)
        if exercise:
            exercises.append(exercise)
    return context.system, exercises


def _held(exercise: Exercise) -> bool:
    return not _allowed(exercise) and "(" not in exercise.category


def held_out_prompts(seed: int = 7) -> list[dict]:
    """The evaluation: each a list of chat messages ending with the user's, and how to judge the answer.

    A third of the prompts come after one to three other turns.
    """
    rng = random.Random(seed)
    voice = Voice(rng)
    prompts, seen = [], set()
    for topic, count in EVALUATION.items():
        made = tries = 0
        while made < count and tries < 5000:
            tries += 1
            context = new_context(
                voice,
                {"persona": "persona", "identity": rng.choice(("none", "general"))}.get(
                    topic, "none" if rng.random() < 0.8 else None
                ),
            )
            before = []
            if topic == "memory":
                before.append(memory.tell(voice, context, memory.pick_fact(rng)))
            if topic == "memory" or rng.random() < 0.33:
                for _ in range(rng.randint(0 if topic == "memory" else 1, 3)):
                    other = rng.choices(
                        list(MIXTURE), [w if t not in ("memory", "identity") else 0 for t, w in MIXTURE.items()]
                    )[0]
                    exercise = _make(voice, context, other, _allowed)
                    before += [exercise] if exercise else []
            if topic == "memory":
                last = memory.ask(voice, context, next(iter(context.facts)))
                last = last if _held(last) else None
            else:
                last = _make(voice, context, topic, lambda e: _held(e) and e.category == topic)
            if last is None or last.key in seen:
                continue
            seen.add(last.key)
            made += 1
            messages = [{"role": "system", "content": context.system}] if context.system else []
            for e in before:
                messages += [{"role": "user", "content": e.user}, {"role": "assistant", "content": e.answer}]
            prompts.append(
                {
                    "category": topic,
                    "messages": [*messages, {"role": "user", "content": last.user}],
                    "check": last.check,
                    "answer": last.answer,
                }
            )
    return prompts
