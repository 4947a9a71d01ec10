#!/usr/bin/env python3
"""Time between the tokens of a chat, alone and while a recording is being written down.

Run it from the repository: benches/beside.py --server target/release/lampstand --model chat.gguf --speech-model whisper-base.
It starts the server, streams a chat, then streams it again while recordings keep coming, by turns, and prints medians and the
95th percentile as Markdown. Standard library alone.
"""
import argparse
import array
import http.client
import json
import math
import pathlib
import random
import statistics
import subprocess
import threading
import time
import wave

PORT = 5937


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", type=pathlib.Path, required=True, help="our program, built")
    parser.add_argument("--model", required=True, help="the chat model")
    parser.add_argument("--speech-model", required=True)
    parser.add_argument("--tokens", type=int, default=150)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--quantize", default="q8_0")
    arguments = parser.parse_args()
    recording = pathlib.Path("target") / "beside.wav"
    recording.parent.mkdir(exist_ok=True)
    write_recording(recording, seconds=120)
    command = [arguments.server, "--api", "--api-port", str(PORT), "--model", arguments.model]
    command += ["--transcription-model", arguments.speech_model, "--quantize", arguments.quantize]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait()
        transcribe(recording.read_bytes())
        gaps = {"alone": [], "beside a recording": []}
        for _ in range(arguments.pairs):
            gaps["alone"] += chat(arguments.tokens)
            stop = threading.Event()
            worker = threading.Thread(target=keep_transcribing, args=(recording.read_bytes(), stop))
            worker.start()
            time.sleep(0.5)
            gaps["beside a recording"] += chat(arguments.tokens)
            stop.set()
            worker.join()
    finally:
        server.terminate()
        server.wait()
    print("| chat | ms between tokens, median | 95 % below |")
    print("|---|---:|---:|")
    for name, times in gaps.items():
        times.sort()
        print(f"| {name} | {1000 * statistics.median(times):.1f} | {1000 * times[int(0.95 * len(times))]:.1f} |")


def write_recording(path, seconds):
    """Something like speech to a detector: bursts of a buzzing tone with pauses, and noise below."""
    numbers, samples = random.Random(1), array.array("h")
    for at in range(16000 * seconds):
        time_s = at / 16000
        speaks = time_s % 4 < 3
        tone = sum(math.sin(2 * math.pi * 120 * harmonic * time_s) / harmonic for harmonic in range(1, 9)) if speaks else 0
        samples.append(int(3000 * tone * (0.6 + 0.4 * math.sin(20 * time_s)) + numbers.gauss(0, 30)))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(samples.tobytes())


def wait():
    for _ in range(600):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", PORT)
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit("the server did not start")


def chat(tokens):
    """Seconds between the events of a streamed answer, the first left out."""
    body = {"messages": [{"role": "user", "content": "Tell me a long story."}], "max_tokens": tokens, "stream": True}
    body |= {"ignore_eos": True, "temperature": 0}
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
    response, times = connection.getresponse(), []
    while line := response.readline():
        if line.startswith(b"data: {"):
            times.append(time.perf_counter())
    return [after - before for before, after in zip(times[1:], times[2:])]


def transcribe(recording):
    border = "beside"
    parts = [f"--{border}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n".encode(), recording]
    parts.append(f"\r\n--{border}--\r\n".encode())
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    headers = {"content-type": f"multipart/form-data; boundary={border}"}
    connection.request("POST", "/v1/audio/transcriptions", b"".join(parts), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit(response.read().decode())
    response.read()


def keep_transcribing(recording, stop):
    while not stop.is_set():
        transcribe(recording)


if __name__ == "__main__":
    main()
