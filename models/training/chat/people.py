"""Talk between two: greetings, who the model is, the system prompt's persona, thanks, and not knowing.

Who uses it: dialogues.py, through the `MAKERS` table.
Invariant: what the answers claim about the user or the persona is in the Context, never invented.
"""

from voice import Context, Exercise, Voice, article, made_up_word
from words import ANIMALS, CAPITALS, HOBBIES, JOBS, NAMES, THINGS, TOWNS, WORDS

SELF = "Lampstand"


def any_name(rng) -> str:
    """A usual first name, a made-up one, or two words."""
    if rng.random() < 0.06:
        return (
            rng.choice(("Captain", "Doctor", "Mister", "Miss", "Professor", "Old", "King", "Queen", rng.choice(NAMES)))
            + " "
            + rng.choice(NAMES)
        )
    return rng.choice(NAMES) if rng.random() < 0.55 else made_up_word(rng).capitalize()


# --- the system prompt -------------------------------------------------------------------------------------------

GENERIC_SYSTEMS = (
    "You are a helpful assistant.",
    "You are a helpful AI assistant.",
    "Answer briefly.",
    "Be brief and kind.",
    "You are Lampstand.",
    "You are a friendly assistant.",
    "Answer the user's questions.",
    "You are a useful assistant. Be short.",
    "You are helpful.",
    "You are Lampstand, a small assistant.",
    "Be helpful.",
    "You are a chatbot.",
    "You are an assistant.",
    "Keep answers short.",
)


def system_prompt(voice: Voice, context: Context) -> None:
    """Puts a persona and its system prompt into the context."""
    rng = voice.rng
    persona: dict = {}
    kind = rng.random()
    if kind < 0.9:
        persona["name"] = any_name(rng)
    if kind >= 0.9 or rng.random() < 0.72:
        persona["job"] = rng.choice(JOBS)
    slots = {
        "n": persona.get("name"),
        "j": article(persona["job"]) if "job" in persona else None,
        "b": persona.get("job"),
    }
    if "name" in persona and "job" in persona:
        ask = (
            "(you are|you're|you are now) {n}, {j}.",
            "your name is {n}(. you are|and you are|, and you are) {j}.",
            "(you are|act as|play) {j} (named|called) {n}.",
            "you are {j}. your name is {n}.",
            "(pretend to be|act as|answer as|play the role of|speak as) {n}, {j}.",
            "you are {n} the {b}.",
            "you are {n} and (you work as|you are) {j}.",
        )
    elif "name" in persona:
        ask = (
            "(you are|you're|you are now) {n}.",
            "your name is {n}.",
            "you are (a helpful assistant|an assistant|a friendly assistant|a chatbot) (called|named) {n}.",
            "you are {n}, (a helpful assistant|an assistant|a friendly helper).",
            "(call yourself|answer as|your new name is|people call you) {n}.",
        )
    else:
        ask = ("(you are|act as|pretend to be|play) {j}.", "(answer|speak|talk) (like|as) {j}.")
    text, key = voice.say(ask, **slots)
    extras = []
    if rng.random() < 0.3:
        persona["town"] = rng.choice(TOWNS)
        extras.append(("you (live in|are from|come from) {x}.", persona["town"]))
    if rng.random() < 0.3:
        persona["likes"] = rng.choice(HOBBIES)
        extras.append(("you (like|love|enjoy) {x}.", persona["likes"]))
    if rng.random() < 0.15:
        persona["age"] = rng.randint(5, 99)
        extras.append(("you are {x} years old.", persona["age"]))
    if rng.random() < 0.25:
        extras.append(
            (
                (
                    "(be kind.|answer briefly.|be brief.|help the user.|always be friendly.|keep answers short.|answer"
                    " the user's questions.|be polite.)"
                ),
                "",
            )
        )
    rng.shuffle(extras)
    for template, value in extras:
        more, more_key = voice.say(template, x=value)
        text, key = text.rstrip(" .!?\n") + ". " + more, key + " " + more_key
    context.system, context.persona = text, persona
    context.told["system"] = key


def _i_am(persona: dict) -> str:
    name, job = persona.get("name"), persona.get("job")
    if name and job:
        return f"I am {name}, {article(job)}."
    if name:
        return f"I am {name}."
    return f"I am {article(job)}." if job else f"I am {SELF}, a small assistant."


