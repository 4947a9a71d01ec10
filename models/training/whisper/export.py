"""Writes the model as transformers keeps a Whisper: configurations, tokenizer, and f16 weights by transformers' names.

Who uses it: train.py, at its end; `python export.py --work CHECKPOINTS --out FOLDER` for a run that goes on.
Invariant: the folder says everything that a reader needs: the window of ten seconds, the special tokens' ids, the alignment heads.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from features import BANDS, FFT, HOP, RATE
from model import Config, Whisper
from tokenizer import SPECIAL, TIMESTAMPS, WINDOW_SECONDS
from windows import Ids

# Signs that nobody says; Whisper's own list has them too.
UNSPOKEN = list('"#()*+/<=>@[\\]^_`{|}~')


def alignment_heads(config: Config) -> list[list[int]]:
    """The heads that the training drew to the words: the first of every decoder layer but the lowest, which has to look
    before it knows what was written."""
    return [[layer, 0] for layer in range(1, config.decoder_layers)]


def suppressed(tokenizer: Tokenizer, ids: Ids) -> list[int]:
    """Tokens that a transcript never has: unspoken signs, with and without a space, and the special tokens behind the prompt."""
    signs = [tokenizer.token_to_id(sign) for sign in UNSPOKEN] + [tokenizer.token_to_id("Ġ" + sign) for sign in UNSPOKEN]
    special = [tokenizer.token_to_id(name) for name in SPECIAL if name not in ("<|endoftext|>", "<|notimestamps|>")]
    return sorted({token for token in signs + special if token is not None} - set(ids.language.values()))


def configuration(config: Config, ids: Ids, tokenizer: Tokenizer) -> dict:
    """config.json."""
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "vocab_size": config.vocab_size,
        "d_model": config.d_model,
        "encoder_layers": config.encoder_layers,
        "encoder_attention_heads": config.attention_heads,
        "encoder_ffn_dim": config.ffn_dim,
        "decoder_layers": config.decoder_layers,
        "decoder_attention_heads": config.attention_heads,
        "decoder_ffn_dim": config.ffn_dim,
        "num_hidden_layers": config.encoder_layers,
        "num_mel_bins": config.num_mel_bins,
        "max_source_positions": config.max_source_positions,
        "max_target_positions": config.max_target_positions,
        "max_length": config.max_target_positions,
        "activation_function": "gelu",
        "scale_embedding": False,
        "is_encoder_decoder": True,
        "use_cache": True,
        "tie_word_embeddings": True,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "init_std": 0.02,
        "bos_token_id": ids.end,
        "eos_token_id": ids.end,
        "pad_token_id": ids.end,
        "decoder_start_token_id": ids.start,
        "suppress_tokens": suppressed(tokenizer, ids),
        "begin_suppress_tokens": [tokenizer.token_to_id("Ġ"), ids.end],
        "torch_dtype": "float16",
    }


def generation(config: Config, ids: Ids, tokenizer: Tokenizer) -> dict:
    """generation_config.json."""
    return {
        "alignment_heads": alignment_heads(config),
        "begin_suppress_tokens": [tokenizer.token_to_id("Ġ"), ids.end],
        "bos_token_id": ids.end,
        "decoder_start_token_id": ids.start,
        "eos_token_id": ids.end,
        "is_multilingual": True,
        "lang_to_id": {f"<|{language}|>": token for language, token in ids.language.items()},
        "max_initial_timestamp_index": 50,
        "max_length": config.max_target_positions,
        "no_timestamps_token_id": ids.no_timestamps,
        "pad_token_id": ids.end,
        "prev_sot_token_id": ids.previous,
        "return_timestamps": False,
        "suppress_tokens": suppressed(tokenizer, ids),
        "task_to_id": {"transcribe": ids.transcribe, "translate": ids.translate},
    }


def preprocessor() -> dict:
    """preprocessor_config.json."""
    return {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "processor_class": "WhisperProcessor",
        "feature_size": BANDS,
        "sampling_rate": RATE,
        "hop_length": HOP,
        "n_fft": FFT,
        "chunk_length": WINDOW_SECONDS,
        "n_samples": WINDOW_SECONDS * RATE,
        "nb_max_frames": WINDOW_SECONDS * RATE // HOP,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
    }


def tokenizer_configuration(tokenizer: Tokenizer, config: Config) -> dict:
    """tokenizer_config.json."""
    added = {
        str(tokenizer.token_to_id(name)): {
            "content": name,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": name in SPECIAL,
        }
        for name in SPECIAL + TIMESTAMPS
    }
    return {
        "added_tokens_decoder": added,
        "add_prefix_space": False,
        "additional_special_tokens": SPECIAL,
        "bos_token": SPECIAL[0],
        "eos_token": SPECIAL[0],
        "pad_token": SPECIAL[0],
        "unk_token": SPECIAL[0],
        "clean_up_tokenization_spaces": False,
        "errors": "replace",
        "model_max_length": config.max_target_positions,
        "processor_class": "WhisperProcessor",
        "return_attention_mask": False,
        "tokenizer_class": "WhisperTokenizer",
    }


def write_folder(folder: Path, model: Whisper, tokenizer: Tokenizer) -> int:
    """Writes all files; the size in bytes of what was written."""
    config, ids = model.config, Ids(tokenizer)
    files = {
        "config.json": configuration(config, ids, tokenizer),
        "generation_config.json": generation(config, ids, tokenizer),
        "preprocessor_config.json": preprocessor(),
        "tokenizer_config.json": tokenizer_configuration(tokenizer, config),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    (folder / "tokenizer.json").write_text(tokenizer.to_str() + "\n")
    weights = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in model.exported().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Exports the last checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("target/starter-whisper"))
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    saved = torch.load(args.work / "checkpoint.pt", map_location="cpu", weights_only=True)
    model = Whisper(Config(**saved["config"]))
    model.load_state_dict(saved["model"])
    size = write_folder(args.out, model, Tokenizer.from_str(saved["tokenizer"]))
    print(f"wrote {args.out}, {size / 1e6:.2f} MB, {saved['state']}")


if __name__ == "__main__":
    main()
