"""Word errors and exact sentences.

Who uses it: heldout.py, evaluate.py.
Invariant: judged are words: lower case, without punctuation; "7:30" stays one word.
"""

import re


def words(text: str) -> list[str]:
    """The words of a text as they are compared."""
    return re.sub(r"[^\w\s:']|_|:(?!\d)", " ", text.lower()).split()


def word_errors(truth: str, answer: str) -> tuple[int, int]:
    """Substitutions, insertions and deletions on the shortest way, and the number of true words."""
    right, given = words(truth), words(answer)
    row = list(range(len(given) + 1))
    for at, word in enumerate(right, 1):
        before, row[0] = row[0], at
        for other, guess in enumerate(given, 1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (word != guess))
    return row[-1], len(right)


def error_rate(pairs: list[tuple[str, str]]) -> float:
    """Word errors by true words over (truth, answer)."""
    counts = [word_errors(truth, answer) for truth, answer in pairs]
    return sum(errors for errors, _ in counts) / max(1, sum(total for _, total in counts))


def exact_rate(pairs: list[tuple[str, str]]) -> float:
    """The share of pairs that have the same words."""
    return sum(words(truth) == words(answer) for truth, answer in pairs) / max(1, len(pairs))
