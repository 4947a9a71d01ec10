"""Both servers as their users start them: requests per second under load, and seconds from start to first token.

compare.py calls it. The prompts are token ids, so that both read the same number of tokens; answers are greedy and do
not end early.
"""
import contextlib
import http.client
import json
import os
import random
import socket
import subprocess
import threading
import time

CLIENTS = 16
PROMPT_TOKENS = 512
SHARED_TOKENS = 256
ANSWER_TOKENS = 64
START_PROMPT_TOKENS = 16
# Ids that every random model has, and that are no special tokens.
TOKEN_IDS = range(300, 40_000)
CONTEXT_TOKENS = 1024
START_SECONDS_MAX = 300


def llama_cpp(folder, model, threads):
    program = folder / "llama-server"
    command = lambda port, parallel: [
        *[program, "-m", model, "--host", "127.0.0.1", "--port", port, "--offline", "-t", threads, "-tb", threads],
        *["-np", parallel, "-c", parallel * CONTEXT_TOKENS, "--cont-batching", "--cache-prompt"],
    ]
    return Side(command, [program, model])


def lampstand(program, model, threads):
    command = lambda port, parallel: [
        *[program, "--api", "--api-port", port, "--offline", "--cpu", "--model", model, "--threads", threads],
        # A random model soon repeats itself, which guessing ahead would make too much of.
        *["--parallel", parallel, "--ctx-size", CONTEXT_TOKENS, "--speculation", "none"],
    ]
    return Side(command, [program, model])


class Side:
    """One of the two servers."""

    def __init__(self, command, files):
        self.command = command
        self.files = files

    @contextlib.contextmanager
    def running(self, parallel):
        """Runs the server for `parallel` conversations and yields its port once it answers."""
        port = free_port()
        words = [str(word) for word in self.command(port, parallel)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            first_token(port, process)
            yield port
        finally:
            process.kill()
            process.wait()

    def seconds_to_first_token(self, cold):
        """Seconds from starting the process to the first token of a streamed answer."""
        if cold:
            for path in self.files:
                drop_from_memory(path)
        port = free_port()
        words = [str(word) for word in self.command(port, 1)]
        began = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            first_token(port, process)
            return time.perf_counter() - began
        finally:
            process.kill()
            process.wait()


class Load:
    """Clients that each ask one question after another; every pair of runs gets prompts that neither side has seen."""

    def __init__(self, rounds):
        self.rounds = rounds
        self.runs = {}

    def requests_per_s(self, port):
        run = self.runs[port] = self.runs.get(port, 0) + 1
        shared = token_ids(f"shared {run}", SHARED_TOKENS)
        failures = []
        began = time.perf_counter()
        work = [threading.Thread(target=self.client, args=(port, run, index, shared, failures)) for index in range(CLIENTS)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        seconds = time.perf_counter() - began
        if failures:
            raise SystemExit(f"a request failed: {failures[0]}")
        return CLIENTS * self.rounds / seconds

    def client(self, port, run, index, shared, failures):
        try:
            for turn in range(self.rounds):
                prompt = shared + token_ids(f"own {run} {index} {turn}", PROMPT_TOKENS - SHARED_TOKENS)
                usage = json.loads(post(port, prompt, ANSWER_TOKENS, stream=False).read())["usage"]
                asked = (PROMPT_TOKENS, ANSWER_TOKENS)
                if (usage["prompt_tokens"], usage["completion_tokens"]) != asked:
                    failures.append(f"{usage} where {asked} were asked")
        except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
            failures.append(repr(error))


def token_ids(seed, count):
    return random.Random(seed).choices(TOKEN_IDS, k=count)


def post(port, prompt, tokens, stream):
    """An answer whose head has come, with status 200."""
    body = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, "stream": stream}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise ConnectionError(f"{answer.status}: {answer.read(500)}")
    return answer


def first_token(port, process):
    """Asks until the server answers, and returns when the first token has come."""
    prompt = token_ids("start", START_PROMPT_TOKENS)
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and process.poll() is None:
        # It listens, but refuses while it loads.
        with contextlib.suppress(OSError, http.client.HTTPException):
            answer = post(port, prompt, 1, stream=True)
            for line in answer:
                if line.startswith(b"data: {") and json.loads(line[6:])["choices"]:
                    answer.read()
                    return
        time.sleep(0.005)
    raise SystemExit(f"{process.args[0]} did not answer (its status: {process.poll()})")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def drop_from_memory(path):
    """Asks the system to forget the pages of a file that nobody has mapped."""
    os.sync()
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
