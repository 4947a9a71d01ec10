"""Drives a running server with the official Python client.

Called by the test `sdk::python_client` as: client.py URL NARROW_URL KEY, where the second server has place for one request.
Ends with "all passed", or with the first check that failed.
"""

import asyncio
import json
import sys
import time
import urllib.request

import openai

URL, NARROW_URL, KEY = sys.argv[1:4]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=60)
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
# A name of the Workers AI catalogue, whose weights are not here.
ALIAS = "@cf/meta/llama-3.1-8b-instruct"
# As long as an answer can get.
ENDLESS = {"messages": HELLO, "model": "gpt-4o", "stream": True, "extra_body": {"ignore_eos": True}}


def health(url=URL):
    with urllib.request.urlopen(url + "/health", timeout=60) as answer:
        return json.load(answer)


def wait_until(check, url=URL):
    for _ in range(6000):
        if check(health(url)):
            return
        time.sleep(0.01)
    raise AssertionError(f"waited in vain: {health(url)}")


def expect(kind, call):
    try:
        call()
    except kind as error:
        assert type(error) is kind, f"{type(error)} instead of {kind}"
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def models():
    listed = client.models.list().data
    assert listed and all(model.object == "model" for model in listed)
    assert client.models.retrieve(listed[0].id).id == listed[0].id
    own = listed[0]
    assert own.status == "loaded" and own.root == own.id and own.context_length > 0 and "chat" in own.capabilities
    assert own.family and own.quantization and own.parameters > 0 and own.size_bytes > 0 and own.created > 0
    alias = client.models.retrieve(ALIAS)
    assert (alias.id, alias.root, alias.status, alias.substitute) == (ALIAS, own.id, "alias", True)
    assert all(model.root for model in listed) and len({model.id for model in listed}) == len(listed)
    expect(openai.NotFoundError, lambda: client.models.retrieve("no/such-model"))
    return listed[0].id


def chat(own):
    answer = client.chat.completions.create(model="gpt-4o", messages=HELLO, temperature=0, max_tokens=24)
    assert answer.model == own and answer.object == "chat.completion"
    assert answer.choices[0].message.role == "assistant" and answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0
    assert usage.prompt_tokens_details.cached_tokens >= 0
    scored = client.chat.completions.create(
        model=own, messages=HELLO, logprobs=True, top_logprobs=2, max_completion_tokens=3, n=2, seed=1, stop=["\u0001"]
    )
    assert [choice.index for choice in scored.choices] == [0, 1]
    assert all(len(token.top_logprobs) == 2 for token in scored.choices[0].logprobs.content)
    return answer


