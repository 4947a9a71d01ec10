"""Judges one answer by the check that its generator gave.

Who uses it: evaluate.py.
Invariant: judging needs the check and the answer alone, and only the standard library.
"""

import json
import re

from words import MONTHS
from skills import POOLS


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def _holds(text: str, word: str) -> bool:
    return re.search(r"(?<![a-z0-9])" + re.escape(word.casefold()) + r"(?![a-z0-9])", text.casefold()) is not None


def _json(text: str):
    try:
        return json.loads(text)
    except ValueError:
        return None


def _in_group(items: list, group: str, n: int) -> bool:
    allowed = {x.casefold() for x in POOLS[group]} | ({m.casefold() for m in MONTHS} if group == "month" else set())
    seen = [str(x).strip().casefold() for x in items]
    return len(seen) == n == len(set(seen)) and all(x in allowed for x in seen)


def _listed(text: str) -> list[str]:
    if "\n" in text.strip():
        return [re.sub(r"^(\d+\.|-|\*)\s*", "", line) for line in text.strip().splitlines()]
    return text.strip().rstrip(".").split(",")


def is_right(check, answer: str) -> bool:
    """Whether the answer passes its check, a pair (kind, expected):

    number: the last whole number is the expected one. numbers: exactly these, in order. exact: the same text but for
    capitals and white space. starts: begins with this word. keywords: holds all of these. any: holds one of these.
    flag, route: names this one and no other. items: so many different things of a group. json: parses to this value.
    json items: parses to a list (or an object with one key) of so many different things of a group.
    """
    kind, expected = check
    if kind == "number":
        found = re.findall(r"-?\d+", re.sub(r"(?<=\d) - (?=\d)", " minus ", answer))
        return bool(found) and int(found[-1]) == expected
    if kind == "numbers":
        return [int(x) for x in re.findall(r"\d+", answer)] == list(expected)
    if kind == "exact":
        return _plain(answer) == _plain(expected)
    if kind == "starts":
        return _plain(answer).startswith(expected.casefold())
    if kind == "keywords":
        return all(_holds(answer, w) for w in expected)
    if kind == "any":
        return any(w.casefold() in answer.casefold() for w in expected)
    if kind == "flag":
        return set(re.findall(r"--[a-z-]+", answer)) == {expected}
    if kind == "route":
        return re.findall(r"(?:GET|POST) /[\w/{}]*", answer)[:1] == [expected]
    if kind == "items":
        return _in_group(_listed(answer), *expected)
    if kind == "json":
        return _json(answer) == expected
    if kind == "json items":
        group, n, key = expected
        value = _json(answer)
        value = value.get(key) if key and isinstance(value, dict) else value
        return isinstance(value, list) and _in_group(value, group, n)
    raise ValueError(f"unknown check {kind}")
