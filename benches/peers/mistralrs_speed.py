#!/usr/bin/env python3
"""Tokens per second of mistral.rs, through its Python package: mistralrs_speed.py FILE.gguf decode|prefill TOKENS.

compare.py runs it with the Python that is given to --mistralrs. The figures are mistral.rs' own accounting.
"""
import json
import pathlib
import sys

from mistralrs import CompletionRequest, Runner, Which


def main():
    path, work, tokens = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], int(sys.argv[3])
    which = Which.GGUF(quantized_model_id=str(path.parent), quantized_filename=path.name)
    runner = Runner(which=which, no_paged_attn=True, prefix_cache_n=0)
    # The random models' tokenizer makes about a token of each of these words.
    words, answer = (tokens, 1) if work == "prefill" else (1, tokens)
    usage = None
    # The first one warms up.
    for _ in range(2):
        request = CompletionRequest(model="default", prompt="the" + " the" * (words - 1), max_tokens=answer, temperature=0.0)
        usage = runner.send_completion_request(request).usage
    speed = usage.avg_prompt_tok_per_sec if work == "prefill" else usage.avg_compl_tok_per_sec
    print(json.dumps({"tokens_per_s": speed, "prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}))


if __name__ == "__main__":
    main()
