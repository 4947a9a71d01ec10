#!/usr/bin/env python3
"""Runs llama.cpp and Lampstand by turns on the same files and prints medians and ratios as Markdown.

See README.md beside this file for what is compared. Needs nothing but the standard library.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import serving

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "target" / "random-models"
# llama-batched-bench reads a short prompt before it decodes; ours starts at the same depth.
BATCH_PROMPT = 16
# What one sequence of the random models can hold.
LONG_CONTEXT = 8192
ROWS = {
    "decode": "one sequence",
    "decode-8": "8 sequences in total; so any number",
    "prefill": "a prompt of --prompt tokens",
    "prefill-8k": f"a prompt of {LONG_CONTEXT}",
    "decode-8k": f"one sequence, the last tokens of a context of {LONG_CONTEXT}",
    "http": "requests per second of 16 clients",
    "start-warm": "seconds from a cold process to the first token, files in memory",
    "start-cold": "the same, files on disk",
}
DEFAULT_ROWS = "decode,decode-8,decode-16,decode-32,prefill,prefill-8k,decode-8k,http,start-warm,start-cold"


def main():
    arguments = read_arguments()
    busy = os.getloadavg()[0] > 0.5
    programs = build(arguments)
    models = arguments.model or [make_model(shape, mix) for shape in arguments.shape for mix in arguments.mix]
    if busy:
        print("The machine is busy: these ratios will say more about its other work.", file=sys.stderr)
    print(f"{cpu_name()}, {arguments.threads} threads, {arguments.pairs} pairs a row\n", flush=True)
    third = " mistral.rs |" if arguments.mistralrs else ""
    print(f"| model | work | llama.cpp | Lampstand | ratio | range |{third}")
    print("|---|---|---:|---:|---:|---|" + ("---:|" if third else ""), flush=True)
    for model in models:
        for name in arguments.rows:
            print(measure(arguments, programs, model, name), flush=True)


def read_arguments():
    kinds = "\n".join(f"  {name:11} {what}" for name, what in ROWS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"rows:\n{kinds}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = lambda text: text.split(",")
    parser.add_argument("--llama", type=pathlib.Path, required=True, help="folder of llama-bench and its sisters")
    parser.add_argument("--model", type=pathlib.Path, action="append", help="a GGUF file; may be given again")
    parser.add_argument("--shape", type=words, default=["1.2b"], help="random models: 135m, 1.2b")
    parser.add_argument("--mix", type=words, default=["Q4_K_M", "Q4_0", "Q8_0", "BF16"], help="their weights")
    parser.add_argument("--rows", type=words, default=words(DEFAULT_ROWS), help=f"default: {DEFAULT_ROWS}")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--pairs", type=int, default=5, help="at least 5 for figures to be published")
    parser.add_argument("--tokens", type=int, default=32, help="tokens decoded by each sequence")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of the prompt of the row `prefill`")
    parser.add_argument("--rounds", type=int, default=2, help="requests of each client in the row `http`")
    parser.add_argument("--tier", help="ours by these instructions only, such as avx2; build llama.cpp without the others")
    parser.add_argument("--mistralrs", type=pathlib.Path, help="a Python that has the package mistralrs: a third column")
    return parser.parse_args()


def build(arguments):
    """Builds what the rows need and returns our programs by name."""
    benches = ["--bench", "decode", "--bench", "prefill"]
    programs = executables(["cargo", "bench", "--no-run", "-p", "engine", *benches])
    if any(name == "http" or name.startswith("start") for name in arguments.rows):
        programs |= executables(["cargo", "build", "--release", "-p", "api", "--bin", "lampstand"])
    return programs


def executables(command):
    done = subprocess.run([*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    messages = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
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


def measure(arguments, programs, model, name):
    """One row of the table."""
    with contextlib.ExitStack() as open_servers:
        label, theirs, ours = row(arguments, programs, model, name, open_servers)
        pairs = run_pairs(arguments.pairs, theirs, ours)
    seconds = name.startswith("start")
    # Above 1 we are faster: more per second, or fewer seconds.
    ratios = sorted(their / our if seconds else our / their for their, our in pairs)
    digits = 2 if seconds or name == "http" else 1
    medians = [f"{statistics.median(side):.{digits}f}" for side in zip(*pairs)]
    line = f"| {model.stem} | {label} | {medians[0]} | {medians[1]} | {statistics.median(ratios):.2f} "
    line += f"| {ratios[0]:.2f} to {ratios[-1]:.2f} |"
    return line + (third_column(arguments, model, name) if arguments.mistralrs else "")


def row(arguments, programs, model, name, open_servers):
    """The row's label, what runs llama.cpp and what runs ours; each call returns one figure."""
    threads, tokens = arguments.threads, arguments.tokens
    tier = ["--tier", arguments.tier] if arguments.tier else []
    shared = ["--model", model, "--threads", threads, "--repeat", 1, *tier]
    ours = lambda bench, *options: lambda: our_speed([programs[bench], *shared, *options])
    bench = [arguments.llama / "llama-bench", "-m", model, "-t", threads, "-r", 1, "-o", "json"]
    theirs = lambda *options: lambda: llama_speed([*bench, *options])
    if name == "decode":
        return "decode, tokens/s", theirs("-p", 0, "-n", tokens), ours("decode", "--batch", 1, "--tokens", tokens)
    if name == "prefill":
        prompt = arguments.prompt
        return f"prefill of {prompt}, tokens/s", theirs("-p", prompt, "-n", 0), ours("prefill", "--tokens", prompt)
    if name == "prefill-8k":
        # Warming up would read the long prompt twice.
        long = theirs("-p", LONG_CONTEXT, "-n", 0, "--no-warmup")
        return f"prefill of {LONG_CONTEXT}, tokens/s", long, ours("prefill", "--tokens", LONG_CONTEXT)
    if name == "decode-8k":
        depth = LONG_CONTEXT - tokens
        deep = ours("decode", "--batch", 1, "--depth", depth, "--tokens", tokens)
        return f"decode after {depth}, tokens/s", theirs("-p", 0, "-n", tokens, "-d", depth), deep
    if name.startswith("decode-"):
        batch = int(name.removeprefix("decode-"))
        many = ours("decode", "--batch", batch, "--depth", BATCH_PROMPT, "--tokens", tokens)
        return f"decode, {batch} sequences, tokens/s", lambda: llama_batch_speed(arguments, model, batch), many
    sides = [serving.llama_cpp(arguments.llama, model, threads), serving.lampstand(programs["lampstand"], model, threads)]
    if name == "http":
        load = serving.Load(arguments.rounds)
        addresses = [open_servers.enter_context(side.running(serving.CLIENTS)) for side in sides]
        theirs, ours = (lambda address=address: load.requests_per_s(address) for address in addresses)
        return "HTTP, 16 clients, requests/s", theirs, ours
    if name in ("start-warm", "start-cold"):
        cold = name == "start-cold"
        theirs, ours = (lambda side=side: side.seconds_to_first_token(cold) for side in sides)
        return f"first token after start, {'files on disk' if cold else 'files in memory'}, s", theirs, ours
    sys.exit(f"no row is called {name}")


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
    return pairs


def third_column(arguments, model, name):
    """mistral.rs, once and after the pairs: it is far enough away that turns do not matter."""
    if name not in ("decode", "prefill"):
        return " |"
    script = pathlib.Path(__file__).with_name("mistralrs_speed.py")
    tokens = arguments.prompt if name == "prefill" else arguments.tokens
    speed = our_speed(["env", f"RAYON_NUM_THREADS={arguments.threads}", arguments.mistralrs, script, model, name, tokens])
    return f" {speed:.1f} |"


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
