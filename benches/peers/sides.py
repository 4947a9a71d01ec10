"""Programs set beside each other: each a process that obeys lines and answers with JSON, measured by turns.

whisper.py and translate.py call it. The first round of every row is not counted; ratios are medians of pairs of neighbours in time.
"""
import json
import pathlib
import statistics
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = "Lampstand q8_0"
# A library's threads may spin on for a while after its work.
REST_SECONDS = 0.3


class Side:
    """A process that obeys lines."""

    def __init__(self, *command):
        words = [str(word) for word in command]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args[0]} ended at `{line}`")
        return json.loads(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def rounds(pairs, sides, measure, cost):
    """Measures all sides by turns, the first round not counted; yields name, median, ratio of ours and the last answer."""
    costs, answers = {name: [] for name in sides}, {}
    for number in range(pairs + 1):
        for name, side in sides.items() if number % 2 else reversed(sides.items()):
            time.sleep(REST_SECONDS)
            answers[name] = measure(name, side)
            if number:
                costs[name].append(cost(answers[name]))
    for name in sides:
        neighbours = zip(costs[name], costs.get(OURS, costs[name]))
        ratio = statistics.median(theirs / ours for theirs, ours in neighbours)
        yield name, statistics.median(costs[name]), ratio, answers[name]


def wanted(starts, makers):
    """Starts the sides whose names begin so, or all; `makers` makes each by its name."""
    return {name: make() for name, make in makers.items() if name.startswith(tuple(starts or [""]))}


def build(words, name):
    """Has cargo build one of our programs; its path."""
    done = subprocess.run(["cargo", *words, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return next(line["executable"] for line in found if line.get("executable") and line["target"]["name"] == name)