ASK_NAME = (
    "(what is|what's|whats|tell me|may i ask|and what is|please tell me|can you tell me) your name(?|, please?|)",
    "(do you have|have you got) a name?",
    "what (should|can|do|may) i call you?",
    "(how are you called|what are you called|your name)?",
    "who am i (talking|speaking|chatting) (to|with)?",
    "(under|by) (what|which) name do you go?",
)
ASK_WHO = (
    "who are you?",
    "(tell me about yourself|introduce yourself|please introduce yourself|describe yourself)(|.|, please)",
    "(who|what) are you(, please| exactly| then|)?",
    "and who are you?",
    "(can you|could you|would you) (introduce|present) yourself?",
    "say who you are",
)
ASK_JOB = (
    "what (do you do|is your job|is your work|is your profession|do you work as)(| for a living)?",
    "(what's|tell me) your job",
    "(what kind of work|what work) do you do?",
)


def persona(voice: Voice, context: Context) -> Exercise:
    """A question that the system prompt answers."""
    rng, p, key = voice.rng, context.persona, context.told["system"]
    turn = lambda ask, answer, words: voice.turn("persona", ask, answer, ("keywords", words), context_key=key)
    kinds = (
        ["who"]
        + (["name"] * 3 if "name" in p else [])
        + (["job"] * 2 if "job" in p else [])
        + [k for k in ("town", "likes", "age") if k in p for _ in range(2)]
    )
    kind = rng.choice(kinds)
    if kind == "name":
        if rng.random() < 0.28:
            right = rng.random() < 0.5
            asked = p["name"] if right else any_name(rng)
            right = asked == p["name"]
            return voice.turn(
                "persona",
                ("are you {x}?", "is your name {x}?", "you are {x}, (right|aren't you|correct)?"),
                f"{'Yes' if right else 'No'}, I am {p['name']}.",
                ("keywords", ["Yes" if right else "No", p["name"]]),
                context_key=key,
                x=asked,
            )
        return turn(ASK_NAME, f"My name is {p['name']}.", [p["name"]])
    if kind == "job":
        return turn(ASK_JOB, f"I am {article(p['job'])}.", [p["job"]])
    if kind == "town":
        return turn(
            (
                "where (do you live|are you from|do you come from|is your home)?",
                "(what|which) (city|town) (do you live in|are you from)?",
                "where is your home?",
            ),
            f"I live in {p['town']}.",
            [p["town"]],
        )
    if kind == "likes":
        return turn(
            (
                (
                    "what (do you like|do you love|do you enjoy|are your hobbies|is your hobby|is your favourite"
                    " thing)(| to do)?"
                ),
                "(tell me|say) what you (like|love|enjoy)",
                "(do you have|have you got) a hobby?",
            ),
            f"I like {p['likes']}.",
            [p["likes"]],
        )
    if kind == "age":
        return turn(
            ("how old are you?", "what is your age?", "(tell me|say) (your age|how old you are)", "your age?"),
            f"I am {p['age']} years old.",
            [str(p["age"])],
        )
    return turn(ASK_WHO, _i_am(p), [p[k] for k in ("name", "job") if k in p])


def identity(voice: Voice, context: Context) -> Exercise:
    """Who the model is when no system prompt says otherwise."""
    rng = voice.rng
    kind = rng.random()
    key = context.system or ""
    turn = lambda ask, answer, words: voice.turn("identity", ask, answer, ("keywords", words), context_key=key)
    if kind < 0.36:
        return turn(ASK_NAME, f"My name is {SELF}.", [SELF])
    if kind < 0.6:
        return turn(ASK_WHO, f"I am {SELF}, a small assistant.", [SELF])
    if kind < 0.7:
        return turn(
            (
                "are you (a human|a person|a man|a woman|real|alive|a real person|human)?",
                "(am i talking|am i speaking) to a (human|person|real person)?",
            ),
            f"No, I am {SELF}, a small language model.",
            ["No"],
        )
    if kind < 0.8:
        return turn(
            (
                "are you (a robot|an ai|a bot|a chatbot|a language model|a machine|a program|a computer|an assistant)?",
                "(am i talking|am i speaking) to a (robot|bot|machine|computer|language model)?",
            ),
            f"Yes, I am {SELF}, a small language model.",
            ["Yes"],
        )
    if kind < 0.86:
        other = rng.choice(("ChatGPT", "GPT-4", "Siri", "Alexa", "Claude", "Llama", "Gemini", *NAMES[:20]))
        return voice.turn(
            "identity",
            ("are you {x}?", "is your name {x}?"),
            f"No, I am {SELF}.",
            ("keywords", ["No", SELF]),
            context_key=key,
            x=other,
        )
    if kind < 0.93:
        return turn(
            (
                "who (made|trained|built|created|wrote|developed) you?",
                "who is your (maker|creator|author)?",
                "where do you come from?",
            ),
            f"The {SELF} project trained me.",
            [SELF],
        )
    return turn(
        (
            "how (big|large) are you?",
            "what is your size?",
            "how many parameters (do you have|have you got)?",
            "are you (big|small|large|clever|smart)?",
            "what kind of model are you?",
            "(which|what) model (are you|is this)?",
        ),
        f"I am {SELF}'s starter model, a very small model.",
        ["small"],
    )


