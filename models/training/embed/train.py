"""Trains the starter sentence encoder and exports it: `python models/training/embed/train.py --out models/starter/embed`.

Who uses it: people who want to make the model anew; it runs on the GPU if there is one, else on the CPU.
The two texts of a pair are drawn together and all other texts of the batch apart (InfoNCE, both ways). The length is given
in steps, or in minutes (`--minutes`) on a machine whose speed varies. A run that was stopped goes on from its last checkpoint.
Invariant: no wording of a held-out meaning comes out of pairs.py for training.
"""

import argparse
import math
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from export import write_folder
from model import Bert, Config
from pairs import training_pair
from tokenizer import train_tokenizer


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--work", type=Path, default=Path("target/starter-embed"), help="folder for checkpoints")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--minutes", type=float, help="plan the schedule by minutes of training instead of steps")
    parser.add_argument("--batch", type=int, default=160, help="pairs of one step")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--temperature", type=float, default=0.05, help="divides the cosines")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-minutes", type=float, default=3)
    return parser.parse_args()


def encode(model: Bert, tokenizer: Tokenizer, texts: list[str], rng: random.Random, device: str) -> torch.Tensor:
    """One vector for each text. Texts of like length go together, which saves padding; the first position is drawn, so
    that late ones learn too."""
    rows = [torch.tensor(encoding.ids) for encoding in tokenizer.encode_batch(texts)]
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    parts = []
    for start in range(0, len(order), 128):
        part = order[start : start + 128]
        ids = torch.nn.utils.rnn.pad_sequence([rows[at] for at in part], batch_first=True).to(device)
        mask = ids != 0
        free = model.config.max_position_embeddings - ids.shape[1]
        first_position = rng.randint(0, free) if rng.random() < 0.4 else 0
        with torch.autocast(device, torch.bfloat16):
            parts.append(model(ids, mask, first_position))
    back = torch.tensor(order).argsort()
    return torch.cat(parts)[back.to(device)]


def contrast(firsts: torch.Tensor, seconds: torch.Tensor, meanings: list[str], temperature: float) -> torch.Tensor:
    """InfoNCE both ways; pairs of one meaning are left out as each other's negatives."""
    logits = firsts @ seconds.T / temperature
    numbers = {meaning: number for number, meaning in enumerate(dict.fromkeys(meanings))}
    same = torch.tensor([numbers[meaning] for meaning in meanings], device=logits.device)
    twins = (same[:, None] == same[None, :]) & ~torch.eye(len(meanings), dtype=torch.bool, device=logits.device)
    logits = logits.masked_fill(twins, -1e4)
    right = torch.arange(len(meanings), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def learning_rate(progress: float, step: int, peak: float) -> float:
    """Warm-up by steps, then a cosine down to 2 %."""
    return peak * min(1.0, (step + 1) / 60) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def start(args: argparse.Namespace, device: str):
    """Tokenizer, model, optimizer and state: new, or those of the checkpoint."""
    checkpoint = args.work / "checkpoint.pt"
    state = {"step": 0, "seconds": 0.0}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.exists() else None
    if saved:
        tokenizer, config, state = Tokenizer.from_str(saved["tokenizer"]), Config(**saved["config"]), saved["state"]
    else:
        rng, config = random.Random(f"tokenizer {args.seed}"), Config()
        texts = (text for _ in range(60_000) for text in training_pair(rng)[:2])
        tokenizer = train_tokenizer(texts, config.vocab_size, config.max_position_embeddings)
        config.vocab_size = tokenizer.get_vocab_size()
    model = Bert(config).to(device)
    if saved:
        model.load_state_dict(saved["model"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    return tokenizer, model, optimizer, state


def save(path: Path, tokenizer: Tokenizer, model: Bert, optimizer, state: dict) -> None:
    """Writes the checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    content = {"config": model.config.as_dict(), "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content | {"state": state, "tokenizer": tokenizer.to_str()}, partial)
    partial.replace(path)


def main() -> None:
    """Trains and exports."""
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, model, optimizer, state = start(args, device)
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}, from {state}", flush=True)
    began, saved, progress, losses = time.time() - state["seconds"], time.time(), 0.0, []
    while progress < 1:
        step = state["step"]
        rng = random.Random(f"{args.seed} {step}")
        pairs = [training_pair(rng) for _ in range(args.batch)]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, step, args.lr)
        texts = [pair.first for pair in pairs] + [pair.second for pair in pairs]
        vectors = encode(model, tokenizer, texts, rng, device)
        meanings = [pair.meaning for pair in pairs]
        loss = contrast(vectors[: args.batch], vectors[args.batch :], meanings, args.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        seconds = time.time() - began
        state.update(step=step + 1, seconds=seconds)
        progress = seconds / 60 / args.minutes if args.minutes else state["step"] / args.steps
        if state["step"] % 20 == 0:
            mean = sum(losses) / len(losses)
            print(f"step {state['step']} {seconds:.0f} s progress {progress:.3f} loss {mean:.4f}", flush=True)
            losses.clear()
        if time.time() - saved > args.save_minutes * 60:
            save(args.work / "checkpoint.pt", tokenizer, model, optimizer, state)
            saved = time.time()
    save(args.work / "checkpoint.pt", tokenizer, model, optimizer, state)
    size = write_folder(args.out, model, tokenizer)
    print(f"wrote {args.out}, {size / 1e6:.2f} MB, {state}", flush=True)


if __name__ == "__main__":
    main()
