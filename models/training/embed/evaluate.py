"""How often the right paraphrase ranks first among all of the held-out ones: `python models/training/embed/evaluate.py`.

Reads the exported folder, in f32; with `--url` it asks a running server instead.
Invariant: no wording of these meanings was ever trained on; the texts carry no noise.
"""

import argparse
import json
import urllib.request
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from model import Bert, Config
from pairs import held_out_pairs

FOLDER = Path(__file__).parents[2] / "starter" / "embed"


def load(folder: Path) -> tuple[Tokenizer, Bert]:
    """The exported model."""
    known = Config().as_dict()
    config = Config(**{k: v for k, v in json.loads((folder / "config.json").read_text()).items() if k in known})
    model, saved = Bert(config), load_file(folder / "model.safetensors")
    with torch.no_grad():
        for name, tensor in model.tensors().items():
            tensor.copy_(saved[name])
    return Tokenizer.from_file(str(folder / "tokenizer.json")), model


@torch.no_grad()
def by_torch(folder: Path, texts: list[str]) -> torch.Tensor:
    """Vectors of the exported model."""
    tokenizer, model = load(folder)
    tokenizer.enable_truncation(model.config.max_position_embeddings)
    vectors = []
    for text in texts:
        ids = torch.tensor([tokenizer.encode(text).ids])
        vectors.append(model(ids, torch.ones_like(ids, dtype=torch.bool))[0])
    return torch.stack(vectors)


def by_server(url: str, texts: list[str]) -> torch.Tensor:
    """Vectors of a running server."""
    vectors = []
    for start in range(0, len(texts), 256):
        body = json.dumps({"input": texts[start : start + 256]}).encode()
        request = urllib.request.Request(f"{url}/embeddings", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            vectors += [torch.tensor(item["embedding"]) for item in json.load(answer)["data"]]
    return torch.stack(vectors)


def main() -> None:
    """Prints the share for a few draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--url", help="such as http://127.0.0.1:5000/v1")
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for seed in range(1, args.seeds + 1):
        pairs = held_out_pairs(args.pairs, seed)
        texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
        vectors = by_server(args.url, texts) if args.url else by_torch(args.folder, texts)
        cosines = vectors[: len(pairs)] @ vectors[len(pairs) :].T
        right = torch.arange(len(pairs))
        first = (cosines.argmax(1) == right).float().mean().item()
        five = (cosines.topk(5, dim=1).indices == right[:, None]).any(1).float().mean().item()
        print(f"seed {seed}: of {len(pairs)}, right one first {100 * first:.1f} %, among five {100 * five:.1f} %")
        wrong = [
            (pairs[n].first, pairs[int(cosines[n].argmax())].second)
            for n in range(len(pairs))
            if cosines[n].argmax() != n
        ]
        for query, found in wrong[:5]:
            print(f"    {query!r} found {found!r}")


if __name__ == "__main__":
    main()
