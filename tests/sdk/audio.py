"""Drives transcriptions and translations of a running server with the official Python client.

Called by the test `sdk::python_audio` as: audio.py URL KEY. The recording is made here; what is heard in it does not matter.
Ends with "all passed", or with the first check that failed.
"""

import asyncio
import io
import json
import math
import struct
import sys
import tempfile
import urllib.request
import wave
from pathlib import Path

import openai

URL, KEY = sys.argv[1:3]
client = openai.OpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=120)
transcribe = client.audio.transcriptions.create


def recording(seconds=2.0):
    """A tone that comes and goes, as wav."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        loud = lambda i: 8000 * math.sin(i * 0.17) * math.sin(i * 0.0008)
        file.writeframes(b"".join(struct.pack("<h", int(loud(i))) for i in range(int(seconds * 16_000))))
    return out.getvalue()


WAV = recording()


def expect(kind, param, **ask):
    try:
        transcribe(**{"model": "whisper-1", "file": ("a.wav", WAV)} | ask)
    except kind as error:
        assert error.param == param, f"{error.param} instead of {param}: {error}"
        return error
    raise AssertionError(f"{kind.__name__} was expected of {ask}")


def forms_of_a_file():
    path = Path(tempfile.mkdtemp()) / "a b \u00e4.wav"
    path.write_bytes(WAV)
    with path.open("rb") as opened:
        answers = [transcribe(model="whisper-1", file=opened)]
    answers.append(transcribe(model="whisper-1", file=path))
    path.unlink()
    path.parent.rmdir()
    buffer = io.BytesIO(WAV)
    buffer.name = "a.wav"
    for file in (WAV, buffer, ("a.wav", WAV), ("a.wav", io.BytesIO(WAV), "audio/wav"), ("noname", WAV)):
        answers.append(transcribe(model="gpt-4o-transcribe", file=file))
    assert len({answer.text for answer in answers}) == 1, answers
    usage = answers[0].usage
    assert usage.type == "tokens" and usage.input_token_details.audio_tokens == 100
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens
    return answers[0].text


def forms_of_an_answer(text):
    verbose = transcribe(
        model="whisper-1", file=("a.wav", WAV), response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert math.isclose(verbose.duration, 2.0, abs_tol=0.05) and verbose.language and verbose.text.strip() == text
    assert verbose.usage.type == "duration" and math.isclose(verbose.usage.seconds, 2.0)
    for segment in verbose.segments:
        assert 0 <= segment.start <= segment.end <= 30 and segment.avg_logprob <= 0 and 0 <= segment.no_speech_prob <= 1
    starts = [word.start for word in verbose.words]
    assert starts == sorted(starts) and all(word.word == word.word.strip() for word in verbose.words)
    usual = transcribe(model="whisper-1", file=("a.wav", WAV), response_format="verbose_json")
    assert usual.words is None and usual.segments is not None
    ask = {"model": "whisper-1", "file": ("a.wav", WAV)}
    assert transcribe(response_format="text", **ask) == text + "\n"
    srt = transcribe(response_format="srt", **ask)
    assert isinstance(srt, str) and (" --> " in srt) == bool(text)
    vtt = transcribe(response_format="vtt", **ask)
    assert vtt.startswith("WEBVTT\n\n") and vtt.count(" --> ") == srt.count(" --> ")
    told = transcribe(include=["logprobs"], language="en", prompt="A tone.", temperature=0, **ask)
    assert isinstance(told.logprobs, list)
    raw = client.audio.transcriptions.with_raw_response.create(response_format="vtt", **ask)
    assert raw.headers["content-type"] == "text/vtt; charset=utf-8"
    vad = {"type": "server_vad", "threshold": 0.5, "silence_duration_ms": 300}
    for chunking in ("auto", vad):
        assert transcribe(chunking_strategy=chunking, **ask).text is not None
    extended = transcribe(extra_body={"vad_filter": False, "beam_size": 2, "condition_on_previous_text": True}, **ask)
    assert isinstance(extended.text, str)


def streams(text):
    stream = transcribe(model="gpt-4o-mini-transcribe", file=("a.wav", WAV), stream=True)
    events = list(stream)
    assert events[-1].type == "transcript.text.done" and events[-1].usage.type == "tokens"
    deltas = [event.delta for event in events[:-1]]
    assert all(event.type == "transcript.text.delta" for event in events[:-1])
    assert "".join(deltas) == events[-1].text == text


def translations():
    answer = client.audio.translations.create(model="whisper-1", file=("a.wav", WAV))
    assert isinstance(answer.text, str)
    verbose = client.audio.translations.create(model="whisper-1", file=("a.wav", WAV), response_format="verbose_json")
    assert verbose.language in ("english", "en") and math.isclose(verbose.duration, 2.0, abs_tol=0.05)
    assert isinstance(client.audio.translations.create(model="whisper-1", file=WAV, response_format="srt"), str)


def errors():
    expect(openai.NotFoundError, "model", model="gpt-4o")
    expect(openai.BadRequestError, "file", file=("a.mp3", b""))
    expect(openai.BadRequestError, "file", file=("a.mp3", b"This is a text and no recording at all.\n" * 100))
    expect(openai.BadRequestError, "file", file=("a.wav", WAV[:20]))
    expect(openai.BadRequestError, "temperature", temperature=3)
    expect(openai.BadRequestError, "response_format", response_format="diarized_json")
    expect(openai.BadRequestError, "timestamp_granularities", timestamp_granularities=["word"])
    expect(openai.BadRequestError, "language", language="klingonese")
    expect(openai.BadRequestError, "known_speaker_names", known_speaker_names=["Ada"])


async def crowd(text):
    async with openai.AsyncOpenAI(base_url=URL + "/v1", api_key=KEY, max_retries=0, timeout=120) as many:
        asks = [many.audio.transcriptions.create(model="whisper-1", file=("a.wav", WAV)) for _ in range(8)]
        assert {answer.text for answer in await asyncio.gather(*asks)} == {text}


def browser(text):
    """What Open WebUI sends: what a browser recorded, by a name that tells little."""
    boundary = "----formdata-boundary"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'.encode(),
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="recording.webm"\r\n'
        f"Content-Type: audio/webm;codecs=opus\r\n\r\n".encode() + WAV + b"\r\n",
        f"--{boundary}--\r\n".encode(),
    ]
    headers = {"Authorization": "Bearer " + KEY, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    request = urllib.request.Request(URL + "/v1/audio/transcriptions", b"".join(parts), headers)
    with urllib.request.urlopen(request, timeout=120) as answer:
        assert json.load(answer)["text"] == text


text = forms_of_a_file()
forms_of_an_answer(text)
streams(text)
translations()
errors()
asyncio.run(crowd(text))
browser(text)
print("all passed")
