"""How well each head of the cross-attention follows time: `python models/training/whisper/alignment.py --folder models/starter/whisper`.

Who uses it: people who choose `alignment_heads` of generation_config.json; export.py names the ones that were chosen.
For every head: the share of its attention inside the word that comes next (40 ms of tolerance), and the mean error of word
starts found by dynamic time warping over that head alone; then that error over the chosen heads together.
Invariant: judged on held-out sentences by held-out voices, with the times that espeak-ng gives.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration, WhisperTokenizer

from features import RATE, log_mel
from heldout import resample
from sentences import draw
from speech import Speaker
from tokenizer import LANGUAGES, POSITIONS_PER_SECOND, WINDOW_SECONDS
from windows import HELD_OUT_VARIANTS, random_voice

TOLERANCE = 2


def warp(cost: np.ndarray) -> np.ndarray:
    """For each row (token) of `cost` the first column (position) on the cheapest monotonous path."""
    rows, columns = cost.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0
    step = np.zeros((rows + 1, columns + 1), np.int8)
    for column in range(1, columns + 1):
        for row in range(1, rows + 1):
            ways = (total[row - 1, column - 1], total[row - 1, column], total[row, column - 1])
            step[row, column] = int(np.argmin(ways))
            total[row, column] = cost[row - 1, column - 1] + ways[step[row, column]]
    first, row, column = np.zeros(rows, np.int64), rows, columns
    while row > 0 and column > 0:
        first[row - 1] = column - 1
        row, column = row - (step[row, column] != 2), column - (step[row, column] != 1)
    return first


def starts(weights: np.ndarray, positions: int) -> np.ndarray:
    """Word starts in positions from the attention [heads, tokens, positions]: normalised over tokens, smoothed over seven
    positions by their median, averaged over heads, warped."""
    weights = weights[:, :, :positions]
    weights = (weights - weights.mean(1, keepdims=True)) / (weights.std(1, keepdims=True) + 1e-6)
    padded = np.pad(weights, ((0, 0), (0, 0), (3, 3)), mode="reflect")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=2), axis=-1)
    return warp(-smooth.mean(0))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--count", type=int, default=40, help="sentences")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = WhisperTokenizer.from_pretrained(args.folder)
    model = WhisperForConditionalGeneration.from_pretrained(args.folder, dtype=torch.float32, attn_implementation="eager").eval()
    chosen = [tuple(head) for head in json.loads((args.folder / "generation_config.json").read_text())["alignment_heads"]]
    heads = [(layer, head) for layer in range(model.config.decoder_layers) for head in range(model.config.decoder_attention_heads)]
    inside, errors, together = {head: [] for head in heads}, {head: [] for head in heads}, []
    speaker, rng = Speaker(), random.Random("alignment")
    for number in range(args.count):
        language = LANGUAGES[number % 2]
        sentence = draw(rng, held_out=True, need=language)
        text = sentence.german if language == "de" else sentence.english
        clip = speaker.speak(text, language, random_voice(rng, language, HELD_OUT_VARIANTS))
        sound = np.concatenate([np.zeros(RATE // 4, np.float32), 0.5 * resample(clip.sound)])
        positions = len(sound) * POSITIONS_PER_SECOND // RATE
        mel = torch.from_numpy(log_mel(np.pad(sound, (0, WINDOW_SECONDS * RATE - len(sound)))))[None]
        words = [tokenizer(" " + word, add_special_tokens=False).input_ids for word in text.split()]
        tokens = [token for word in words for token in word]
        prompt = tokenizer.convert_tokens_to_ids(["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"])
        with torch.no_grad():
            given = torch.tensor([prompt + tokens])
            attention = model(input_features=mel, decoder_input_ids=given, output_attentions=True).cross_attentions
        # The row that sees <|notimestamps|> writes the first token, and so on; the last one writes the end.
        weights = torch.stack([layer[0] for layer in attention])[:, :, len(prompt) - 1 :].numpy()
        places = [(12.5 + begin * POSITIONS_PER_SECOND, 12.5 + end * POSITIONS_PER_SECOND) for begin, end in clip.words]
        first_tokens = np.cumsum([0] + [len(word) for word in words])[:-1]
        truth = np.array([begin for begin, _ in places])
        owners = [at for at, word in enumerate(words) for _ in word]
        for layer, head in heads:
            own = weights[layer, head]
            for row, word in enumerate(owners):
                begin, end = places[word]
                inside[layer, head].append(own[row, max(0, int(begin) - TOLERANCE) : int(end) + 1 + TOLERANCE].sum())
            errors[layer, head].extend(np.abs(starts(own[None], positions)[first_tokens] - truth))
        several = np.stack([weights[layer, head] for layer, head in chosen])
        together.extend(np.abs(starts(several, positions)[first_tokens] - truth))
    for head in heads:
        mark = " chosen" if head in chosen else ""
        print(f"layer {head[0]} head {head[1]}: {np.mean(inside[head]):.1%} inside, starts off by {np.mean(errors[head]) * 20:.0f} ms{mark}")
    print(f"chosen together: starts off by {np.mean(together) * 20:.0f} ms, median {np.median(together) * 20:.0f} ms")


if __name__ == "__main__":
    main()
