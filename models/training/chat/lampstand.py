"""What the model knows about Lampstand: what it is, its flags, its endpoints.

Who uses it: dialogues.py, through the `MAKERS` table; plain_text.py takes the descriptions.
Invariant: flags and endpoints stand here once, with the wording that every answer uses.
"""

from voice import Context, Exercise, Voice

# flag -> (what it does, how users ask for it, words that a right description holds)
FLAGS = {
    "--api": (
        "starts the HTTP server",
        ("start the (server|api|http server)", "(run|launch|switch on|turn on) the (server|api|http server)"),
        ["server"],
    ),
    "--listen": (
        "listens on all network interfaces",
        (
            "listen on (the|my|all) (network|interfaces|network interfaces)",
            "(let|allow) other (computers|machines|people|devices) (connect|reach it|use it)",
            (
                "(make it reachable|open it|reach it|share it|use it) (from|on|to|over) (the network|the lan|my"
                " network|other computers|another computer)"
            ),
            "(expose it|open it up|serve) (on|to) (the|my) (network|lan)",
            "listen on 0.0.0.0",
        ),
        ["interfaces"],
    ),
    "--listen-host": (
        "sets the address to listen on",
        (
            (
                "(choose|set|change|pick) the (address|host|ip|ip address|interface|host address)( to listen on| it"
                " listens on|)"
            ),
            "(listen on|bind to) (one|a certain|a given|a single|a specific) (address|host|ip|interface)",
        ),
        ["address"],
    ),
    "--api-port": (
        "sets the port, 5000 by default",
        (
            "(change|set|choose|pick|select) the (port|api port|tcp port|port number)",
            "(use|listen on|run on|take) (another|a different|a new|some other) port",
            "(use|listen on|run on) port {p}",
        ),
        ["port"],
    ),
    "--model": (
        "chooses the model: a folder, a .gguf file, a hub id or a name",
        (
            (
                "(choose|load|pick|select|set|use|open|change) (a|the|another|my|my own|a different) (model|gguf"
                " file|gguf|weights|model file)"
            ),
            "(run|load|use) (a .gguf file|a hub model|another model|my model from the hub|a model from a folder)",
        ),
        ["model"],
    ),
    "--model-dir": (
        "sets the folder that holds the models",
        (
            "(set|change|choose|move) the (folder|directory) (of|for|with|that holds) (the |my |)models",
            "(set|change|choose) the (models|model) (folder|directory)",
            "(keep|put|store|find) (my |)models in another (folder|directory|place)",
        ),
        ["folder"],
    ),
    "--settings": (
        "reads a settings file",
        (
            "(use|load|read|give|pass|choose) (a|my|another) (settings|config|configuration|yaml|settings.yaml) file",
            "(load|read|use) (my |)settings from a (file|yaml file)",
        ),
        ["settings"],
    ),
    "--api-key": (
        "asks every client for this key",
        (
            "(set|use|require|ask for|demand|need|add) (an|the) (api key|access key)",
            "(protect|secure|lock) (the|my) (api|server|endpoint)(| with a (key|password))",
            "(require|set) (a password|a key|a bearer token|a token) for (clients|users|the api)",
        ),
        ["key"],
    ),
    "--admin-key": (
        "protects the admin routes with a key",
        (
            "(set|use|add|require|change) (an|the) admin key",
            "(protect|secure|lock) the admin (routes|api|endpoints|pages)",
            "(set|require) a (key|password) for (admins|the admin|administration|the admin routes)",
        ),
        ["admin"],
    ),
    "--ctx-size": (
        "sets the context size in tokens",
        (
            "(set|change|raise|increase|limit|enlarge|choose) the (context|context size|context length|context window)",
            "(use|get|have) a (longer|larger|bigger|smaller|shorter) context(| window| size)",
            "(allow|use|have) (longer|more) (prompts|tokens of context|context)",
        ),
        ["context"],
    ),
    "--parallel": (
        "sets how many sequences run at once",
        (
            (
                "(set|change|limit|choose|raise) (how many|the number of) (requests|chats|sequences|users) (run|are"
                " served|at once|in parallel|at the same time)"
            ),
            (
                "(serve|run|answer|allow) (many|more|several|fewer) (requests|chats|sequences|users|clients) (at"
                " once|in parallel|at the same time|together)"
            ),
        ),
        ["sequences"],
    ),
    "--kv-cache": (
        "sets the memory for the KV cache in bytes",
        (
            (
                "(set|limit|change|choose|raise) the (kv cache|kv cache size|size of the kv cache|memory for the kv"
                " cache|cache memory|memory of the cache|key value cache)"
            ),
            "(give|use) (more|less) memory (for|to) the (kv cache|cache)",
        ),
        ["KV"],
    ),
    "--threads": (
        "sets the number of CPU threads",
        (
            (
                "(set|change|limit|choose|pick) the (number of threads|threads|thread count|number of cpu threads|cpu"
                " threads)"
            ),
            "(use|run with|run on) (more|fewer|less|four|eight|two|all) (threads|cpu threads|cores|cpu cores)",
        ),
        ["threads"],
    ),
    "--cpu": (
        "runs on the CPU even if there is a GPU",
        (
            "(run|stay|work|compute) (only |)on the (cpu|processor)(| only)",
            "(force|use only|use just) the cpu",
            "(not use|turn off|switch off|disable|avoid|ignore) the (gpu|graphics card)",
        ),
        ["CPU"],
    ),
    "--offline": (
        "never touches the network",
        (
            "(run|work|stay|start) (offline|without internet|without the internet|without network|without a network)",
            (
                "(forbid|block|stop|prevent|switch off|turn off|avoid|disable) (downloads|all"
                " downloads|downloading|internet access|network access|hub access|the hub)"
            ),
        ),
        ["network"],
    ),
    "--verbose": (
        "prints more log lines",
        (
            "(see|get|show|print|have|write) (more|detailed) (logs|log lines|output|log output|messages|details)",
            "(make it|make the log|make the output) (more verbose|verbose|chatty|more detailed)",
            "(debug|turn on debug|switch on debug|enable verbose) (it|output|logging|logs)",
        ),
        ["log"],
    ),
}

