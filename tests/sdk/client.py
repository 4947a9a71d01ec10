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


chat_stream(chat(models()))
completions()
errors()
busy()
abort()
asyncio.run(crowd())
print(f"openai {openai.__version__}: all passed")