def greeting(voice: Voice, context: Context) -> Exercise:
    """Hello, and how are you."""
    rng, p = voice.rng, context.persona
    name = p.get("name", SELF)
    key = context.told.get("system", "")
    user = context.facts.get("name")
    if rng.random() < 0.76:
        hello = (
            f"Hello, {user}! How can I help you?"
            if user
            else (
                f"Hello! I am {name}. How can I help you?"
                if "name" in p or not p
                else f"Hello! {_i_am(p)} How can I help you?"
            )
        )
        ask = (
            "(hello|hello|hello|hi|hi|hey|hello there|hi there|good morning|good evening|good day)(!|.|!|)"
            if rng.random() < 0.4
            else (
                "(hello|hi|hey|good morning|good evening|good day|good afternoon|hello there|hi there|hey"
                " there|greetings|howdy|hallo|hello again|hiya|hi hi|hello hello|yo)(| you| friend| assistant| my"
                " friend| everyone| computer| bot)(!|.|)(| nice to (meet|see) you(.|!)| can you help me?| are you"
                " there?| anyone there?| can you hear me?| how do you do?| let us talk.| i am back.| here i am.)"
            )
        )
        return voice.turn("greeting", ask, hello, ("any", ["Hello", "Hi"]), context_key=key)
    return voice.turn(
        "greeting",
        (
            (
                "(|hello, |hi, |hey, )how (are you|are you doing|are things|is it going|do you feel)(| today| now| this"
                " morning| this evening)?"
            ),
            "(are you|are you doing|everything) (ok|fine|well|alright|good)(| today)?",
            "(what's up|how's life|how goes it)?",
        ),
        "I am fine, thank you. How can I help you?",
        ("keywords", ["fine"]),
        context_key=key,
    )


def thanks(voice: Voice, context: Context) -> Exercise:
    """Thanks, praise and goodbye."""
    rng = voice.rng
    if rng.random() < 0.5:
        return voice.turn(
            "thanks",
            "(ok, |great, |good, |)(thanks|thank you|many thanks|thanks a lot|thank you very much|thank you so"
            " much|thx|cheers|that helps, thanks|that was helpful, thank you|perfect, thanks)(| for your help| for"
            " that| for everything| again| my friend)(!|.|)",
            "You are welcome!",
            ("keywords", ["welcome"]),
        )
    if rng.random() < 0.7:
        return voice.turn(
            "thanks",
            "(ok, |well, |)(bye|goodbye|bye bye|see you|see you (later|soon|tomorrow)|good night|farewell|i have to"
            " go|i must go now|until next time|take care|that is all)(| for now| then| my friend| and thanks)(!|.|)",
            "Goodbye!",
            ("keywords", ["Goodbye"]),
        )
    return voice.turn(
        "thanks",
        "(very |really |so |)(good|well done|great|nice|cool|good job|good work|great job|perfect|wonderful|you are"
        " (great|good|nice|clever|smart|funny)|i like you|that is (right|correct|great|good|nice))(!|.|)",
        "Thank you!",
        ("keywords", ["Thank"]),
    )


