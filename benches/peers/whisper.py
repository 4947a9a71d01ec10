#!/usr/bin/env python3
"""Listens with CTranslate2, PyTorch, whisper.cpp, faster-whisper and Lampstand by turns and prints medians and ratios as Markdown.

Run it with a Python that has torch, transformers, tokenizers, ctranslate2 and faster-whisper. Models are made by a seed at Whisper's
shapes; all sides take the same weights and as many threads, and write the same tokens. See README.md beside this file.
"""
import argparse
import contextlib
import functools
import os
import pathlib
import subprocess
import sys

import whisper_models as models
import whisper_recordings as recordings
from serving import free_port
from sides import OURS, ROOT, Side, build, rounds, wanted

WITH_MEMORY = "Lampstand q8_0, the decoder's keys and values too"
HERE = pathlib.Path(__file__).resolve().parent
ROWS = {
    "encode": "milliseconds of the encoder for a window of 30 s",
    "token": "milliseconds of the decoder for a token, one window",
    "token-8": "the same of eight windows together, for one of their tokens",
    "file": "seconds for a recording, ours through HTTP",
    "memory": "most memory of our server for an hour and for three, in MiB",
}


def main():
    arguments = read_arguments()
    if os.getloadavg()[0] > 0.5:
        print("The machine is busy: these ratios will say more about its other work.", file=sys.stderr)
    print(f"{arguments.threads} threads, {arguments.pairs} rounds a row\n", flush=True)
    steps = [row for row in arguments.rows if row in ("encode", "token", "token-8")]
    if steps:
        print("| model | work | side | ms | Lampstand q8_0 is |\n|---|---|---|---:|---:|", flush=True)
        for shape in arguments.shape:
            compare_steps(arguments, shape, steps)
    if "file" in arguments.rows:
        print("\n| model | recording | side | s | tokens | Lampstand q8_0 is |\n|---|---|---|---:|---:|---:|", flush=True)
        for shape in [None] if arguments.model else arguments.shape:
            compare_files(arguments, shape)
    if "memory" in arguments.rows:
        print("\n| recording | MiB after loading | MiB at most | s |\n|---|---:|---:|---:|", flush=True)
        for hours in arguments.hours:
            measure_memory(arguments, hours)


