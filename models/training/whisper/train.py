"""Trains the starter speech model and exports it: `python models/training/whisper/train.py --out models/starter/whisper`.

Who uses it: people who want to make the model anew. Speech is made while the model learns, by processes of their own; when
they are behind, an older batch is learnt again. The length is given in minutes. First single sentences in short windows
(crops that may lie anywhere in the ten seconds), then more and more whole windows. A stopped run goes on from its last checkpoint.
Invariant: no held-out sentence and no held-out voice comes out of windows.py.
"""

import argparse
import itertools
import multiprocessing
import os
import queue
import random
import threading
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from export import write_folder
from heldout import Judge, held_out_set
from model import Config, Whisper
from tokenizer import train_tokenizer
from windows import Batch, IGNORED, Ids, Maker, phoneme_names

OLD_BATCHES_MAX = 1200
PAUSE_SECONDS = 3.0
TIME_SPREAD = 2.0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    parser.add_argument("--work", type=Path, default=Path("target/starter-whisper"), help="folder for checkpoints")
    parser.add_argument("--minutes", type=float, default=90, help="of training on this machine")
    parser.add_argument("--batch", type=int, default=32, help="sentences of one step; whole windows are half as many")
    parser.add_argument("--pieces", type=int, default=1024, help="of the vocabulary, without special tokens")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--makers", type=int, default=2, help="processes that make speech")
    parser.add_argument("--evaluate-minutes", type=float, default=4)
    return parser.parse_args()