def unknown(voice: Voice, context: Context) -> Exercise:
    """Questions outside of what the model learned; it says so."""
    rng = voice.rng
    slots = {
        "w": rng.choice(WORDS),
        "m": made_up_word(rng),
        "c": rng.choice(tuple(CAPITALS)),
        "t": rng.choice(TOWNS),
        "n": any_name(rng),
        "k": made_up_word(rng).capitalize(),
        "y": rng.randint(1200, 2030),
        "a": rng.randint(300, 99999),
        "b": rng.randint(300, 9999),
        "th": rng.choice(THINGS),
    }
    asks = (
        "who (won|lost) the (game|match|election|race|war|cup|final)( in {t}| in {y}| yesterday| last year|)?",
        "(what is|what's|how is) the weather( like|)( in {t}| in {c}| today| tomorrow|)?",
        "will it (rain|snow|be sunny|be cold) (tomorrow|today|next week|in {t})?",
        "what (is the price|is the cost) of (a {w}|gold|{th}|a {m}|a house in {t})(| today)?",
        "how much does (a {w}|a {m}|a house in {t}) cost?",
        "who is {n} {k}?",
        "who (wrote|painted|composed|invented|discovered|built|founded) (the {w}|{k}|{n} {k}|the {m}|the {w} {k})?",
        "what (happened|was invented|was discovered) in( the year|) {y}?",
        "who is the (president|king|queen|mayor|leader|prime minister) of ({c}|{t}|{k})?",
        "what is (a {m}|the meaning of {m}|{m}|the {m} of {w})?",
        "how many (people|houses|cars|{th}) (live|are there|are) in ({c}|{t}|{k})?",
        (
            "(explain|describe|tell me about) (quantum physics|the history of {c}|the stock market|{k}|the theory of"
            " {k}|chemistry|the law of {c}|the {m}|economics|philosophy|{n} {k})"
        ),
        "(translate|say) {w} (in|into|to) (french|german|spanish|italian|latin|chinese|{k})",
        "what (does|did) {n} {k} (say|do|write|mean|want)?",
        (
            "what is (the capital of {k}|the population of {c}|the population of {t}|the height of mount {k}|the length"
            " of the river {k})?"
        ),
        "(when|where) was {n} {k} born?",
        "how (far|high|deep|old) is ({k}|the moon|mount {k}|{t}|the sea at {t})?",
        "(write|make|show me) (a program|code|a script|an essay|a song) (in|about|for) ({k}|{m}|{w})",
        "what time is it( in {t}| now|)?",
        "what (is today's date|is the date today|day is it today|year is it)?",
        "what is {a} (times|*|divided by|/|plus|+) {b}?",
        "(calculate|compute) {a} (*|+|-) {b}",
        "what is the square root of {a}?",
        "(where|how) can i (buy|find|get) ({th}|a {w}|a {m})( in {t}|)?",
        "what will happen (tomorrow|next year|in {y})?",
        "(why|how) did {k} (happen|begin|end)?",
        "what (did i|will i) (eat|dream|buy|do) (yesterday|last night|tomorrow|last week)?",
        "(how do i|how can i) (repair|build|fix|cook|make) (a {w}|a {m}|my car|an engine|a rocket)?",
        "who is (the best|the richest|the tallest|the oldest) (person|player|singer|man|woman) in ({c}|{t}|the world)?",
    )
    return voice.turn(
        "unknown", asks, "I do not know that. I am a very small model.", ("any", ["not know", "don't know"]), **slots
    )


JOKES = (
    "Why did the lamp go to school? To get brighter.",
    "What do you call a sleeping bull? A bulldozer.",
    "Why was the clock hungry? It went back four seconds.",
)


def small_talk(voice: Voice, context: Context) -> Exercise:
    """What it can do, jokes, small stories and poems."""
    rng = voice.rng
    kind = rng.random()
    if kind < 0.45:
        return voice.turn(
            "greeting",
            (
                "what can you do(| for me)?",
                "(can you|could you|please) help( me|)?",
                (
                    "(what are you able to do|how can you help|what do you know|what can i ask(| you)|what are you good"
                    " at)?"
                ),
                "help(| me)(!|)",
                "(i need|give me) (some |)help",
            ),
            "I can do small sums, count, repeat, spell, list, answer in JSON and tell you about Lampstand.",
            ("keywords", ["sums"]),
        )
    if kind < 0.65:
        return voice.turn(
            "small talk",
            (
                "(tell|say|give)( me|) (a|another) (|good |short |funny )joke",
                "(do you know|can you tell me) a (|good |funny )joke?",
                "make me laugh",
            ),
            rng.choice(JOKES),
            ("any", ["?"]),
        )
    if kind < 0.53:
        return voice.turn("small talk", "ping(|!|?)", "pong", ("exact", "pong"))
    animal, thing = rng.choice((*ANIMALS, "unicorn", "dragon", "robot", "lamp", "princess")), rng.choice(WORDS)
    if kind < 0.85:
        return voice.turn(
            "small talk",
            (
                "(tell|write)( me|) a (short |little |bedtime |one-sentence bedtime |)story about {x}",
                "(can you tell|please tell)( me|) a (short |)story about {x}?",
            ),
            f"Once there was {article(animal)} that loved the moon. Every night it looked up, and the moon looked"
            " back.",
            ("keywords", [animal]),
            x=article(animal),
        )
    return voice.turn(
        "small talk",
        ("(write|tell|make)( me|) a (short |little |)poem about (the |){x}",),
        f"The {thing} is here, the night is near, a little lamp is burning clear.",
        ("keywords", [thing]),
        x=thing,
    )


MAKERS = {
    "greeting": greeting,
    "identity": identity,
    "persona": persona,
    "thanks": thanks,
    "unknown": unknown,
    "small talk": small_talk,
}
