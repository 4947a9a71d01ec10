"""Sentence frames: each says one meaning in many wordings.

Who uses it: pairs.py draws a meaning (a frame and the concepts in its places) and asks for two wordings of it.
Invariant: what a wording says hangs on the meaning alone; two meanings of one frame differ in a concept.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "chat"))

import lexicon as lex  # noqa: E402
from voice import article, expand, fill, made_up_word  # noqa: E402
from words import (
    BABIES,
    CAPITALS,
    COLOURS,
    HOBBIES,
    NAMES,
    OPPOSITES,
    SOUNDS,
    THING_COLOURS,
    TOWNS,
    WORDS,
)  # noqa: E402

# Places in a frame and where their concepts come from. A trailing digit tells two places of one kind apart.
KINDS = {
    "person": lex.PEOPLE,
    "thing": lex.THINGS,
    "animal": lex.ANIMALS,
    "food": lex.FOODS,
    "place": lex.PLACES,
    "quality": lex.QUALITIES,
    "topic": lex.TOPICS,
    "ill": lex.ILLS,
    "trouble": lex.TROUBLES,
    "task": lex.TASKS,
    "weather": lex.WEATHER,
    "time": lex.TIMES,
    "action": lex.ACTIONS,
    "name": tuple((name,) for name in NAMES),
    "town": tuple((town,) for town in TOWNS),
    "colour": tuple((colour,) for colour in COLOURS),
    "hobby": tuple((hobby,) for hobby in HOBBIES),
    "word": tuple((word,) for word in WORDS),
    "number": tuple((str(number),) for number in range(2, 100)),
    "country": tuple((country, city) for country, city in CAPITALS.items()),
    "opposite": OPPOSITES,
    "sound": tuple(SOUNDS.items()),
    "baby": tuple(BABIES.items()),
    "coloured": tuple(THING_COLOURS.items()),
}
# Kinds whose second word belongs to the first instead of meaning the same: `{country}` and `{country'}`.
FACTS = ("country", "opposite", "sound", "baby", "coloured")

# `{action}` `{acts}` `{acted}` `{done}` `{acting}` are its forms; `{a:thing}` has an article.
FRAMES = (
    # Who does what.
    (
        "the {person} {acted} the {thing}",
        "the {thing} was {done} by the {person}",
        "it was the {person} who {acted} the {thing}",
        "{a:person} {acted} the {thing}",
    ),
    (
        "the {person} {acts} the {thing} {time}",
        "{time} the {person} {acts} the {thing}",
        "the {thing} is {done} by the {person} {time}",
    ),
    (
        "the {person} wants to {action} the {thing}",
        "the {person} would like to {action} the {thing}",
        "the {person} plans on {acting} the {thing}",
        "{acting} the {thing} is what the {person} has in mind",
    ),
    (
        "the {person} did not {action} the {thing}",
        "the {thing} was not {done} by the {person}",
        "the {person} never {acted} the {thing}",
    ),
    (
        "{name} {acted} the {thing} at the {place}",
        "at the {place}, {name} {acted} the {thing}",
        "the {thing} was {done} by {name} at the {place}",
    ),
    (
        "where can i {action} {a:thing}?",
        "(which place|what place) lets me {action} {a:thing}?",
        "i am looking for a place to {action} {a:thing}",
        "a location for {acting} {a:thing}",
    ),
    ("who {acted} the {thing}?", "by whom was the {thing} {done}?", "tell me which person {acted} the {thing}"),
    (
        "why did the {person} {action} the {thing}?",
        "what made the {person} {action} the {thing}?",
        "the reason for the {person} {acting} the {thing}",
        "for what reason was the {thing} {done} by the {person}?",
    ),
    (
        "how (do i|can i|does one) {action} {a:thing}?",
        "what is the best way to {action} {a:thing}?",
        "instructions for {acting} {a:thing}",
        "guide to {acting} {a:thing}",
        "steps to {action} {a:thing}",
    ),
    # Being and having.
    (
        "the {person} is {quality}",
        "(a very|such a) {quality} {person}",
        "that {person} seems {quality}",
        "everyone finds the {person} {quality}",
    ),
    (
        "the {thing} is {quality}",
        "what a {quality} {thing}",
        "this {thing} looks {quality}",
        "it is {a:quality} {thing}",
    ),
    (
        "the {person} has {a:quality} {thing}",
        "the {quality} {thing} belongs to the {person}",
        "{a:quality} {thing} is owned by the {person}",
        "the {person}'s {thing} is {quality}",
    ),
    ("the {animal} is {quality}", "{a:quality} {animal}", "this {animal} looks {quality}", "what a {quality} {animal}"),
    (
        "{a:animal} (sits|is|waits) in the {place}",
        "there is {a:animal} at the {place}",
        "in the {place} one sees {a:animal}",
        "the {place} has {a:animal} in it",
    ),
    (
        "the {thing} is in the {place}",
        "you find the {thing} at the {place}",
        "the {place} is where the {thing} is",
        "the {thing} can be found in the {place}",
    ),
    (
        "the {person} is at the {place}",
        "you will find the {person} at the {place}",
        "the {place} is where the {person} is now",
        "at the {place} is the {person}",
    ),
    (
        "the {person} and the {animal} are in the {place}",
        "in the {place} there are the {person} and the {animal}",
        "both the {animal} and the {person} are at the {place}",
    ),
    ("my {animal} is afraid of the {person}", "the {person} scares my {animal}", "my {animal} fears the {person}"),
    (
        "the {colour} {thing} costs {number} (euros|dollars)",
        "{number} (euros|dollars) is the price of the {colour} {thing}",
        "you pay {number} (euros|dollars) for the {colour} {thing}",
        "the {thing} in {colour} is sold for {number} (euros|dollars)",
    ),
    (
        "how much (is|does) {a:thing}( cost|)?",
        "what is the price of {a:thing}?",
        "the cost of {a:thing}",
        "what do i pay for {a:thing}?",
    ),
    (
        "the {person} is {number} years old",
        "the {person}'s age is {number}",
        "{number} is how old the {person} is",
        "{a:person} of {number} years",
    ),
    # Food.
    (
        "the {person} (eats|had|is having) {food}",
        "{food} is what the {person} eats",
        "the {person} enjoys {food} for a meal",
        "{food} was served to the {person}",
    ),
    (
        "how (do i|to|can i) make {food}?",
        "recipe for {food}",
        "what do i need to prepare {food}?",
        "preparing {food} step by step",
    ),
    (
        "i (love|like) {food} with {food2}",
        "{food} together with {food2} is my favourite",
        "i am fond of {food} and {food2}",
        "{food} goes well with {food2} for me",
    ),
    ("i do not eat {food}", "{food} is something i never eat", "i avoid {food}", "no {food} for me, please"),
    ("is {food} (healthy|good for you)?", "does eating {food} do me good?", "health effects of {food}"),
    # People with names, towns and hobbies.
    (
        "{name} lives in {town}",
        "{name}'s home is in {town}",
        "the home of {name} is the city of {town}",
        "{town} is where {name} lives",
        "{name} is a resident of {town}",
    ),
    (
        "{name} works as {a:person} in {town}",
        "in {town}, {name} has a job as {a:person}",
        "{name} is {a:person} by profession and works in {town}",
        "{a:person} in {town} is called {name}",
    ),
    (
        "{name} (likes|loves) {hobby}",
        "{hobby} is {name}'s favourite pastime",
        "{name} is a fan of {hobby}",
        "{name} is keen on {hobby}",
    ),
    (
        "{name} met {name2} (in|at) the {place}",
        "at the {place}, {name} came across {name2}",
        "the {place} was where {name} ran into {name2}",
    ),
    (
        "{name} travels (to|towards) {town} {time}",
        "{time} {name} goes to {town}",
        "a trip to {town} {time} is made by {name}",
        "{time} there is a journey of {name} to {town}",
    ),
    (
        "{name} gave {name2} {a:thing}",
        "{name2} got {a:thing} from {name}",
        "{a:thing} was given to {name2} by {name}",
        "{name2} received {a:thing} from {name}",
    ),
    (
        "{name} is taller than {name2}",
        "{name2} is shorter than {name}",
        "of the two, {name} and not {name2} is the taller one",
    ),
    ("my name is {name}", "i am called {name}", "people call me {name}", "call me {name}"),
    ("the weather in {town} {time}: {weather}", "{weather} in {town} {time}", "{time} in {town} {weather}"),
    ("{weather} {time}", "{time}, {weather}", "forecast {time}: {weather}"),
    (
        "how far is it from {town} to {town2}?",
        "what is the distance between {town} and {town2}?",
        "kilometres from {town} to {town2}",
        "the length of the way from {town} to {town2}",
    ),
    (
        "train from {town} to {town2} {time}",
        "i (need|want) to go by rail from {town} to {town2} {time}",
        "{time} a railway connection between {town} and {town2}",
    ),
    (
        "hotels in {town}",
        "where can i stay overnight in {town}?",
        "accommodation in the city of {town}",
        "i need a room in {town}",
    ),
    # Knowledge.
    (
        "what is the capital of {country}?",
        "{country'} is the capital of {country}",
        "the capital city of {country}",
        "which town is the seat of government of {country}?",
        "the government of {country} sits in {country'}",
    ),
    (
        "what is the opposite of {opposite}?",
        "{opposite'} is the opposite of {opposite}",
        "the contrary of {opposite} is {opposite'}",
        "a word that means the reverse of {opposite}",
    ),
    (
        "what sound does {a:sound} make?",
        "the {sound} says {sound'}",
        "{sound'} is the noise of {a:sound}",
        "how does {a:sound} sound?",
    ),
    (
        "what is a young {baby} called?",
        "a baby {baby} is called {a:baby'}",
        "the name of the young of {a:baby}",
        "{a:baby'} is a little {baby}",
    ),
    (
        "which colour has {coloured}?",
        "{coloured} is {coloured'}",
        "the colour of {coloured} is {coloured'}",
        "what does {coloured} look like in colour?",
    ),
    (
        "a book (about|on) {topic}",
        "literature that deals with {topic}",
        "something to read about {topic}",
        "a volume whose subject is {topic}",
    ),
    (
        "tell me (about|something about) {topic}",
        "i want to know more about {topic}",
        "explain {topic} to me",
        "an introduction to {topic}",
        "what should i know about {topic}?",
    ),
    (
        "the {person} (studies|is interested in) {topic}",
        "{topic} is what the {person} is interested in",
        "the {person} has an interest in {topic}",
        "the interest of the {person} is {topic}",
    ),
    (
        "the {person} gave a talk (about|on) {topic}",
        "a lecture on {topic} by the {person}",
        "{topic} was the subject of the {person}'s speech",
    ),
    (
        "why is {topic} important?",
        "the importance of {topic}",
        "what makes {topic} matter so much?",
        "reasons to care about {topic}",
    ),
    ("{topic} is (boring|not interesting)", "i find {topic} dull", "i am bored by {topic}"),
    # Help.
    (
        "how (do i|can i|to) {task}?",
        "what is the way to {task}?",
        "please help me to {task}",
        "i want to {task}, what must i do?",
        "instructions: {task}",
        "a guide for those who want to {task}",
    ),
    ("i cannot {task}", "i am unable to {task}", "i fail to {task}", "it does not work when i try to {task}"),
    ("i managed to {task} {time}", "{time} i succeeded: {task}", "{time} i was able to {task}"),
    (
        "{trouble}",
        "{trouble}",
        "help, {trouble}",
        "{trouble}, what can i do?",
        "problem: {trouble}",
        "hello, {trouble}, can you help?",
    ),
    ("{trouble} since {time}", "{time} it began: {trouble}", "{trouble}, and that {time}"),
    (
        "what helps against {a:ill}?",
        "how do i treat {a:ill}?",
        "remedies for {a:ill}",
        "i suffer from {a:ill}, what should i do?",
        "cure for {a:ill}",
    ),
    ("the {person} has {a:ill}", "{a:ill} troubles the {person}", "the {person} suffers from {a:ill}"),
    (
        "where is the (nearest|closest) {place}?",
        "how do i get to the {place}?",
        "i am looking for {a:place} near here",
        "which way to the {place}?",
        "{a:place} in this area",
    ),
    ("the {place} is closed {time}", "{time} the {place} is not open", "you cannot enter the {place} {time}"),
    ("the {place} is {quality}", "{a:quality} {place}", "this {place} seems {quality}"),
    ("meet me at the {place} {time}", "let us meet {time} at the {place}", "{time} i will wait for you at the {place}"),
    ("there are {number} {animal}s", "i (count|see) {number} {animal}s", "the number of {animal}s is {number}"),
    ("remember the word {word}", "keep {word} in mind", "do not forget: {word}", "the word to keep is {word}"),
    ("{word} and {word2}", "{word2} and {word}", "both {word} and {word2}", "{word} as well as {word2}"),
    (
        "the {colour} {animal} and the {thing}",
        "the {thing} and the {animal} that is {colour}",
        "{a:thing} and {a:colour} {animal}",
    ),
    # Words nobody has seen: what they mean is themselves.
    (
        "what is {made}?",
        "explain {made}",
        "the meaning of {made}",
        "tell me about {made}",
        "{made} is what i ask about",
    ),
    ("{made} {made2}", "{made2} {made}", "the {made} of {made2}", "{made2}'s {made}"),
    (
        "the company {made} from {town}",
        "{made}, a firm in {town}",
        "{made} has its seat in {town}",
        "a business called {made} is located in {town}",
    ),
    ("the function {made} returns {a:thing}", "{made} gives {a:thing} back", "calling {made} yields {a:thing}"),
    ("error {number} in {made}", "{made} fails with code {number}", "the module {made} reports error {number}"),
    ("professor {made} teaches {topic}", "{topic} is taught by {made}", "the {topic} course of {made}"),
)


def places(frame) -> list[str]:
    """The places of a frame that take a concept, each once, without articles, forms and second words."""
    found = []
    for wording in frame:
        for part in wording.split("{")[1:]:
            name = part.split("}")[0].removeprefix("a:").rstrip("'")
            name = "action" if name in ("acts", "acted", "done", "acting") else name
            if name not in found:
                found.append(name)
    return found


def draw(rng, frame) -> dict:
    """A concept for each place; two places of one kind never hold the same."""
    meaning = {}
    for place in places(frame):
        kind = place.rstrip("0123456789")
        concept = None
        while concept is None or concept in meaning.values():
            concept = (made_up_word(rng),) if kind == "made" else rng.choice(KINDS[kind])
        meaning[place] = concept
    return meaning


def key(number: int, meaning: dict) -> str:
    """The meaning as text: frame and concepts, without any wording."""
    told = (concept[0] if isinstance(concept[0], str) else concept[0][0] for concept in meaning.values())
    return f"{number}|" + "|".join(told)


def say(rng, wording: str, meaning: dict) -> str:
    """One wording of a meaning, with words chosen for its concepts."""
    slots = {}
    for place, concept in meaning.items():
        if place == "action":
            forms = rng.choice(concept)
            slots |= dict(zip(("action", "acts", "acted", "done", "acting"), forms, strict=True))
        elif place in FACTS:
            slots[place], slots[place + "'"] = concept
        else:
            slots[place] = rng.choice(concept)
    text = expand(rng, wording)
    for place, word in slots.items():
        plain = word.split()[0] in ("the", "a", "an", "coal", "milk", "salt", "snow", "blood", "grass", "chocolate")
        with_article = word if plain or place.startswith(("word", "name")) else article(word)
        text = text.replace("{a:" + place + "}", with_article).replace("{" + place + "}", word)
    return fill(text, slots)
