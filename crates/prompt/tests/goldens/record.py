"""Records what transformers renders for the templates and conversations beside this file, into goldens.json.

Run it after changing one of them: python3 record.py  (needs the packages transformers and jinja2).
The Rust test `goldens.rs` holds the crate to these texts. The shapes below say what the crate finds out by itself:
which templates look at content parts, and which ask for missing content.
"""
import copy
import datetime
import json
import pathlib

import transformers.utils.chat_template_utils as chat

HERE = pathlib.Path(__file__).parent
SHAPES = {
    "tools": {"parts": False, "null": False},
    "strict": {"parts": False, "null": False},
    "schema": {"parts": True, "null": True},
}


class FixedTime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 7, 9, 5, 1)


chat.datetime = FixedTime


def shaped(messages, shape):
    messages = copy.deepcopy(messages)
    for message in messages:
        if message["content"] is None and not shape["null"]:
            message["content"] = ""
        if isinstance(message["content"], list) and not shape["parts"]:
            message["content"] = "\n".join(part["text"] for part in message["content"] if part["type"] == "text")
        for call in message.get("tool_calls", []):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return messages


def main():
    given = json.loads((HERE / "conversations.json").read_text(encoding="utf-8"))
    goldens = {}
    for name, shape in SHAPES.items():
        source = (HERE / f"{name}.jinja").read_text(encoding="utf-8")
        goldens[name] = {}
        for case in given["cases"]:
            going_on = case.get("continue", False)
            try:
                text = chat.render_jinja_template(
                    [shaped(case["messages"], shape)],
                    tools=given["tools"] if case.get("tools") else None,
                    chat_template=source,
                    continue_final_message=going_on,
                    add_generation_prompt=case.get("generation_prompt", True) and not going_on,
                    bos_token="<s>",
                    eos_token="</s>",
                    **case.get("extra", {}),
                )[0][0]
                goldens[name][case["name"]] = {"text": text}
            except Exception as error:
                goldens[name][case["name"]] = {"error": str(error)}
    text = json.dumps(goldens, ensure_ascii=False, indent=1)
    (HERE / "goldens.json").write_text(text + "\n", encoding="utf-8")


main()
