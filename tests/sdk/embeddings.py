"""Drives embeddings and moderations of a running server with the official Python client.

Called by the test `sdk::python_embeddings` as: embeddings.py URL KEY.
Ends with "all passed", or with the first check that failed.
"""

import asyncio
import base64
import math
import struct
import sys

import openai

URL, KEY = sys.argv[1:3]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=60)
TEXTS = ["the boss sold the car", "the manager offered the automobile for sale", "rain is falling in Oslo"]


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def refused(kind, param, **ask):
    try:
        client.embeddings.create(**{"model": "text-embedding-3-small"} | ask)
    except kind as error:
        assert error.param == param, f"{error.param} instead of {param}"
        return error
    raise AssertionError(f"{kind.__name__} was expected of {ask}")


def embeddings():
    # The client asks for base64 by itself and reads it; as floats it must be the same numbers.
    answer = client.embeddings.create(model="text-embedding-3-small", input=TEXTS)
    plain = client.embeddings.create(model="text-embedding-3-small", input=TEXTS, encoding_format="float")
    assert answer.object == "list" and [item.index for item in answer.data] == [0, 1, 2]
    vectors = [item.embedding for item in answer.data]
    assert all(isinstance(number, float) for number in vectors[0]) and len(vectors[0]) == 256
    narrowed = [[struct.unpack("<f", struct.pack("<f", x))[0] for x in item.embedding] for item in plain.data]
    assert vectors == narrowed
    assert all(math.isclose(cosine(vector, vector), 1, abs_tol=1e-3) for vector in vectors)
    assert cosine(vectors[0], vectors[1]) > cosine(vectors[0], vectors[2])
    assert answer.usage.total_tokens == answer.usage.prompt_tokens > len(TEXTS)
    one = client.embeddings.create(model="text-embedding-ada-002", input=TEXTS[2])
    assert one.data[0].embedding == vectors[2]
    raw = client.embeddings.with_raw_response.create(
        model="text-embedding-3-small", input=TEXTS[2], encoding_format="base64"
    )
    bytes_ = base64.b64decode(raw.http_response.json()["data"][0]["embedding"])
    assert list(struct.unpack(f"<{len(bytes_) // 4}f", bytes_)) == vectors[2]
    tokens = client.embeddings.create(model="starter/embed", input=[[5, 6, 7], [8]])
    assert len(tokens.data) == 2 and tokens.usage.prompt_tokens == 4


def errors():
    refused(openai.BadRequestError, "input", input=[])
    refused(openai.BadRequestError, "input[1]", input=["a", ""])
    refused(openai.BadRequestError, "dimensions", input="a", dimensions=8)
    foreign = refused(openai.BadRequestError, "input[0]", input=[[906, 100_000]])
    assert "check_embedding_ctx_length" in foreign.message
    refused(openai.BadRequestError, "input[0][1]", input=[[906, 100_000]], model="starter/embed")
    refused(openai.NotFoundError, "model", input="a", model="gpt-4o")


def moderations():
    answer = client.moderations.create(input=["I will kill you with a knife.", "Which museum in Oslo should I visit?"])
    assert [result.flagged for result in answer.results] == [True, False]
    assert answer.results[0].categories.violence and answer.results[0].category_scores.violence >= 0.5
    assert 0 <= answer.results[1].category_scores.self_harm_intent < 0.5
    assert client.moderations.create(model="omni-moderation-latest", input="hello").results[0].flagged is False


async def crowd():
    async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=60) as many:
        asks = [many.embeddings.create(model="text-embedding-3-small", input=TEXTS[i % 3]) for i in range(32)]
        answers = await asyncio.gather(*asks)
    wanted = [item.embedding for item in client.embeddings.create(model="starter/embed", input=TEXTS).data]
    assert [answer.data[0].embedding for answer in answers] == [wanted[i % 3] for i in range(32)]


embeddings()
errors()
moderations()
asyncio.run(crowd())
print("all passed")
