"""Scores texts with lm-evaluation-harness' `local-completions` against a running server, and compares.

Called by the test `sdk::lm_eval` as: harness.py URL FOLDER KEY, where the server runs the toy model in FOLDER. What the
harness makes of the server's answers must be what the server's own log-probabilities add up to, and, where torch is
installed, what transformers computes from the same weights.
Ends with "all passed", or with the first check that failed.
"""

import json
import os
import sys
import urllib.request

URL, FOLDER, KEY = sys.argv[1:4]
os.environ["OPENAI_API_KEY"] = KEY
os.environ["HF_HUB_OFFLINE"] = "1"

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.models.openai_completions import LocalCompletionsAPI  # noqa: E402

CONTEXT_TOKENS = 256
TOLERANCE = 1e-3
PAIRS = [
    ("Once upon a time", " there was a fox"),
    ("The capital of", " France is Paris, and of Spain it is Madrid."),
    ("a", "b"),
    ("w\u00f6rld \u2603", " \u65e5\u672c\u8a9e"),
    ("x " * 60, "y"),
    ("", "An empty context is the begin token."),
]
TEXTS = ["A whole text is scored from its first token on.", "one", "z " * 400]


def ask(path, body=None):
    headers = {"Authorization": "Bearer " + KEY, "Content-Type": "application/json"}
    request = urllib.request.Request(URL + path, body and json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def harness(batch_size):
    return LocalCompletionsAPI(
        model=ask("/v1/models")["data"][0]["id"],
        base_url=URL + "/v1/completions",
        tokenizer=FOLDER,
        tokenizer_backend="huggingface",
        max_length=CONTEXT_TOKENS,
        batch_size=batch_size,
        num_concurrent=1,
        max_retries=1,
    )


def instances(kind, arguments):
    return [Instance(request_type=kind, doc={}, arguments=one, idx=index) for index, one in enumerate(arguments)]


def own_scores(tokens):
    """The server's log-probabilities of all tokens but the first, and which of them are the likeliest."""
    body = {"prompt": tokens, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
    logprobs = ask("/v1/completions", body)["choices"][0]["logprobs"]
    lists = [logprobs[name] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")]
    assert all(len(one) == len(tokens) for one in lists), [len(one) for one in lists]
    assert logprobs["token_logprobs"][0] is None and logprobs["top_logprobs"][0] is None
    assert logprobs["text_offset"] == sorted(logprobs["text_offset"])
    pairs = list(zip(logprobs["token_logprobs"], logprobs["top_logprobs"]))[1:]
    return [logprob for logprob, _ in pairs], [logprob == max(top.values()) for logprob, top in pairs]


def transformers_scores():
    """The same by transformers; none where torch is not installed."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("torch is not installed: scores are not compared with transformers")
        return None
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()

    def scores(tokens):
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0, :-1]
        following = torch.tensor(tokens[1:])
        logprobs = torch.log_softmax(logits, -1)[range(len(following)), following]
        return logprobs.tolist(), (logits.argmax(-1) == following).tolist()

    return scores


def close(found, wanted, what):
    assert abs(found - wanted) < TOLERANCE, f"{what}: {found} instead of {wanted}"


def main():
    references = [own_scores] + [scores for scores in [transformers_scores()] if scores]
    for batch_size in (1, 4):
        model = harness(batch_size)
        begin = model.prefix_token_id
        scored = model.loglikelihood(instances("loglikelihood", PAIRS))
        for (context, continuation), (total, greedy) in zip(PAIRS, scored):
            if context:
                context_tokens, tokens = model._encode_pair(context, continuation)
            else:
                context_tokens, tokens = [begin], model.tok_encode(continuation)
            for reference in references:
                logprobs, likeliest = reference(context_tokens + tokens)
                close(total, sum(logprobs[-len(tokens):]), f"{context[:20]!r} {continuation!r}")
                assert greedy == all(likeliest[-len(tokens):]), (context, continuation)
        rolled = model.loglikelihood_rolling(instances("loglikelihood_rolling", [(text,) for text in TEXTS]))
        for text, total in zip(TEXTS[:2], rolled):
            for reference in references:
                close(total, sum(reference([begin] + model.tok_encode(text))[0]), repr(text))
        # Longer than the context: the harness cuts it into windows; every token is scored once.
        assert len(rolled) == len(TEXTS) and rolled[2] < 0
    print("all passed")


main()