def make(tokenizer: str, phonemes: list[str], seed: str, count: int, progress, out) -> None:
    """Sends batches for ever; what they are depends on how far the training is."""
    os.nice(5)
    rng, maker = random.Random(seed), Maker(Tokenizer.from_str(tokenizer), phonemes, seed)
    while True:
        done, kind = progress.value, rng.random()
        whole = 0.0 if done < 0.04 else 0.05 if done < 0.4 else 0.15 if done < 0.6 else 0.25 if done < 0.8 else 0.4
        middle = 0.0 if done < 0.1 else 0.1 if done < 0.4 else 0.2
        if kind < whole:
            out.send(maker.long_batch(count // 2, 500))
        elif kind < whole + middle:
            out.send(maker.long_batch(count // 2, rng.randrange(200, 420, 20)))
        # Four batches come at once, so this is drawn a quarter as often as the others.
        elif rng.random() < 0.25:
            for batch in maker.short_batch(count):
                out.send(batch)


class Source:
    """Batches: new ones if there are any, else old ones. A maker that ends (espeak-ng may crash) is followed by another."""

    def __init__(self, args, tokenizer: Tokenizer, phonemes: list[str], step: int) -> None:
        self.context = multiprocessing.get_context("spawn")
        self.progress, self.new = self.context.Value("d", 0.0), queue.Queue(60)
        self.old: list[Batch] = []
        self.rng, self.repeated = random.Random(args.seed), 0
        for number in range(args.makers):
            given = (tokenizer.to_str(), phonemes, f"{args.seed} {step} {number}", args.batch)
            threading.Thread(target=self._receive, args=given, daemon=True).start()

    def _receive(self, tokenizer: str, phonemes: list[str], seed: str, count: int) -> None:
        for life in itertools.count():
            receiver, sender = self.context.Pipe(duplex=False)
            given = (tokenizer, phonemes, f"{seed} {life}", count, self.progress, sender)
            process = self.context.Process(target=make, args=given, daemon=True)
            process.start()
            # Only the maker holds this end, so that its death ends the pipe.
            sender.close()
            try:
                while True:
                    self.new.put(receiver.recv())
            except (EOFError, OSError):
                process.join()
                print(f"maker {seed} ended with {process.exitcode}", flush=True)

    def next(self) -> Batch:
        """A batch."""
        try:
            batch = self.new.get(timeout=None if len(self.old) < 40 else 0.02)
        except queue.Empty:
            self.repeated += 1
            return self.rng.choice(self.old)
        if len(self.old) < OLD_BATCHES_MAX:
            self.old.append(batch)
        else:
            self.old[self.rng.randrange(OLD_BATCHES_MAX)] = batch
        return batch


def guide_loss(attention: list[torch.Tensor], heard: torch.Tensor) -> torch.Tensor:
    """Draws the first head of every layer to where the next word is: anywhere in it in the lowest layer, evenly over it in
    the others, whose borders then show where words begin."""
    rows, columns = torch.nonzero(heard[..., 0] >= 0, as_tuple=True)
    if not len(rows):
        return torch.zeros((), device=heard.device)
    first, last = heard[rows, columns, 0:1], heard[rows, columns, 1:2]
    positions = torch.arange(attention[0].shape[-1], device=heard.device)[None]
    near = ((positions >= first - 1.5) & (positions <= last + 1.5)).float()
    inside = ((positions >= first - 0.5) & (positions <= last - 0.5)).float()
    inside = inside / inside.sum(-1, keepdim=True).clamp(min=1)
    total = -((attention[0][rows, 0, columns].float() * near).sum(-1) + 1e-4).log().mean()
    for weights in attention[1:]:
        total = total - ((weights[rows, 0, columns].float() + 1e-4).log() * inside).sum(-1).mean()
    return total / len(attention)


def time_loss(logits: torch.Tensor, times: torch.Tensor, first_time: int) -> torch.Tensor:
    """Cross-entropy of times, where near ones count as nearly right: a bell of two positions, normalised."""
    if not len(times):
        return logits.sum() * 0
    distance = torch.arange(logits.shape[1] - first_time, device=logits.device)[None] - times[:, None]
    wanted = torch.softmax(-(distance**2) / (2 * TIME_SPREAD**2), -1)
    return -(wanted * F.log_softmax(logits, -1)[:, first_time:]).sum(-1).mean()


def losses(model: Whisper, batch: Batch, ids: Ids, device: str) -> dict[str, torch.Tensor]:
    """Words, times, phonemes, and where the first heads look."""
    with torch.autocast(device, torch.bfloat16):
        source = model.encoder(torch.from_numpy(batch.mel).to(device, torch.bfloat16), batch.first_position)
        source = source.to(torch.bfloat16)
        logits, attention = model.logits(torch.from_numpy(batch.tokens).to(device), source)
        phonemes = model.phoneme(source)
    labels = torch.from_numpy(batch.labels).to(device)
    each = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none").view(labels.shape)
    is_time, is_word = labels >= ids.first_time, (labels >= 0) & (labels < ids.first_time)
    return {
        "words": (each * is_word).sum() / is_word.sum(),
        "times": time_loss(logits[is_time].float(), labels[is_time] - ids.first_time, ids.first_time),
        "phonemes": F.cross_entropy(phonemes.float().flatten(0, 1), torch.from_numpy(batch.phonemes).to(device, torch.long).flatten()),
        "guide": guide_loss(attention, torch.from_numpy(batch.heard).to(device)),
    }


def learning_rate(progress: float, step: int, peak: float) -> float:
    """Warm-up by steps, level to the middle, then down to 1 % in a straight line."""
    return peak * min(1.0, (step + 1) / 300) * max(0.01, min(1.0, 1.0 - (progress - 0.4) / 0.6 * 0.99))


def start(args: argparse.Namespace, device: str):
    """Tokenizer, phonemes, model, optimizer and state: new, or those of the checkpoint."""
    checkpoint = args.work / "checkpoint.pt"
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True) if checkpoint.exists() else None
    state = {"step": 0, "seconds": 0.0, "progress": 0.0}
    if saved:
        tokenizer, phonemes, state = Tokenizer.from_str(saved["tokenizer"]), saved["phonemes"], saved["state"]
        config = Config(**saved["config"])
    else:
        tokenizer, phonemes = train_tokenizer(args.seed, args.pieces), phoneme_names(args.seed)
        config = Config(vocab_size=tokenizer.get_vocab_size(), phonemes=len(phonemes))
    model = Whisper(config).to(device)
    if saved:
        model.load_state_dict(saved["model"])
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=args.lr, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    if saved:
        optimizer.load_state_dict(saved["optimizer"])
    return tokenizer, phonemes, model, optimizer, state


def save(path: Path, tokenizer: Tokenizer, phonemes, model: Whisper, optimizer, state: dict) -> None:
    """Writes the checkpoint whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    content = {"config": model.config.as_dict(), "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content | {"state": state, "tokenizer": tokenizer.to_str(), "phonemes": phonemes}, partial)
    partial.replace(path)


def main() -> None:
    """Trains and exports."""
    args = arguments()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer, phonemes, model, optimizer, state = start(args, device)
    ids, source = Ids(tokenizer), Source(args, tokenizer, phonemes, state["step"])
    judge = Judge(tokenizer, held_out_set(16, "watched"))
    print(f"{sum(p.numel() for p in model.parameters())} parameters on {device}, from {state}", flush=True)
    began, evaluated, sums = time.time() - state["seconds"], time.time(), {}
    while (progress := state["progress"]) < 1:
        source.progress.value = progress
        batch = source.next()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, state["step"], args.lr)
        parts = losses(model, batch, ids, device)
        helpers = 1.0 if progress < 0.7 else 0.3
        loss = parts["words"] + 0.25 * parts["times"] + helpers * (0.5 * parts["phonemes"] + 0.3 * parts["guide"])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + part.item()
        seconds = time.time() - began
        # What is left is spread over the time that is left, so that a machine that stood still makes no jump.
        took, left = min(PAUSE_SECONDS, seconds - state["seconds"]), args.minutes * 60 - seconds
        progress = 1.0 if left <= 0 else min(1.0, progress + (1 - progress) * took / (left + took))
        state.update(step=state["step"] + 1, seconds=seconds, progress=progress)
        if state["step"] % 50 == 0:
            told = " ".join(f"{name} {total / 50:.3f}" for name, total in sums.items())
            print(f"step {state['step']} {seconds:.0f} s progress {progress:.3f} {told} old {source.repeated}", flush=True)
            sums, source.repeated = {}, 0
        if time.time() - evaluated > args.evaluate_minutes * 60 or progress >= 1:
            save(args.work / "checkpoint.pt", tokenizer, phonemes, model, optimizer, state)
            print(f"step {state['step']} held out: {judge.report(model)}", flush=True)
            evaluated = time.time()
    size = write_folder(args.out, model, tokenizer)
    print(f"wrote {args.out}, {size / 1e6:.2f} MB, {state}", flush=True)


if __name__ == "__main__":
    main()
