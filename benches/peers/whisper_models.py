"""Models with Whisper's shapes and weights from a seed, in the formats of every side: transformers, CTranslate2, whisper.cpp.

whisper.py calls it. A model of a seed would write nonsense without an end, and every side another number of tokens. So the last
layer's feed-forward is written by hand, a unit for each token of a script: it answers one token by the next, whatever else was said. Every
window then has the same `SCRIPT_TOKENS` words and an end, by all rules of decoding, and costs what the shape costs.
"""
import json
import pathlib
import random
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = ROOT / "target" / "random-models"
# Width, layers of the encoder and of the decoder, heads. `micro` is no Whisper: it is there for what does not hang on the shape.
SHAPES = {"tiny": (384, 4, 6), "base": (512, 6, 8), "small": (768, 12, 12), "micro": (128, 4, 2)}
SCRIPT_TOKENS = 100
PIECES = 50257
END, START, ENGLISH, LANGUAGES = 50257, 50258, 50259, 99
TRANSLATE, TRANSCRIBE, START_OF_LM, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS, FIRST_TIME = range(50358, 50365)
TIMES = 1501
VOCABULARY = FIRST_TIME + TIMES
PROMPT = [START, ENGLISH, TRANSCRIBE, NO_TIMESTAMPS]
# Symbols that no speech has, in GPT-2's order of bytes; a model file lists such ids, and sides leave them out.
SUPPRESSED = [1, 2, 6, 7, 8, 9, 10, 14, 25, 26, 27, 28, 29, 31, 58, 59, 60, 61, 62, 63, 90, 91, 92, 93]
GGML_MAGIC, GGML_F16, GGML_Q8_0 = 0x67676D6C, 1, 8
# ggml's numbers for a file whose matrices are of a type; quantized ones carry the version of the quantization in thousands.
GGML_FILES = {"f16": 1, "q8_0": 2007}


def folder(shape, kind="f32"):
    """The folder that transformers and Lampstand read; `kind` is f32 or bf16. Made when it is missing."""
    path = MODELS / f"whisper-{shape}{'' if kind == 'f32' else '-' + kind}"
    if not (path / "model.safetensors").exists():
        import torch

        model = make(shape)
        write_texts(path, model)
        model.to(torch.float32 if kind == "f32" else torch.bfloat16).save_pretrained(path)
    return path


def ctranslate2_folder(shape):
    """The same with 8-bit weights for CTranslate2 and faster-whisper."""
    return converted(folder(shape))


def converted(source):
    """A folder of transformers with 8-bit weights for CTranslate2, made when it is missing."""
    path = MODELS / f"{source.name}-ct2"
    if not (path / "model.bin").exists():
        from ctranslate2.converters import TransformersConverter

        files = [name for name in ("tokenizer.json", "preprocessor_config.json") if (source / name).exists()]
        TransformersConverter(str(source), copy_files=files).convert(str(path), quantization="int8", force=True)
    return path


def make(shape):
    """transformers' model of the shape with weights from a seed, and a last layer that knows the script."""
    import torch
    import transformers

    hidden, layers, heads = SHAPES[shape]
    config = transformers.WhisperConfig(
        vocab_size=VOCABULARY, d_model=hidden, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=heads,
        decoder_attention_heads=heads, encoder_ffn_dim=4 * hidden, decoder_ffn_dim=4 * hidden, num_mel_bins=80,
        max_source_positions=1500, max_target_positions=448, pad_token_id=END, bos_token_id=END, eos_token_id=END,
        decoder_start_token_id=START, suppress_tokens=None, begin_suppress_tokens=None,
    )
    torch.manual_seed(1)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "decoder.layers" in name and name.endswith(("out_proj.weight", "fc2.weight")):
                # What layers add to a token stays small beside the token, so that the last one can tell which it is.
                tensor.mul_(0.1)
        decoder = model.model.decoder
        decoder.embed_tokens.weight.normal_(0, 0.3)
        decoder.embed_positions.weight.normal_(0, 0.05)
        teach(decoder, hidden)
    model.generation_config = generation_config(layers, heads)
    return model