# path -> (what it does, how users ask for it, a word that a right description holds)
ENDPOINTS = {
    "POST /v1/chat/completions": (
        "answers a chat",
        (
            "(chat|send a chat|send chat messages|talk to the model|post a chat|have a chat|send messages)",
            "(get|request) a chat (answer|completion|reply)",
        ),
        "chat",
    ),
    "POST /v1/completions": (
        "continues a plain text",
        (
            "(complete|continue|finish) (a |plain |)text",
            "(send|complete|post|continue) a (plain|raw|text) prompt",
            "(get|request) a (text|plain) completion",
        ),
        "text",
    ),
    "GET /v1/models": (
        "lists the models",
        (
            "(list|see|show|get|find) (the |all |all the |)models",
            "(see|find out|know|list) which models there are",
            "get (the|a) list of models",
        ),
        "models",
    ),
    "GET /v1/models/{id}": (
        "tells about one model",
        (
            "(get|see|read|find) (information|details|facts|something) about (one|a|a single) model",
            "(look up|ask for|get|fetch|describe) (one|a single) model(| by id| by its id)",
        ),
        "model",
    ),
    "GET /health": (
        "tells whether the server is ready",
        (
            (
                "(check|see|know|test|find out) (if|whether) (it|the server|lampstand) is"
                " (ready|up|alive|healthy|running|ok)"
            ),
            "(check|ask for|get|read) the (health|status|state)( of the server|)",
            "(do|make) a health check",
        ),
        "ready",
    ),
}

