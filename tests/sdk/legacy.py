"""Drives a running server with openai-python 0.27.8, the last of the old interface, and with its command line.

Called by the test `sdk::legacy_python_client` as: legacy.py URL KEY.
Ends with "all passed", or with the first check that failed.
"""

import asyncio
import os
import subprocess
import sys

import openai

URL, KEY = sys.argv[1:3]
MODEL = "starter/chat"
HELLO = [{"role": "user", "content": "Hello! Who are you?"}]

openai.api_key = KEY
openai.api_base = URL + "/v1"
# Sent as a header; text-generation-webui's documents set it.
openai.api_version = "2023-05-15"


def expect(kind, call, status):
    try:
        call()
    except kind as error:
        assert type(error) is kind and error.http_status == status, repr(error)
        return error
    raise AssertionError(f"{kind.__name__} was expected")


def models():
    listed = openai.Model.list()
    assert listed["object"] == "list" and listed.data[0].id == MODEL
    model = openai.Model.retrieve(MODEL)
    assert (model.id, model.object, model.root, model.parent) == (MODEL, "model", MODEL, None)
    assert model.permission == [] and model.owned_by and model.created > 0
    assert openai.Model.retrieve("gpt-3.5-turbo").object == "model"


def engines():
    listed = openai.Engine.list()
    assert listed["object"] == "list" and listed.data[0].ready is True and listed.data[0].object == "engine"
    assert listed.data[0].id == MODEL
    engine = openai.Engine.retrieve(MODEL)
    assert (engine.id, engine.object, engine.ready) == (MODEL, "engine", True)
    said = engine.generate(context="Hello there", length=8, temperature=0)
    assert len(said["data"]) == 1 and "choices" not in said
    pieces = openai.Engine(MODEL).generate(context="Hello there", length=8, temperature=0, stream=True)
    assert "".join(piece["data"][0]["text"] for piece in pieces) == said["data"][0]["text"]


def completions():
    ask = {"prompt": "Hello there", "max_tokens": 8, "temperature": 0}
    whole = openai.Completion.create(model="text-davinci-003", **ask)
    assert whole.object == "text_completion" and whole.model == MODEL
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    text = whole.choices[0].text
    assert openai.Completion.create(engine=MODEL, **ask).choices[0].text == text
    for named in ({"engine": MODEL}, {"model": MODEL}):
        assert "".join(chunk.choices[0].text for chunk in openai.Completion.create(stream=True, **named, **ask)) == text
    scored = openai.Completion.create(model=MODEL, echo=True, logprobs=2, prompt=["Hello", "there"], max_tokens=1, n=2)
    assert [choice.index for choice in scored.choices] == [0, 1, 2, 3]
    logprobs = scored.choices[0].logprobs
    assert logprobs.token_logprobs[0] is None and len(logprobs.tokens) == len(logprobs.text_offset)
    assert all(len(best) >= 2 for best in logprobs.top_logprobs[1:])


def chat():
    create = openai.ChatCompletion.create
    ask = {"messages": HELLO, "temperature": 0, "max_tokens": 24}
    whole = create(model="gpt-3.5-turbo", **ask)
    assert whole.object == "chat.completion" and whole.choices[0].message.role == "assistant"
    text = whole.choices[0].message.content
    assert create(engine=MODEL, **ask).choices[0].message.content == text
    for named in ({"model": "gpt-3.5-turbo"}, {"engine": MODEL}):
        chunks = list(create(stream=True, **named, **ask))
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.get("content") or "" for chunk in chunks) == text
        assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def edits():
    ask = {"instruction": "Fix the spelling.", "input": "Helo, who ar you?", "temperature": 0, "n": 2}
    edit = openai.Edit.create(model="text-davinci-edit-001", **ask)
    assert edit.object == "edit" and [choice.index for choice in edit.choices] == [0, 1]
    assert edit.choices[0].text == edit.choices[1].text and edit.usage.completion_tokens > 0
    assert openai.Edit.create(engine=MODEL, **ask).choices[0].text == edit.choices[0].text


def errors():
    create = openai.ChatCompletion.create
    wrong = openai.error.InvalidRequestError
    assert expect(wrong, lambda: create(model=MODEL, messages=HELLO, temperature=3), 400).param == "temperature"
    assert expect(wrong, lambda: create(model=MODEL, messages=[]), 400).param == "messages"
    assert expect(wrong, lambda: create(model=MODEL, messages=HELLO, temperature=3, stream=True), 400).param == "temperature"
    assert expect(wrong, lambda: openai.Completion.create(model=MODEL, max_tokens=1), 400).param == "prompt"
    assert expect(wrong, lambda: openai.Edit.create(model=MODEL), 400).param == "instruction"
    for call in (
        lambda: create(model="no/such-model", messages=HELLO),
        lambda: create(engine="no/such-model", messages=HELLO),
        lambda: openai.Completion.create(engine="no/such-model", prompt="a"),
        lambda: openai.Engine.retrieve("no/such-model"),
        lambda: openai.Model.retrieve("no/such-model"),
    ):
        error = expect(wrong, call, 404)
        assert error.code == "model_not_found" and "no/such-model" in str(error), repr(error)
    expect(openai.error.AuthenticationError, lambda: create(model=MODEL, messages=HELLO, api_key="wrong"), 401)


async def asynchronous():
    ask = {"model": "gpt-3.5-turbo", "messages": HELLO, "temperature": 0, "max_tokens": 24}
    whole = await openai.ChatCompletion.acreate(**ask)
    stream = await openai.ChatCompletion.acreate(stream=True, **ask)
    text = "".join([chunk.choices[0].delta.get("content") or "" async for chunk in stream])
    assert text == whole.choices[0].message.content


def other_bases():
    """A base without /v1, as the first gateway's document has it, with and without a slash at its end."""
    for base in (URL, URL + "/", URL + "/v1/"):
        openai.api_base = base
        assert openai.Model.list().data[0].id == MODEL
        assert openai.ChatCompletion.create(model="@cf/meta/llama-2-7b-chat-int8", messages=HELLO, max_tokens=4).choices
    openai.api_base = URL + "/v1"


def command_line():
    environment = {**os.environ, "OPENAI_API_KEY": KEY, "OPENAI_API_BASE": URL + "/v1"}

    def run(*arguments):
        command = [sys.executable, "-m", "openai._openai_scripts", "api", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert MODEL in run("engines.list")
    assert '"ready": true' in run("engines.get", "-i", MODEL)
    assert run("completions.create", "-e", MODEL, "-p", "Hello there", "-M", "4", "--stream").startswith("Hello there")
    assert run("chat_completions.create", "-e", MODEL, "-g", "user", "Hello!", "-M", "8").strip()


models()
engines()
completions()
chat()
edits()
errors()
asyncio.run(asynchronous())
other_bases()
command_line()
print(f"openai {openai.version.VERSION}: all passed")