def script():
    """Ids of the words, no two alike."""
    return random.Random(3).sample(range(1000, PIECES - 1), SCRIPT_TOKENS)


def teach(decoder, hidden):
    """A unit of the last feed-forward for each answer: it wakes at one token and adds the next."""
    words = script()
    answers = {START: [(ENGLISH, 1.0)], ENGLISH: [(TRANSCRIBE, 1.0)], TRANSCRIBE: [(FIRST_TIME, 1.0)]}
    answers |= {FIRST_TIME: [(words[0], 1.0)], NO_TIMESTAMPS: [(words[0], 1.0)]}
    answers |= {word: [(after, 1.0)] for word, after in zip(words, words[1:])}
    # The end of the window, or where times are left out, the end of the text.
    answers |= {words[-1]: [(VOCABULARY - 1, 1.0), (END, 0.8)], VOCABULARY - 1: [(END, 1.0)]}
    table, layer = decoder.embed_tokens.weight, decoder.layers[-1]
    # A normed row of `hidden` numbers has this length: what a unit sees of its own token, and of no other.
    length = hidden**0.5
    layer.fc1.weight.zero_()
    layer.fc1.bias.fill_(-1.0)
    layer.fc2.weight.zero_()
    layer.fc2.bias.zero_()
    for unit, (token, following) in enumerate(answers.items()):
        layer.fc1.weight[unit] = table[token] / table[token].norm()
        layer.fc1.bias[unit] = -0.6 * length
        layer.fc2.weight[:, unit] = sum(6.0 * weight * table[after] for after, weight in following) / (0.35 * length)