ABOUT = (
    (
        (
            "what is {l}(| exactly)?",
            "(what does {l} do|explain {l}|tell me about {l}|describe {l}|can you explain {l})(?|, please|)",
            "(can you tell|tell) me (what|about what) {l} is",
            "(what is|what's) this (server|project|program|software)(| called)?",
        ),
        "Lampstand is an offline server for your own machine that speaks the OpenAI API.",
        ["OpenAI"],
    ),
    (
        (
            "(which|what) (port|tcp port) does {l} (use|listen on|run on)?",
            "(what is|what's|tell me) the (default |standard |usual |)port( of {l}|)(?|)",
            "(on|under) (which|what) port (is {l}|does {l} run|is the server|does it run)?",
        ),
        "The default port is 5000.",
        ["5000"],
    ),
    (
        (
            "(what is|what's|tell me) the (default |)address( of {l}| of the server|)(?|)",
            (
                "where (does {l} listen|is the server|can i reach {l}|do i reach the server|does the server listen|does"
                " {l} run)(| by default)?"
            ),
            "(which|what) address does {l} (use|listen on)?",
        ),
        "The default address is 127.0.0.1:5000.",
        ["127.0.0.1:5000"],
    ),
    (
        (
            (
                "(what is|what's|tell me|which is) the base (url|address)(| for (clients|openai|the openai client|my"
                " client))(?|)"
            ),
            (
                "(which|what) (base url|base_url|url) (do i|should i|must i) (use|set|put|give)(| in my client| in the"
                " openai client)?"
            ),
            "how do i (connect|point|set up) (my|an|the) openai client?",
        ),
        "Use http://127.0.0.1:5000/v1 as the base URL.",
        ["http://127.0.0.1:5000/v1"],
    ),
    (
        (
            "how (do i|can i|does one|to) (start|run|launch|use) {l}?",
            "(what is the command to|how do you) (start|run|launch) {l}?",
            "(start|run) {l} how?",
        ),
        "Run: lampstand --api",
        ["lampstand --api"],
    ),
    (
        (
            (
                "(does|will|can) {l} (need|use|require) (the internet|internet|a network|the network|an internet"
                " connection)?"
            ),
            "(do i need|is) (internet|the internet|a network|an internet connection) (needed |required |)for {l}?",
        ),
        "No, Lampstand works offline.",
        ["No"],
    ),
    (
        (
            (
                "(can|does|will) {l} (work|run) (offline|without internet|without the internet|without a network|on my"
                " own machine|locally)?"
            ),
            "is {l} (offline|local)?",
        ),
        "Yes, Lampstand works offline.",
        ["Yes"],
    ),
    (
        (
            "(can|does) {l} (stream|support streaming|stream answers|stream tokens)?",
            "how do i (stream|get a stream|stream the answer|stream answers)?",
        ),
        'Yes, send "stream": true in the request.',
        ["stream"],
    ),
    (
        (
            "(in which|in what|which|what) (language|programming language) is {l} (written|written in|made in|made)?",
            "what is {l} (written|made|built) (in|with)?",
        ),
        "Lampstand is written in Rust, on candle.",
        ["Rust"],
    ),
    (
        (
            (
                "(which|what) (file formats|formats|files|weights|kinds of models|model formats) (does {l}"
                " (load|read|support|take|know)|can {l} (load|read|use))?"
            ),
        ),
        "Lampstand loads GGUF and safetensors files.",
        ["GGUF", "safetensors"],
    ),
    (
        (
            "(which|what) (license|licence) (does {l} have|has {l}|is {l} under)?",
            "(what is|tell me) the (license|licence) of {l}(?|)",
            "is {l} (free|open source|free software)?",
        ),
        "Lampstand has the MIT licence.",
        ["MIT"],
    ),
    (
        (
            (
                "(can|does) {l} (answer|serve|handle|talk to) (many|several|multiple|a lot of)"
                " (people|users|clients|requests|chats) (at once|at the same time|together)?"
            ),
            "(can|may) (many|several) (people|users|clients) use {l} (at once|together|at the same time)?",
        ),
        "Yes, Lampstand answers many clients at once.",
        ["Yes"],
    ),
    (
        (
            "(does|will) {l} (cost|send my data|share my data|spy|upload my data)( anything| anywhere| to anyone|)?",
            "(is my data|are my chats) (sent|uploaded|shared)( anywhere| to anyone|)( by {l}|)?",
        ),
        "No, everything stays on your machine.",
        ["No"],
    ),
    (
        (
            "(which|what) (model|is the model that) (does {l} (use|load|run|start with)|is loaded) by default?",
            "(what is|tell me about|what's) the (default|starter) model( of {l}|)(?|)",
        ),
        "The default is the starter model, a very small one.",
        ["starter"],
    ),
    (
        (
            (
                "(does|is|can) {l} (work with|compatible with|support|be used with) (the |)openai( api| clients|"
                " client| python package| sdk|)?"
            ),
            "(can i use|does it work with) the openai (client|package|sdk|library|api)( with {l}|)?",
        ),
        "Yes, any OpenAI client works with Lampstand.",
        ["Yes"],
    ),
    (
        (
            (
                "(where|how) do i (set|give|pass|put) (my |the |a |)(hub token|hf token|hugging face token|token for"
                " the hub)?"
            ),
            "how do i (get|load|download|open) a gated model?",
        ),
        "Set HF_TOKEN in the environment.",
        ["HF_TOKEN"],
    ),
    (
        (
            "(what|which) flags (are there|does {l} have|does {l} know|can i use|exist)?",
            "(list|show me|name|tell me|give me)( all|) the (flags|options|command line flags)( of {l}|)",
        ),
        ", ".join(FLAGS),
        list(FLAGS),
    ),
    (
        (
            (
                "(what|which) (endpoints|routes|paths|urls) (are there|does {l} have|does {l} serve|can i"
                " use|exist|does the server have)?"
            ),
            "(list|show me|name|tell me|give me)( all|) the (endpoints|routes|api routes|paths)( of {l}|)",
        ),
        ", ".join(ENDPOINTS),
        ["/v1/chat/completions", "/v1/models", "/health"],
    ),
)


