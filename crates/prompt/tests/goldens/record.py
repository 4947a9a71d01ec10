"""Records what transformers renders for the conversations beside this file. Needs the packages transformers and jinja2.

python3 record.py                   the templates here, as text, into goldens.json
python3 record.py FOLDER [TEXTS]    real templates (FOLDER/NAME.jinja for every name in SHAPES), as length and hash, into
                                    templates.json; with TEXTS, the texts too, into that file, to look at

Run it after changing a conversation. The Rust test `goldens.rs` holds the crate to all of it. SHAPES says what the crate must find
out by itself: p, the template looks at content parts; n, it asks for missing content; d, it knows the role developer; o, it wants
arguments as a map.
"""
import copy
import datetime
import json
import pathlib
import sys

import jinja2
import transformers.utils.chat_template_utils as chat

HERE = pathlib.Path(__file__).parent
OWN_SHAPES = {"tools": "o", "strict": "o", "schema": "pno"}
SHAPES = {
    "Apertus-8B-Instruct": "no",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use": "o",
    "GLM-4.6": "po",
    "HuggingFaceTB-SmolLM3-3B": "o",
    "Kimi-K2-Instruct": "pno",
    "LFM2-8B-A1B": "o",
    "MiniMax-M2": "po",
    "Mistral-Small-3.2-24B-Instruct-2506": "po",
    "NVIDIA-Nemotron-Nano-v2": "no",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "o",
    "Qwen-QwQ-32B": "o",
    "Qwen-Qwen2.5-7B-Instruct": "o",
    "Qwen-Qwen3-0.6B": "o",
    "Qwen3-Coder": "o",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B": "",
    "deepseek-ai-DeepSeek-V3.1": "o",
    "google-gemma-2-2b-it": "o",
    "google-gemma-4-31B-it": "pdo",
    "ibm-granite-granite-3.3-2B-Instruct": "o",
    "meta-llama-Llama-3.1-8B-Instruct": "o",
    "meta-llama-Llama-3.2-3B-Instruct": "o",
    "microsoft-Phi-3.5-mini-instruct": "o",
    "mistralai-Mistral-Nemo-Instruct-2407": "o",
    "openai-gpt-oss-120b": "do",
}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 1)


chat.datetime = FixedTime


def shaped(messages, shape):
    messages = copy.deepcopy(messages)
    for message in messages:
        if message["role"] == "developer" and "d" not in shape:
            message["role"] = "system"
        if message["content"] is None and "n" not in shape:
            message["content"] = ""
        if isinstance(message["content"], list) and "p" not in shape:
            message["content"] = "\n".join(part["text"] for part in message["content"] if part["type"] == "text")
        for call in message.get("tool_calls", []):
            if "o" in shape:
                call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


def rendered(source, shape, case, given):
    """The text, or what went wrong: in the template's words if it refused, else as the kind of failure."""
    going_on = case.get("continue", False)
    tools = {True: given["tools"], "plain": given["plain tools"], None: None}[case.get("tools")]
    try:
        text = chat.render_jinja_template(
            [shaped(case["messages"], shape)],
            tools=tools,
            chat_template=source,
            continue_final_message=going_on,
            add_generation_prompt=case.get("generation_prompt", True) and not going_on,
            bos_token="<s>",
            eos_token="</s>",
            **case.get("extra", {}),
        )[0][0]
        return {"text": text}
    except Exception as error:
        return {"error" if type(error) is jinja2.exceptions.TemplateError else "failure": str(error).split("\n")[0]}


def render_all(given, folder, shapes):
    goldens = {}
    for name, shape in shapes.items():
        source = (folder / f"{name}.jinja").read_text(encoding="utf-8")
        goldens[name] = {case["name"]: rendered(source, shape, case, given) for case in given["cases"]}
    return goldens


def fnv(data):
    """The FNV-1a hash of 64 bits, as its authors give it."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{value:016x}"


def shortened(golden):
    data = golden.get("text", "").encode("utf-8")
    return [len(data), fnv(data)] if "text" in golden else golden


def write(path, value, **layout):
    path.write_text(json.dumps(value, ensure_ascii=False, **layout) + "\n", encoding="utf-8")


def main():
    given = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
    if len(sys.argv) == 1:
        write(HERE / "goldens.json", render_all(given, HERE, OWN_SHAPES), indent=1)
        return
    texts = render_all(given, pathlib.Path(sys.argv[1]), SHAPES)
    if len(sys.argv) > 2:
        write(pathlib.Path(sys.argv[2]), texts, indent=1)
    short = {name: {case: shortened(golden) for case, golden in cases.items()} for name, cases in texts.items()}
    entries = [f"{json.dumps(name)}: " + json.dumps({"shape": SHAPES[name], "cases": cases}, ensure_ascii=False).replace('], "', '],\n   "').replace('}, "', '},\n   "') for name, cases in short.items()]
    (HERE / "templates.json").write_text("{\n " + ",\n ".join(entries) + "\n}\n", encoding="utf-8")


main()
