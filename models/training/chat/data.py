"""Endless batches for training: dialogues and plain texts, made in a process of their own, bucketed by length.

Who uses it: train.py.
Invariant: pool number n of a seed is always the same, so a resumed run goes on where it stopped.
"""

import multiprocessing
import queue as queues
import random

import numpy as np
from tokenizers import Tokenizer

from dialogues import training_dialogue
from plain_text import document
from tokenizer import END, encode_dialogue

POOL = 2048  # dialogues that are sorted by length together
PLAIN_SHARE = 0.06
LONG_SHARE = 0.015  # dialogues that fill the whole context: about a sixth of the tokens


def _turns(rng: random.Random) -> int:
    return rng.choice((1, 1, 1, 2, 2, 3, 3, 4, 5, 6)) if rng.random() < 0.93 else rng.randint(7, 12)


def sample(rng: random.Random, tokenizer: Tokenizer, context: int) -> tuple[list[int], list[int]]:
    """One training text, at most `context` tokens, and the mask of what counts."""
    if rng.random() < PLAIN_SHARE:
        ids = tokenizer.encode(document(rng), add_special_tokens=False).ids + [tokenizer.token_to_id(END)]
        return ids[:context], [1] * len(ids[:context])
    turns = rng.randint(24, 40) if rng.random() < LONG_SHARE else _turns(rng)
    system, exercises = training_dialogue(rng, turns)
    ids, mask = encode_dialogue(tokenizer, system, [(e.user, e.answer) for e in exercises])
    return ids[:context], mask[:context]


def tokenizer_texts(seed: int, count: int = 12000):
    """Texts for the tokenizer's training."""
    rng = random.Random(f"{seed} tokenizer")
    for _ in range(count):
        system, exercises = training_dialogue(rng, 3)
        yield "\n".join(([system] if system else []) + [t for e in exercises for t in (e.user, e.answer)])
        yield document(rng)


def pool_batches(seed: int, number: int, tokenizer: Tokenizer, context: int, batch_tokens: int):
    """The batches of one pool: ids and labels (-100 where nothing counts), each about `batch_tokens` large."""
    rng = random.Random(f"{seed} pool {number}")
    samples = sorted((sample(rng, tokenizer, context) for _ in range(POOL)), key=lambda s: len(s[0]))
    batches, group = [], []
    for one in samples:
        if group and len(one[0]) * (len(group) + 1) > batch_tokens:
            batches.append(group)
            group = []
        group.append(one)
    batches.append(group)
    rng.shuffle(batches)
    for group in batches:
        width = max(len(ids) for ids, _ in group)
        width = -(-width // 16) * 16
        ids = np.zeros((len(group), width), np.int64)
        labels = np.full((len(group), width), -100, np.int64)
        for row, (tokens, mask) in enumerate(group):
            ids[row, : len(tokens)] = tokens
            shifted = np.where(np.array(mask[1:]) == 1, tokens[1:], -100)
            labels[row, : len(tokens) - 1] = shifted
        yield ids, labels


def _work(queue, seed, first, step, tokenizer_json, context, batch_tokens):
    tokenizer = Tokenizer.from_str(tokenizer_json)
    number = first
    while True:
        for ids, labels in pool_batches(seed, number, tokenizer, context, batch_tokens):
            while True:
                if not multiprocessing.parent_process().is_alive():
                    return
                try:
                    queue.put((number, ids, labels), timeout=5)
                    break
                except queues.Full:
                    continue
        number += step


def batches(seed: int, first_pool: int, tokenizer: Tokenizer, context: int, batch_tokens: int, pool_step: int = 1):
    """Yields (pool number, ids, labels) for ever; the process that makes them ends with this one."""
    queue = multiprocessing.Queue(maxsize=24)
    process = multiprocessing.Process(
        target=_work, args=(queue, seed, first_pool, pool_step, tokenizer.to_str(), context, batch_tokens), daemon=True
    )
    process.start()
    while True:
        yield queue.get()