def read_arguments():
    kinds = "\n".join(f"  {name:8} {what}" for name, what in ROWS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"rows:\n{kinds}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = lambda text: text.split(",")
    parser.add_argument("--whisper-cpp", type=pathlib.Path, help="whisper_lines, as build_whisper_cpp.sh builds it")
    parser.add_argument("--bench", type=pathlib.Path, help="our bench `whisper`, built; else cargo builds it")
    parser.add_argument("--server", type=pathlib.Path, help="our program `lampstand`, built; else cargo builds it")
    parser.add_argument("--shape", type=words, default=["tiny", "base", "small"])
    parser.add_argument("--model", type=pathlib.Path, help="for the row `file`: a model of yours, as transformers has it")
    parser.add_argument("--recording", type=pathlib.Path, help="for `file`: a wav, 16-bit, mono, 16 kHz; else speech is synthesised")
    parser.add_argument("--rows", type=words, default=list(ROWS))
    parser.add_argument("--sides", type=words, help="only those whose names begin so, such as Lampstand,CTranslate2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=90, help="decoded by each window in the rows `token`; at most 90")
    parser.add_argument("--minutes", type=float, default=10, help="of speech in the row `file`")
    parser.add_argument("--hours", type=lambda text: [float(word) for word in text.split(",")], default=[1, 3])
    return parser.parse_args()


def library(side, folder, arguments):
    return Side(sys.executable, HERE / "whisper_sides.py", side, folder, arguments.threads)


def compare_steps(arguments, shape, rows):
    folder = models.folder(shape)
    bench = arguments.bench or build(["bench", "--no-run", "-p", "engine", "--bench", "whisper"], "whisper")
    ours = lambda model, *options: Side(bench, "--lines", "--model", model, "--threads", arguments.threads, *options)
    makers = {
        OURS: lambda: ours(folder, "--quantize", "q8_0"),
        WITH_MEMORY: lambda: ours(folder, "--quantize", "q8_0"),
        "Lampstand bf16": lambda: ours(models.folder(shape, "bf16")),
        "Lampstand f32": lambda: ours(folder),
        "CTranslate2 int8": lambda: library("ctranslate2", models.ctranslate2_folder(shape), arguments),
        "PyTorch bf16": lambda: library("torch-bf16", folder, arguments),
        "PyTorch f32": lambda: library("torch-f32", folder, arguments),
    }
    if arguments.whisper_cpp:
        makers["whisper.cpp q8_0"] = lambda: Side(arguments.whisper_cpp, models.ggml_file(shape), arguments.threads)
    sides = wanted(arguments.sides, makers)
    for row in rows:
        windows = 8 if row == "token-8" else 1
        line, share = (row, 1) if row == "encode" else (f"decode {windows} {arguments.tokens}", windows * arguments.tokens)
        able = {name: side for name, side in sides.items() if is_able(name, row)}
        texts = set()
        ask = lambda name, side: side.ask("listen" if name == WITH_MEMORY else line)
        for name, ms, ratio, answer in rounds(arguments.pairs, able, ask, lambda answer: answer["ms"] / share):
            texts.add(answer.get("last"))
            print(f"| {shape} | {row} | {name} | {ms:.3f} | {ratio:.2f} |", flush=True)
        if len(texts) > 1:
            print(f"The sides wrote different tokens: {texts}", file=sys.stderr)
    for side in sides.values():
        side.close()


def is_able(name, row):
    """whisper.cpp decodes one window at a time, and the decoder's keys and values are written when a window is listened to."""
    return row == "encode" or name != WITH_MEMORY and (row == "token" or not name.startswith("whisper.cpp"))


class Server:
    """Ours, asked through HTTP as clients do."""

    def __init__(self, program, model, threads, *options):
        self.port = free_port()
        command = [program, "--api", "--api-port", self.port, "--offline", "--cpu", "--model-dir", ROOT / "models"]
        command += ["--transcription-model", model, "--threads", threads, "--parallel", 8, "--speculation", "none", *options]
        words = [str(word) for word in command]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.model = model

    def ask(self, path, **fields):
        """Sends a recording; seconds and tokens. Waits for the server to listen, before the clock starts."""
        recordings.wait_for(self.port, self.process)
        # Segments that say the same again and again are left out of the answer; the counter has all that was written.
        before = recordings.generated_tokens(self.port)
        _, seconds = recordings.post(self.port, path, model=str(self.model), response_format="verbose_json", **fields)
        return {"ms": seconds * 1e3, "tokens": recordings.generated_tokens(self.port) - before}

    def memory_mib(self, line):
        """`VmRSS`, what it has, or `VmHWM`, the most that it had."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(line + ":")[1].split()[0]) / 1024

    def close(self):
        self.process.kill()
        self.process.wait()


def compare_files(arguments, shape):
    source = arguments.model.resolve() if arguments.model else models.folder(shape)
    converted = models.converted(source)
    path = arguments.recording or recordings.speech(arguments.minutes * 60)
    program = arguments.server or build(["build", "--release", "-p", "api", "--bin", "lampstand"], "lampstand")
    # One process for all ways of a program; it is idle while others are measured.
    faster = functools.cache(lambda: library("faster-whisper", converted, arguments))
    makers = {
        OURS: lambda: Server(program, source, arguments.threads, "--quantize", "q8_0"),
        "faster-whisper int8 beams of 5 (its default)": faster,
        "faster-whisper int8 greedy": faster,
        "faster-whisper int8 8 windows together, beams of 5": faster,
        "faster-whisper int8 8 windows together, greedy": faster,
    }
    if arguments.whisper_cpp and shape:
        cpp = functools.cache(lambda: Side(arguments.whisper_cpp, models.ggml_file(shape), arguments.threads))
        makers |= {"whisper.cpp q8_0 beams of 5 (its default)": cpp, "whisper.cpp q8_0 greedy": cpp}
    sides = wanted(arguments.sides, makers)

    def measure(name, side):
        if name == OURS:
            return side.ask(path, language="en")
        windows, beams = 8 if "8 windows" in name else 1, 5 if "beams" in name else 1
        return side.ask(f"transcribe {windows} {beams} {path}")

    with contextlib.ExitStack() as stack:
        for side in sides.values():
            stack.callback(side.close)
        for name, seconds, ratio, answer in rounds(arguments.pairs, sides, measure, lambda answer: answer["ms"] / 1e3):
            model = shape or source.name
            print(f"| {model} | {path.name} | {name} | {seconds:.2f} | {answer['tokens']} | {ratio:.2f} |", flush=True)


def measure_memory(arguments, hours):
    """A model that is as small as they come, so that what is measured is what hangs on the recording's length."""
    program = arguments.server or build(["build", "--release", "-p", "api", "--bin", "lampstand"], "lampstand")
    server = Server(program, models.folder("micro"), arguments.threads)
    try:
        server.ask(recordings.speech(30), language="en")
        before = server.memory_mib("VmRSS")
        seconds = server.ask(recordings.long_mp3(hours), language="en")["ms"] / 1e3
        print(f"| {hours:g} h, mp3 | {before:.0f} | {server.memory_mib('VmHWM'):.0f} | {seconds:.1f} |", flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    sys.exit(main())