def about(voice: Voice, context: Context) -> Exercise:
    """What Lampstand is."""
    asks, answer, words = voice.rng.choice(ABOUT + ABOUT[:5])
    name = voice.rng.choice(("Lampstand", "Lampstand", "lampstand"))
    return voice.turn("about", asks, answer, ("keywords", words), l=name)


def flags(voice: Voice, context: Context) -> Exercise:
    """From a wish to its flag, and from a flag to what it does."""
    rng = voice.rng
    flag = rng.choice(tuple(FLAGS))
    does, wishes, words = FLAGS[flag]
    if rng.random() < 0.68:
        wish = rng.choice(wishes)
        ask = (
            (
                "(how do i|how can i|how to|how do you|how would i|i want to|i would like to|can i|is it possible"
                " to|which flag do i need to|what is the flag to|which flag (is|must i use) to|what option do i use"
                f" to) {wish}(?|?| with lampstand?| in lampstand?)"
            ),
        )
        return voice.turn(
            "flags",
            ask,
            f"Use {flag}: it {does}.",
            ("flag", flag),
            p=rng.choice((80, 8080, 8000, 1234, rng.randint(1000, 9999))),
        )
    ask = (
        "(what does|what's|what is) {f}( do| for| mean|)?",
        "(explain|describe|tell me about|tell me what|what about) {f}",
        (
            "(what is the (meaning|use|purpose) of|what happens with|what can i do with|what is) (the flag |the option"
            " |){f}?"
        ),
        "(when|why) (do|would|should) i (use|need) {f}?",
        "{f}?",
    )
    return voice.turn("flags", ask, f"{flag} {does}.", ("keywords", words), f=flag)


def endpoints(voice: Voice, context: Context) -> Exercise:
    """From a wish to its route, and from a route to what it does."""
    rng = voice.rng
    route = rng.choice(tuple(ENDPOINTS))
    does, wishes, word = ENDPOINTS[route]
    if rng.random() < 0.68:
        wish = rng.choice(wishes)
        ask = (
            (
                "(how do i|how can i|how to|how would i|i want to|can i|which (endpoint|route|url|path) do i"
                " (use|need|call) to|what is the (endpoint|route|url|path) to|what (endpoint|route|request) is"
                f" (used|needed) to|where do i send a request to) {wish}(?|?| over http?| with the api?| over the api?)"
            ),
        )
        return voice.turn("endpoints", ask, f"Send {route}: it {does}.", ("route", route))
    shown = rng.choice((route, route.split()[1]))
    ask = (
        "what (does|is) {r}( do| for|)?",
        "(explain|describe|tell me about|what about) {r}",
        (
            "(what is the (use|purpose|meaning) of|what happens at|what can i do with|what do i get from) (the endpoint"
            " |the route |){r}?"
        ),
        "(when|why) (do|would|should) i (use|call|need) {r}?",
    )
    return voice.turn("endpoints", ask, f"{route} {does}.", ("keywords", [word]), r=shown)


MAKERS = {"about": about, "flags": flags, "endpoints": endpoints}
