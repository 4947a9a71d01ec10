"""Drives a running server with LiteLLM, which speaks to it as to any server of OpenAI's dialect.

Called by the test `sdk::litellm` as: litellm_client.py URL KEY.
Ends with "all passed", or with the first check that failed.
"""

import asyncio
import io
import math
import os
import struct
import sys
import wave
from importlib.metadata import version

# The price list that comes with the package will do; no word to anybody else.
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_TELEMETRY="False", NO_PROXY="127.0.0.1")

import litellm

URL, KEY = sys.argv[1:3]
litellm.telemetry = False
litellm.num_retries = 0
litellm.suppress_debug_info = True
MODEL = "starter/chat"
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]
SERVER = {"api_base": URL + "/v1", "api_key": KEY, "max_retries": 0, "timeout": 60}
ASK = {"messages": HELLO, "temperature": 0, "max_tokens": 24, **SERVER}


def expect(kind, call):
    try:
        call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def chat():
    whole = litellm.completion(model="openai/gpt-4o", **ASK)
    choice = whole.choices[0]
    assert whole.object == "chat.completion" and choice.message.role == "assistant"
    assert choice.finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    text = choice.message.content
    # The first part of a name says how to speak, the rest goes to the server as it is.
    for model in ("openai/" + MODEL, "openai/@cf/meta/llama-3.1-8b-instruct", "custom_openai/" + MODEL):
        assert litellm.completion(model=model, **ASK).choices[0].message.content == text, model
    chunks = list(litellm.completion(model="openai/gpt-4o", stream=True, stream_options={"include_usage": True}, **ASK))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == text
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    rebuilt = litellm.stream_chunk_builder(chunks, messages=HELLO)
    assert rebuilt.choices[0].message.content == text and rebuilt.choices[0].finish_reason == choice.finish_reason
    several = litellm.completion(model="openai/gpt-4o", n=2, logprobs=True, top_logprobs=2, **ASK)
    assert [choice.index for choice in several.choices] == [0, 1]
    assert all(len(token["top_logprobs"]) == 2 for token in several.choices[0].logprobs["content"])
    # Fields that are not OpenAI's come along.
    biased = litellm.completion(model="openai/gpt-4o", extra_body={"top_k": 1, "min_p": 0.5}, **{**ASK, "temperature": 2})
    assert biased.choices[0].message.content == text


def completions():
    ask = {"prompt": "Hello there", "temperature": 0, "max_tokens": 8, **SERVER}
    whole = litellm.text_completion(model="openai/" + MODEL, **ask)
    assert whole.object == "text_completion" and whole.usage.completion_tokens > 0
    for model in ("openai/" + MODEL, "text-completion-openai/" + MODEL):
        chunks = litellm.text_completion(model=model, stream=True, **ask)
        text = "".join(chunk.choices[0].text or "" for chunk in chunks if chunk.choices)
        assert text == litellm.text_completion(model=model, **ask).choices[0].text, model
    several = litellm.text_completion(model="text-completion-openai/" + MODEL, **{**ask, "prompt": ["Hello", "there"]})
    assert [choice.index for choice in several.choices] == [0, 1]


def errors():
    wrong = {**ASK, "temperature": 3}
    assert "temperature" in str(expect(litellm.BadRequestError, lambda: litellm.completion(model="openai/gpt-4o", **wrong)))
    long = {**ASK, "messages": [{"role": "user", "content": "a very long question " * 2000}]}
    expect(litellm.ContextWindowExceededError, lambda: litellm.completion(model="openai/gpt-4o", **long))
    expect(litellm.NotFoundError, lambda: litellm.completion(model="openai/no/such-model", **ASK))
    stranger = {**ASK, "api_key": "wrong"}
    expect(litellm.AuthenticationError, lambda: litellm.completion(model="openai/gpt-4o", **stranger))


async def recordings():
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(i * 0.17))) for i in range(16_000)))
    ask = {"model": "openai/whisper-1", "file": ("a.wav", out.getvalue()), **SERVER}
    heard = await litellm.atranscription(**ask)
    verbose = await litellm.atranscription(response_format="verbose_json", timestamp_granularities=["word"], **ask)
    assert isinstance(heard.text, str) and heard.text == verbose.text and isinstance(verbose.words, list)


async def asynchronous():
    whole = await litellm.acompletion(model="openai/gpt-4o", **ASK)
    stream = await litellm.acompletion(model="openai/gpt-4o", stream=True, **ASK)
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content
    many = await asyncio.gather(*(litellm.acompletion(model="openai/gpt-4o", **ASK) for _ in range(8)))
    assert {answer.choices[0].message.content for answer in many} == {text}
    assert len({answer.id for answer in many}) == 8


chat()
completions()
errors()
asyncio.run(asynchronous())
asyncio.run(recordings())
print(f"litellm {version('litellm')}: all passed")