def chat_stream(whole):
    chunks = list(
        client.chat.completions.create(
            model="gpt-4o",
            messages=HELLO,
            temperature=0,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens


def many_streams(own):
    """Several answers at once, as a stream, with logprobs: the same as in one piece."""
    ask = {"model": own, "messages": HELLO, "n": 3, "seed": 7, "max_tokens": 8, "logprobs": True, "top_logprobs": 1}
    whole = client.chat.completions.create(**ask)
    texts, tokens, reasons = [""] * 3, [[], [], []], [None] * 3
    for chunk in client.chat.completions.create(stream=True, **ask):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            tokens[choice.index] += choice.logprobs.content if choice.logprobs else []
            reasons[choice.index] = choice.finish_reason or reasons[choice.index]
    for index, choice in enumerate(whole.choices):
        assert (choice.index, choice.message.content, choice.finish_reason) == (index, texts[index], reasons[index])
        assert [(token.token, token.logprob) for token in choice.logprobs.content] == [
            (token.token, token.logprob) for token in tokens[index]
        ]
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 1 for token in tokens[index])
    streamed = [""] * 2
    ask = {"model": own, "prompt": "Hello there", "n": 2, "seed": 7, "max_tokens": 8}
    for chunk in client.completions.create(stream=True, **ask):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert [choice.text for choice in client.completions.create(**ask).choices] == streamed


def best_of(own):
    ask = {"model": own, "prompt": "Hello there", "max_tokens": 4, "seed": 3, "logprobs": 0}
    drawn = client.completions.create(n=4, **ask)
    kept = client.completions.create(n=2, best_of=4, **ask)
    assert [choice.index for choice in kept.choices] == [0, 1]
    assert {choice.text for choice in kept.choices} <= {choice.text for choice in drawn.choices}
    assert kept.usage.completion_tokens == drawn.usage.completion_tokens
    for wrong in ({"n": 3, "best_of": 2}, {"best_of": 2, "stream": True}):
        assert expect(openai.BadRequestError, lambda: client.completions.create(**ask, **wrong)).param == "best_of"


def headers(own):
    create = client.chat.completions.with_raw_response.create
    raw = create(model=ALIAS, messages=HELLO, max_tokens=2)
    assert raw.headers["x-lampstand-substitute"] == own == raw.parse().model
    assert raw.headers["x-request-id"] == raw.request_id
    raw = create(model=own, messages=HELLO, max_tokens=2)
    assert not any(name.lower().startswith("x-lampstand") for name in raw.headers)
    with client.chat.completions.with_streaming_response.create(
        model=ALIAS, messages=HELLO, max_tokens=2, stream=True
    ) as response:
        assert response.headers["x-lampstand-substitute"] == own
        assert [chunk.model for chunk in response.parse()][0] == own


def truncation(own):
    long = [{"role": "system", "content": "Be brief."}]
    for _ in range(40):
        long += [{"role": "user", "content": "one two three " * 10}, {"role": "assistant", "content": "four"}]
    ask = {"model": own, "messages": long + HELLO, "max_tokens": 8}
    error = expect(openai.BadRequestError, lambda: client.chat.completions.create(**ask))
    assert error.code == "context_length_exceeded"
    raw = client.chat.completions.with_raw_response.create(extra_body={"truncation": "auto"}, **ask)
    assert 0 < int(raw.headers["x-lampstand-dropped-messages"]) < len(long) and raw.parse().choices[0].message.content
    assert raw.parse().usage.prompt_tokens > 256


def other_fields(own):
    """Fields that OpenAI does not have, by extra_body."""
    create = client.chat.completions.create
    sure = create(model=own, messages=HELLO, temperature=0, max_tokens=8).choices[0].message.content
    bold = create(model=own, messages=HELLO, temperature=2, max_tokens=8, extra_body={"top_k": 1})
    assert bold.choices[0].message.content == sure
    said = create(model=own, messages=HELLO, max_tokens=8, extra_body={"mode": "chat", "character": "Example"})
    assert said.choices[0].message.content
    error = expect(openai.BadRequestError, lambda: create(model=own, messages=HELLO, extra_body={"character": "Nobody", "mode": "chat"}))
    assert error.param == "character"


def completions():
    ask = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hello there", "temperature": 0, "max_tokens": 8}
    whole = client.completions.create(**ask)
    assert whole.object == "text_completion"
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(stream=True, **ask))
    assert streamed == whole.choices[0].text
    echoed = client.completions.create(echo=True, logprobs=1, **ask)
    assert echoed.choices[0].text == "Hello there" + whole.choices[0].text
    assert len(echoed.choices[0].logprobs.tokens) == len(echoed.choices[0].logprobs.token_logprobs)
    several = client.completions.create(model="gpt-4o", prompt=[[5, 6], [7]], max_tokens=1)
    assert len(several.choices) == 2 and several.usage.prompt_tokens == 3


def errors():
    create = client.chat.completions.create
    error = expect(openai.BadRequestError, lambda: create(model="gpt-4o", messages=HELLO, temperature=3))
    assert error.param == "temperature" and error.status_code == 400 and error.request_id
    error = expect(openai.BadRequestError, lambda: create(model="gpt-4o", messages=HELLO, max_tokens=10**8))
    assert error.code == "context_length_exceeded"
    error = expect(openai.NotFoundError, lambda: create(model="no/such-model", messages=HELLO))
    assert error.code == "model_not_found"
    stranger = openai.OpenAI(base_url=URL + "/v1", api_key="wrong", max_retries=0)
    error = expect(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.code == "invalid_api_key"


def busy():
    narrow = openai.OpenAI(base_url=NARROW_URL + "/v1", api_key=KEY, max_retries=0, timeout=60)
    with narrow.chat.completions.create(**ENDLESS) as stream:
        next(iter(stream))
        ask = lambda: narrow.chat.completions.create(model="gpt-4o", messages=HELLO, max_tokens=1)
        error = expect(openai.InternalServerError, ask)
        assert error.status_code == 503 and error.response.headers["retry-after"]
    wait_until(lambda state: state["running"] == 0, NARROW_URL)


def abort():
    before = health()["cancelled"]
    stream = client.chat.completions.create(**ENDLESS)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            break
    stream.close()
    wait_until(lambda state: state["cancelled"] == before + 1 and state["running"] == 0)


async def crowd():
    async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=60) as many:
        def ask(number):
            said = [{"role": "user", "content": f"Please count to {number}."}]
            return many.chat.completions.create(model="gpt-4o", messages=said, temperature=0, max_tokens=16)

        answers = await asyncio.gather(*(ask(number) for number in range(32)))
        assert len({answer.id for answer in answers}) == 32
        again = await asyncio.gather(ask(3), ask(30))
        assert again[0].choices[0].message.content == answers[3].choices[0].message.content
        assert again[1].choices[0].message.content == answers[30].choices[0].message.content


own = models()
chat_stream(chat(own))
many_streams(own)
best_of(own)
headers(own)
truncation(own)
other_fields(own)
completions()
errors()
busy()
abort()
asyncio.run(crowd())
print(f"openai {openai.__version__}: all passed")
