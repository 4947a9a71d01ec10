"""Trains the starter chat model and exports it: `python models/training/chat/train.py --out models/starter/chat`.

Who uses it: people who want to make the model anew; it runs on the GPU if there is one, else on the CPU.
Everything is seeded; the length is given in tokens, or in minutes (`--minutes`) on a machine whose speed varies. A run
that was stopped goes on from its last checkpoint.
Invariant: only answers (and plain texts) carry loss; a held-out prompt never comes out of data.py.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path

import torch
import torch.distributed
import torch.nn.functional as F
from tokenizers import Tokenizer

import data
from export import write_gguf
from model import Config, Llama
from tokenizer import train_tokenizer

FILE_NAME = "lampstand-starter-chat.Q8_0.gguf"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the GGUF")
    parser.add_argument("--work", type=Path, default=Path("target/starter-chat"), help="folder for checkpoints")
    parser.add_argument("--tokens", type=float, default=27e6, help="tokens to train on (padding included)")
    parser.add_argument("--minutes", type=float, help="plan the schedule by minutes of training instead of tokens")
    parser.add_argument("--batch-tokens", type=int, default=6144, help="of all processes together")
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, help="default: 2 on a CPU, one on a GPU")
    parser.add_argument(
        "--threads", type=int, default=1, help="of each process; several processes beat several threads"
    )
    parser.add_argument("--no-compile", action="store_true", help="do without torch.compile (it needs a C++ compiler)")
    parser.add_argument("--save-minutes", type=float, default=4)
    return parser.parse_args()


def optimizers(model: Llama) -> list[torch.optim.Optimizer]:
    """Muon for the matrices, AdamW for the embedding and the norms."""
    matrices = [p for p in model.layers.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=1.0, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def learning_rate(progress: float, step: int, peak: float) -> float:
    """Warm-up by steps, flat, then a cosine down to 2 % over the last 60 %."""
    down = 1.0 if progress < 0.4 else 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.4) / 0.6)))
    return peak * min(1.0, (step + 1) / 100) * down


def save(path: Path, model: Llama, opts, state: dict, tokenizer: Tokenizer) -> None:
    """Writes the checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "config": model.config.as_dict(),
            "model": model.state_dict(),
            "optimizers": [o.state_dict() for o in opts],
            "state": state,
            "tokenizer": tokenizer.to_str(),
        },
        partial,
    )
    partial.replace(path)


def average(model: Llama, progress: float, processes: int) -> float:
    """Averages the gradients over the processes; all of them get the progress that process 0 gave."""
    if processes == 1:
        return progress
    grads = [p.grad for p in model.parameters()]
    flat = torch.cat([g.reshape(-1) for g in grads] + [torch.tensor([progress])])
    torch.distributed.all_reduce(flat)
    at = 0
    for g in grads:
        g.copy_(flat[at : at + g.numel()].view_as(g) / processes)
        at += g.numel()
    return float(flat[-1])


def start(args: argparse.Namespace, device: str):
    """Tokenizer, model, optimizers and state: new, or those of the checkpoint."""
    checkpoint = args.work / "checkpoint.pt"
    state = {"step": 0, "tokens": 0, "seconds": 0.0, "pool": 0}
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.exists() else None
    if saved:
        tokenizer, config, state = Tokenizer.from_str(saved["tokenizer"]), Config(**saved["config"]), saved["state"]
    else:
        config = Config()
        tokenizer = train_tokenizer(data.tokenizer_texts(args.seed), config.vocab_size)
    model = Llama(config)
    if saved:
        model.load_state_dict(saved["model"])
    model.to(device)
    opts = optimizers(model)
    if saved:
        for opt, old in zip(opts, saved["optimizers"], strict=True):
            opt.load_state_dict(old)
    return tokenizer, model, opts, state


def train_step(
    model: Llama, hidden_states, opts, ids, labels, set_rate, progress: float, processes: int
) -> tuple[float, float]:
    """One step of all processes; returns this one's loss and the common progress."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = hidden_states(ids)
        keep = labels >= 0
        logits = model.logits(hidden[keep])
    loss = F.cross_entropy(logits.float(), labels[keep])
    loss.backward()
    progress = average(model, progress, processes)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    rate = set_rate(progress)
    for opt in opts:
        for group in opt.param_groups:
            group["lr"] = rate
        opt.step()
        opt.zero_grad(set_to_none=True)
    return loss.item(), progress


def run(rank: int, args: argparse.Namespace, meeting: str) -> None:
    """One process of the training; process 0 keeps the checkpoint and exports at the end."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if args.processes > 1:
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=args.processes)
    tokenizer, model, opts, state = start(args, device)
    hidden_states = model.hidden if args.no_compile else torch.compile(model.hidden, dynamic=True)
    if rank == 0:
        print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}, from {state}", flush=True)

    began, last_save, last_log = time.time() - state["seconds"], time.time(), time.time()
    total = count = tokens_logged = 0.0
    set_rate = lambda progress: learning_rate(progress, state["step"], args.lr)
    for pool, ids, labels in data.batches(
        args.seed,
        state["pool"] + rank,
        tokenizer,
        model.config.context,
        args.batch_tokens // args.processes,
        args.processes,
    ):
        seconds = time.time() - began
        progress = seconds / 60 / args.minutes if args.minutes else state["tokens"] / args.tokens
        ids, labels = torch.from_numpy(ids).to(device), torch.from_numpy(labels).to(device)
        loss, progress = train_step(
            model, hidden_states, opts, ids, labels, set_rate, progress if rank == 0 else 0.0, args.processes
        )
        seen = ids.numel() * args.processes
        state.update(step=state["step"] + 1, tokens=state["tokens"] + seen, seconds=seconds, pool=pool - rank)
        total, count, tokens_logged = total + loss, count + 1, tokens_logged + seen
        if progress >= 1:
            break
        if rank == 0 and state["step"] % 50 == 0:
            now = time.time()
            print(
                f"step {state['step']} tokens {state['tokens'] / 1e6:.2f}M progress {progress:.3f} loss"
                f" {total / count:.4f} {tokens_logged / (now - last_log):.0f} tok/s",
                flush=True,
            )
            total, count, tokens_logged, last_log = 0.0, 0, 0, now
        if rank == 0 and time.time() - last_save > args.save_minutes * 60:
            save(args.work / "checkpoint.pt", model, opts, state, tokenizer)
            last_save = time.time()
    if rank == 0:
        save(args.work / "checkpoint.pt", model, opts, state, tokenizer)
        size = write_gguf(args.out / FILE_NAME, model, tokenizer)
        print(f"wrote {args.out / FILE_NAME}, {size / 1e6:.2f} MB, {state}", flush=True)


def main() -> None:
    """Starts the processes."""
    args = arguments()
    args.processes = args.processes or (1 if torch.cuda.is_available() else 2)
    if args.processes == 1:
        run(0, args, "")
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting = (Path(folder) / "meeting").as_uri()
        torch.multiprocessing.spawn(run, (args, meeting), args.processes)


if __name__ == "__main__":
    main()