def generation_config(layers, heads):
    import transformers

    return transformers.GenerationConfig(
        alignment_heads=[[layer, head] for layer in range(layers // 2, layers) for head in range(0, heads, 3)],
        begin_suppress_tokens=[220, END], bos_token_id=END, eos_token_id=END, pad_token_id=END, decoder_start_token_id=START,
        is_multilingual=True, lang_to_id={f"<|{code}|>": ENGLISH + at for at, code in enumerate(languages())},
        max_initial_timestamp_index=50, max_length=448, no_timestamps_token_id=NO_TIMESTAMPS, prev_sot_token_id=PREVIOUS,
        return_timestamps=False, suppress_tokens=[*SUPPRESSED, START, *range(TRANSLATE, NO_TIMESTAMPS)],
        task_to_id={"transcribe": TRANSCRIBE, "translate": TRANSLATE},
    )


def languages():
    from transformers.models.whisper.tokenization_whisper import LANGUAGES as names

    return list(names)[:LANGUAGES]


def pieces():
    """Texts of all ordinary tokens as GPT-2 spells bytes: the 256 bytes in its order, then words of letters, most behind a space."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelled = [chr(byte) for byte in shown] + [chr(256 + at) for at in range(256 - len(shown))]
    numbers, seen = random.Random(5), set(spelled)
    while len(spelled) < PIECES - 1:
        word = "".join(numbers.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(numbers.randrange(2, 8)))
        word = word if numbers.random() < 0.3 else chr(288) + word
        if word not in seen:
            seen.add(word)
            spelled.append(word)
    # The last of GPT-2's pieces stands where its end of text stood, and is empty here.
    return [*spelled, ""]


def write_texts(path, model):
    """tokenizer.json and preprocessor_config.json, with the names and ids of Whisper's special tokens."""
    import transformers
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    path.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces())}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *languages(), "translate", "transcribe", "startoflm", "startofprev"]
    names += ["nospeech", "notimestamps"]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in names])
    tokenizer.add_tokens([AddedToken(f"<|{at * 0.02:.2f}|>", normalized=False) for at in range(TIMES)])
    assert tokenizer.get_vocab_size() == VOCABULARY and tokenizer.token_to_id("<|30.00|>") == VOCABULARY - 1
    tokenizer.save(str(path / "tokenizer.json"))
    settings = {"tokenizer_class": "WhisperTokenizer", "model_max_length": 448, "eos_token": "<|endoftext|>"}
    settings |= {"bos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    (path / "tokenizer_config.json").write_text(json.dumps(settings, indent=1))
    vocabulary = {piece: index for index, piece in enumerate(pieces())}
    (path / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    (path / "merges.txt").write_text("#version: 0.2\n")
    transformers.WhisperFeatureExtractor(feature_size=model.config.num_mel_bins).save_pretrained(path)


def ggml_file(shape, kind="q8_0"):
    """The file that whisper.cpp reads: sizes, mel filters, the words' bytes, tensors under OpenAI's names."""
    path = MODELS / f"ggml-whisper-{shape}-{kind}.bin"
    if not path.exists():
        from safetensors.numpy import load_file

        source = folder(shape)
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            write_ggml_head(file, source, GGML_FILES[kind])
            for name, tensor in load_file(source / "model.safetensors").items():
                if name != "proj_out.weight":
                    write_ggml_tensor(file, openai_name(name), tensor, kind)
        partial.rename(path)
    return path


def write_ggml_head(file, source, file_type):
    import transformers

    config = json.loads((source / "config.json").read_text())
    sizes = [config["vocab_size"], config["max_source_positions"], config["d_model"], config["encoder_attention_heads"]]
    sizes += [config["encoder_layers"], config["max_target_positions"], config["d_model"], config["decoder_attention_heads"]]
    sizes += [config["decoder_layers"], config["num_mel_bins"], file_type]
    file.write(struct.pack("<I11i", GGML_MAGIC, *sizes))
    filters = transformers.WhisperFeatureExtractor(feature_size=config["num_mel_bins"]).mel_filters.T
    file.write(struct.pack("<2i", *filters.shape) + filters.astype("<f4").tobytes())
    byte_of = {piece: index for index, piece in enumerate(pieces()[:256])}
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order += [byte for byte in range(256) if byte not in set(order)]
    file.write(struct.pack("<i", PIECES))
    for piece in pieces():
        text = bytes(order[byte_of[character]] for character in piece)
        file.write(struct.pack("<I", len(text)) + text)


# Parts of transformers' names and what OpenAI's own have in their place.
NAMES = [
    ("model.", ""), (".layers.", ".blocks."), ("encoder_attn_layer_norm", "cross_attn_ln"), ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn.", "cross_attn."), ("self_attn.", "attn."), ("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value"),
    ("out_proj", "out"), ("final_layer_norm", "mlp_ln"), ("fc1", "mlp.0"), ("fc2", "mlp.2"),
    ("embed_positions.weight", "positional_embedding"), ("embed_tokens", "token_embedding"), ("encoder.layer_norm", "encoder.ln_post"),
    ("decoder.layer_norm", "decoder.ln"),
]


def openai_name(name):
    for ours, theirs in NAMES:
        name = name.replace(ours, theirs)
    return name


def write_ggml_tensor(file, name, tensor, kind):
    """Matrices are quantized, kernels of convolutions are halves, the rest floats; the fastest axis is named first."""
    import numpy

    if name.endswith("conv1.bias") or name.endswith("conv2.bias"):
        tensor = tensor.reshape(-1, 1)
    number, data = 0, tensor.astype("<f4")
    is_matrix = tensor.ndim == 2 and name.endswith(".weight")
    if is_matrix and kind == "q8_0":
        number, data = GGML_Q8_0, q8_0(data)
    elif is_matrix or tensor.ndim == 3:
        number, data = GGML_F16, data.astype("<f2")
    label = name.encode()
    file.write(struct.pack("<3i", tensor.ndim, len(label), number) + struct.pack(f"<{tensor.ndim}i", *reversed(tensor.shape)))
    file.write(label + numpy.ascontiguousarray(data).tobytes())


def q8_0(matrix):
    """Blocks of 32 numbers as 8-bit integers behind a half-precision scale."""
    import numpy

    blocks = matrix.reshape(-1, 32)
    scales = numpy.abs(blocks).max(1, keepdims=True) / 127
    inverse = numpy.divide(1, scales, out=numpy.zeros_like(scales), where=scales > 0)
    integers = numpy.rint(blocks * inverse).astype(numpy.int8)
    return numpy.concatenate([scales.astype("<f2").view(numpy.int8), integers], axis=1)
