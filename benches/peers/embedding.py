#!/usr/bin/env python3
"""Embeds the same token ids with PyTorch, ONNX Runtime and Lampstand by turns and prints medians and ratios as Markdown.

Run it with a Python that has torch, transformers, tokenizers, onnx, onnxscript and onnxruntime. Models are made by a seed at the shapes of
BGE-small and BGE-base; all sides take the same weights, the same ids and as many threads. See README.md beside this file.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "target" / "random-models"
SHAPES = {"bge-small": (384, 12, 12, 1536), "bge-base": (768, 12, 12, 3072)}
VOCABULARY = 30522
BATCH = 32


def main():
    arguments = read_arguments()
    import torch

    torch.set_num_threads(arguments.threads)
    print(f"{arguments.threads} threads, {arguments.pairs} rounds a row\n", flush=True)
    print("| model | texts | side | tokens/s | Lampstand q8_0 is | cosine to PyTorch f32, least |")
    print("|---|---|---|---:|---:|---:|", flush=True)
    for shape in arguments.shape:
        folder = make_model(shape)
        for kind in ("128", "mixed"):
            compare(arguments, folder, shape, kind)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bench", type=pathlib.Path, help="our bench `embed_door`, built; else cargo builds it")
    parser.add_argument("--shape", type=lambda text: text.split(","), default=list(SHAPES))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    return parser.parse_args()


def make_model(shape):
    """A folder as sentence-transformers has it, and beside it the same as ONNX with 8-bit weights."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder = MODELS / shape
    if (folder / "model-int8.onnx").exists():
        return folder
    hidden, layers, heads, inner = SHAPES[shape]
    config = transformers.BertConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=inner
    )
    torch.manual_seed(1)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"w{index}" for index in range(VOCABULARY - len(words))]
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = torch.ones(2, 8, dtype=torch.long)
    dynamic = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    torch.onnx.export(
        Hidden(model), (ids, ids), folder / "model.onnx", input_names=["input_ids", "attention_mask"], output_names=["hidden"],
        dynamic_shapes=(dynamic, dynamic), dynamo=True,
    )
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(folder / "model.onnx", folder / "model-int8.onnx", weight_type=QuantType.QInt8)
    return folder


def Hidden(model):
    import torch

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask):
            return self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    return Hidden()


def texts(kind):
    """Token ids with [CLS] and [SEP]; `mixed` lengths lie between 8 and 512, more short than long."""
    numbers = random.Random(7)
    lengths = [128] * BATCH
    if kind == "mixed":
        lengths = [round(8 * 64 ** (index / (BATCH - 1))) for index in range(BATCH)]
        numbers.shuffle(lengths)
    return [[2, *(numbers.randrange(1000, VOCABULARY) for _ in range(length - 2)), 3] for length in lengths]


def padded(batch):
    import torch

    width = max(map(len, batch))
    ids = torch.tensor([text + [0] * (width - len(text)) for text in batch])
    mask = torch.tensor([[1] * len(text) + [0] * (width - len(text)) for text in batch])
    return ids, mask


def mean(hidden, mask):
    import torch

    weights = mask.unsqueeze(-1).float()
    pooled = (hidden.float() * weights).sum(1) / weights.sum(1)
    return torch.nn.functional.normalize(pooled)


def torch_side(folder, dtype):
    import torch
    import transformers

    model = transformers.BertModel.from_pretrained(folder, add_pooling_layer=False, dtype=dtype).eval()

    def run(batch):
        ids, mask = padded(batch)
        with torch.inference_mode():
            return mean(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask)

    return timed(run)


def onnx_side(folder, threads):
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(folder / "model-int8.onnx", options, providers=["CPUExecutionProvider"])

    def run(batch):
        ids, mask = padded(batch)
        (hidden,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return mean(torch.from_numpy(hidden), mask)

    return timed(run)


def timed(run):
    def measure(batch):
        started = time.perf_counter()
        vectors = run(batch)
        return sum(map(len, batch)) / (time.perf_counter() - started), vectors

    return measure


def our_side(program, folder, threads, quantize):
    """Our bench stays a process of its own; it reads one batch of ids a line and answers speed and vectors."""
    import torch

    command = [program, "--model", folder, "--threads", threads, *(["--quantize", quantize] if quantize else []), "--lines"]
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(batch):
        process.stdin.write(json.dumps(batch) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        return answer["tokens_per_s"], torch.nn.functional.normalize(torch.tensor(answer["vectors"]))

    return measure


def build():
    command = ["cargo", "bench", "--no-run", "-p", "engine", "--bench", "embed_door", "--message-format=json"]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    found = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
    return next(line["executable"] for line in found if line.get("executable") and line["target"]["name"] == "embed_door")


def compare(arguments, folder, shape, kind):
    import torch

    program = arguments.bench or build()
    sides = {
        "PyTorch f32": torch_side(folder, torch.float32),
        "PyTorch bf16": torch_side(folder, torch.bfloat16),
        "ONNX Runtime int8": onnx_side(folder, arguments.threads),
        "Lampstand f32": our_side(program, folder, arguments.threads, None),
        "Lampstand q8_0": our_side(program, folder, arguments.threads, "q8_0"),
    }
    batch = texts(kind)
    speeds = {name: [] for name in sides}
    vectors = {name: measure(batch)[1] for name, measure in sides.items()}
    for _ in range(arguments.pairs):
        for name, measure in sides.items():
            speeds[name].append(measure(batch)[0])
    true = vectors["PyTorch f32"]
    ours = speeds["Lampstand q8_0"]
    for name in sides:
        cosine = (vectors[name] * true).sum(1).min().item()
        ratio = statistics.median(our / their for our, their in zip(ours, speeds[name]))
        texts_of = f"{BATCH} of 128" if kind == "128" else f"{BATCH} of 8 to 512"
        print(f"| {shape} | {texts_of} | {name} | {statistics.median(speeds[name]):.0f} | {ratio:.2f} | {cosine:.5f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
