"""Scores the chat model on the held-out prompts, through a running server or, with --local, in torch.

    python models/training/chat/evaluate.py --url http://127.0.0.1:5000/v1
    python models/training/chat/evaluate.py --local target/starter-chat/checkpoint.pt

Who uses it: whoever trained a model or changed the server; the server way needs only the standard library.
Invariant: temperature 0, one answer per prompt, and the prompts of dialogues.held_out_prompts, which training never sees.
"""

import argparse
import json
import sys
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dialogues import held_out_prompts
from score import is_right


def ask_server(url: str, model: str, key: str | None, messages: list[dict]) -> str:
    """One answer by POST /chat/completions."""
    body = json.dumps({"model": model, "messages": messages, "temperature": 0, "max_tokens": 200}).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(
        urllib.request.Request(url.rstrip("/") + "/chat/completions", body, headers), timeout=300
    ) as reply:
        return json.load(reply)["choices"][0]["message"]["content"]


def server_answers(args: argparse.Namespace, prompts: list[dict]) -> list[str]:
    """All answers, some at a time."""
    with ThreadPoolExecutor(args.at_once) as pool:
        return list(pool.map(lambda p: ask_server(args.url, args.model, args.api_key, p["messages"]), prompts))


def local_answers(checkpoint: Path, prompts: list[dict]) -> list[str]:
    """All answers by the checkpoint itself, in f32."""
    import torch

    from export import load_checkpoint
    from tokenizer import END, END_OF_TEXT, encode_prompt

    torch.set_num_threads(1)
    model, tokenizer, state = load_checkpoint(checkpoint)
    print(state)
    stop = {tokenizer.token_to_id(END), tokenizer.token_to_id(END_OF_TEXT)}
    return [tokenizer.decode(model.greedy(encode_prompt(tokenizer, p["messages"]), stop)) for p in prompts]


def report(prompts: list[dict], answers: list[str], show: int) -> float:
    """Prints the table and returns the share of right answers."""
    table = defaultdict(lambda: [0, 0])
    shown = defaultdict(int)
    for prompt, answer in zip(prompts, answers, strict=True):
        right = is_right(prompt["check"], answer)
        row = table[prompt["category"]]
        row[0] += right
        row[1] += 1
        if not right and shown[prompt["category"]] < show:
            shown[prompt["category"]] += 1
            print(
                f"[{prompt['category']}] {prompt['messages'][0]['content']!r} ..."
                f" {prompt['messages'][-1]['content']!r}\n    said {answer!r}\n    like {prompt['answer']!r}"
            )
    print(f"\n{'category':<16}{'right':>6}{'of':>5}{'%':>8}")
    for category, (right, of) in table.items():
        print(f"{category:<16}{right:>6}{of:>5}{100 * right / of:>8.1f}")
    right, of = (sum(row[i] for row in table.values()) for i in (0, 1))
    print(f"{'all':<16}{right:>6}{of:>5}{100 * right / of:>8.1f}")
    return right / of


def main() -> int:
    """0 where the bar is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:5000/v1", help="base URL of the server")
    parser.add_argument("--model", default="gpt-4o", help="model name to send")
    parser.add_argument("--api-key")
    parser.add_argument("--at-once", type=int, default=8, help="requests at the same time")
    parser.add_argument("--local", type=Path, metavar="CHECKPOINT", help="evaluate this checkpoint without a server")
    parser.add_argument("--bar", type=float, default=0.95, help="share that must be right for exit status 0")
    parser.add_argument("--show", type=int, default=2, help="wrong answers to show per category")
    args = parser.parse_args()
    prompts = held_out_prompts()
    answers = local_answers(args.local, prompts) if args.local else server_answers(args, prompts)
    return 0 if report(prompts, answers, args.show) >= args.bar else 1


if __name__ == "__main__":
    sys.exit(main())
