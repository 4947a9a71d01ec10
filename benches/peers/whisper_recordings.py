"""Recordings for whisper.py: speech that espeak-ng reads, hours of it as mp3, and how a client sends one.

Speech is made once below the target folder. Its words are of no meaning: what is compared is time, and the voice detectors of all sides
take it for speech.
"""
import http.client
import json
import pathlib
import random
import subprocess
import time
import uuid
import wave

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "target" / "random-models" / "recordings"
RATE = 16000
WORDS = (
    "the old house by the river stood empty until a quiet family from the north came to live there with seven children two dogs and "
    "one very large piano nobody could play every morning they walked along the water looked for stones and counted boats in summer "
    "people travelled far to hear stories about winter storms lost letters and bright lamps over dark hills"
).split()
START_SECONDS_MAX = 300


def speech(seconds):
    """A wav file of speech as long as asked for: 16-bit, mono, 16 kHz."""
    path = FOLDER / f"speech-{seconds:g}.wav"
    if path.exists():
        return path
    FOLDER.mkdir(parents=True, exist_ok=True)
    numbers, samples = random.Random(11), bytearray()
    while len(samples) < seconds * RATE * 2:
        text = ". ".join(" ".join(numbers.choices(WORDS, k=numbers.randrange(6, 16))) for _ in range(12))
        samples += spoken(text, numbers.randrange(140, 190))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(bytes(samples[: int(seconds * RATE) * 2]))
    return path


def spoken(text, words_per_minute):
    """16-bit samples of a text, from espeak-ng."""
    import numpy

    command = ["espeak-ng", "-v", "en", "-s", str(words_per_minute), "--stdout", text]
    sound = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    rate = int.from_bytes(sound[24:28], "little")
    # Behind 44 bytes of a head whose lengths are not filled in when it goes to a pipe.
    samples = numpy.frombuffer(sound[44 : len(sound) // 2 * 2], "<i2").astype(numpy.float32)
    at = numpy.arange(0, len(samples) - 1, rate / RATE)
    return numpy.interp(at, numpy.arange(len(samples)), samples).astype("<i2").tobytes()


def long_mp3(hours):
    """Ten minutes of speech again and again: frames of mp3 may stand one behind the other."""
    path = FOLDER / f"speech-{hours:g}h.mp3"
    if not path.exists():
        once = ten_minutes_mp3()
        with open(path, "wb") as file:
            for _ in range(round(hours * 6)):
                file.write(once)
    return path


def ten_minutes_mp3():
    import av

    part = FOLDER / "part.mp3"
    # A head would say that the file ends after ten minutes.
    with av.open(str(part), "w", options={"write_xing": "0", "id3v2_version": "0"}) as output:
        stream = output.add_stream("libmp3lame", rate=RATE)
        stream.layout, stream.bit_rate = "mono", 32_000
        with av.open(str(speech(600))) as source:
            resampler = av.AudioResampler(format="s16p", layout="mono", rate=RATE)
            for frame in source.decode(audio=0):
                for packets in map(stream.encode, resampler.resample(frame)):
                    output.mux(packets)
        output.mux(stream.encode(None))
    once = part.read_bytes()
    part.unlink()
    return once


def wait_for(port, process):
    began = time.perf_counter()
    while time.perf_counter() - began < START_SECONDS_MAX:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/v1/models")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError("the server does not answer")


def generated_tokens(port):
    """Tokens that the server has written since its start."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/health")
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer["generated_tokens"]


def post(port, path, **fields):
    """Sends the recording as clients do; the answer and the seconds that it took."""
    border = uuid.uuid4().hex
    part = 'Content-Disposition: form-data; name="{}"'
    head = b"".join(f"--{border}\r\n{part.format(name)}\r\n\r\n{value}\r\n".encode() for name, value in fields.items())
    head += f'--{border}\r\n{part.format("file")}; filename="{path.name}"\r\n\r\n'.encode()
    tail = f"\r\n--{border}--\r\n".encode()
    headers = {"Content-Type": f"multipart/form-data; boundary={border}"}
    headers["Content-Length"] = str(len(head) + path.stat().st_size + len(tail))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3600)
    began = time.perf_counter()
    connection.putrequest("POST", "/v1/audio/transcriptions")
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    connection.send(head)
    with open(path, "rb") as file:
        connection.send(file)
    connection.send(tail)
    response = connection.getresponse()
    body = response.read()
    seconds = time.perf_counter() - began
    connection.close()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {body[:500]!r}")
    return json.loads(body), seconds
