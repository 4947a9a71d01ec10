#!/usr/bin/env python3
"""Runs llama.cpp and our benches by turns on the same files and prints medians and ratios as Markdown.

See README.md beside this file for what is compared. Needs nothing but the standard library.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "target" / "random-models"
# llama-batched-bench reads a short prompt before it decodes; ours starts at the same depth.
BATCH_PROMPT = 16


def main():
    arguments = read_arguments()
    busy = os.getloadavg()[0] > 0.5
    benches = build_benches()
    models = arguments.model or [make_model(shape, mix) for shape in arguments.shape for mix in arguments.mix]
    if busy:
        print("The machine is busy: these ratios will say more about its other work.", file=sys.stderr)
    print(f"{cpu_name()}, {arguments.threads} threads, {arguments.pairs} pairs a row; tokens per second\n", flush=True)
    print("| model | what | llama.cpp | ours | ours / llama.cpp | range |\n|---|---|---:|---:|---:|---|", flush=True)
    for model in models:
        for label, theirs, ours in rows(arguments, benches, model):
            print(row(model, label, *run_pairs(arguments.pairs, theirs, ours)), flush=True)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words = lambda text: text.split(",")
    numbers = lambda text: [int(word) for word in text.split(",")]
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama-bench and llama-batched-bench")
    parser.add_argument("--model", type=pathlib.Path, action="append", help="a GGUF file; may be given again")
    parser.add_argument("--shape", type=words, default=["1.2b"], help="random models: 135m, 1.2b")
    parser.add_argument("--mix", type=words, default=["Q4_K_M", "Q8_0", "BF16"], help="their weights")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=5, help="at least 5 for figures to be published")
    parser.add_argument("--batch", type=numbers, default=[1, 8], help="sequences that decode at once")
    parser.add_argument("--tokens", type=int, default=32, help="tokens decoded by each")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt; 0 leaves prefill out")
    return parser.parse_args()


def build_benches():
    """Builds our benches and returns their programs by name."""
    command = ["cargo", "bench", "--no-run", "--message-format=json", "-p", "engine", "--bench", "decode", "--bench", "prefill"]
    lines = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    messages = (json.loads(line) for line in lines if line.startswith("{"))
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}


def make_model(shape, mix):
    path = MODELS / f"{shape}-{mix}.gguf"
    if not path.exists():
        MODELS.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        maker = ["cargo", "run", "--release", "-q", "-p", "engine", "--example", "make_model", "--"]
        subprocess.run([*maker, shape, mix, partial], cwd=ROOT, check=True, stdout=sys.stderr)
        partial.rename(path)
    return path


def rows(arguments, benches, model):
    """For each row: its label, what runs llama.cpp and what runs ours."""
    threads, tokens = arguments.threads, arguments.tokens
    ours = lambda bench, *options: lambda: our_speed([benches[bench], "--model", model, "--threads", threads, "--repeat", 1, *options])
    llama_bench = [arguments.llama / "llama-bench", "-m", model, "-t", threads, "-r", 1, "-o", "json"]
    for batch in arguments.batch:
        if batch == 1:
            theirs = lambda: llama_speed([*llama_bench, "-p", 0, "-n", tokens])
            yield "decode", theirs, ours("decode", "--batch", 1, "--tokens", tokens)
        else:
            theirs = lambda: llama_batch_speed(arguments, model, batch)
            yield f"decode, {batch} sequences", theirs, ours("decode", "--batch", batch, "--depth", BATCH_PROMPT, "--tokens", tokens)
    if arguments.prompt:
        theirs = lambda: llama_speed([*llama_bench, "-p", arguments.prompt, "-n", 0])
        yield f"prefill of {arguments.prompt}", theirs, ours("prefill", "--tokens", arguments.prompt)


def run_pairs(count, theirs, ours):
    """Runs both `count` times; who goes first turns with every pair."""
    pairs = []
    for index in range(count):
        if index % 2 == 0:
            first = theirs()
            pairs.append((first, ours()))
        else:
            first = ours()
            pairs.append((theirs(), first))
    return [theirs for theirs, _ in pairs], [ours for _, ours in pairs]


def row(model, label, theirs, ours):
    ratios = sorted(our / their for their, our in zip(theirs, ours))
    medians = f"{statistics.median(theirs):.1f} | {statistics.median(ours):.1f} | {statistics.median(ratios):.2f}"
    return f"| {model.stem} | {label} | {medians} | {ratios[0]:.2f} to {ratios[-1]:.2f} |"


def output_of(command):
    words = [str(word) for word in command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def json_lines(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def our_speed(command):
    return json_lines(output_of(command))[-1]["tokens_per_s"]


def llama_speed(command):
    return json.loads(output_of(command))[-1]["avg_ts"]


def llama_batch_speed(arguments, model, batch):
    context = batch * (BATCH_PROMPT + arguments.tokens)
    shape = ["-c", context, "-npp", BATCH_PROMPT, "-ntg", arguments.tokens, "-npl", batch]
    threads = ["-t", arguments.threads, "-tb", arguments.threads]
    command = [arguments.llama / "llama-batched-bench", "-m", model, *threads, *shape, "--output-format", "jsonl"]
    return json_lines(output_of(command))[-1]["speed_tg"]


def cpu_name():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
