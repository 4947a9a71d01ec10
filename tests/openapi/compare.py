"""Compares our /openapi.json with OpenAI's on every field that both have.

    curl -s http://127.0.0.1:5000/openapi.json > ours.json
    python3 tests/openapi/compare.py ours.json openai-openapi.json

Prints each difference that is not in DELIBERATE and ends with status 1 if there is one. An entry of DELIBERATE that no longer
differs is reported too, so that the list cannot grow stale. Needs nothing beyond Python's standard library.
"""

import json
import sys

# Where we differ on purpose: place of the field, what differs, and why.
DELIBERATE = {
    ("CreateChatCompletionRequest.messages[].content[].type", "enum"): "text parts only, under all of their names",
    ("CreateChatCompletionRequest.function_call", "type"): "the old form of tool_choice is refused",
    ("CreateChatCompletionRequest.function_call", "enum"): "the old form of tool_choice is refused",
    ("CreateChatCompletionRequest.messages[].content[].text", "required"): "a refusal's part has none",
    ("CreateChatCompletionRequest.messages[].tool_calls[].function", "required"): "every tool is a function, none is custom",
    ("CreateChatCompletionRequest.tools[].function", "required"): "every tool is a function, none is custom",
    ("CreateChatCompletionRequest.functions", "maxItems"): "the old form of tools is refused",
    ("CreateChatCompletionRequest.model", "required"): "the loaded model answers where none is named",
    ("CreateChatCompletionRequest.n", "maximum"): "the setting choices_max bounds it",
    ("CreateChatCompletionRequest.stop", "maxItems"): "up to 64 strings, as other local servers' clients send",
    ("CreateChatCompletionRequest.seed", "default"): "-1 asks for a fresh seed, as text-generation-webui has it",
    ("CreateChatCompletionRequest.reasoning_effort", "enum"): "every word goes to the prompt format, which knows its own",
    ("CreateChatCompletionRequest.reasoning_effort", "default"): "the prompt format decides",
    ("CreateCompletionRequest.model", "required"): "the loaded model answers where none is named",
    ("CreateCompletionRequest.n", "maximum"): "the setting choices_max bounds it",
    ("CreateCompletionRequest.best_of", "maximum"): "the setting choices_max bounds it",
    ("CreateCompletionRequest.best_of", "minimum"): "no draw at all would be no answer",
    ("CreateCompletionRequest.logprobs", "maximum"): "20 alternatives, as in chat",
    ("CreateCompletionRequest.max_tokens", "default"): "the rest of the context instead of 16 tokens",
    ("CreateCompletionRequest.prompt", "default"): "a prompt must be there; an empty text is one",
    ("CreateCompletionRequest.stop", "maxItems"): "up to 64 strings, as other local servers' clients send",
    ("CreateCompletionRequest.seed", "default"): "-1 asks for a fresh seed, as text-generation-webui has it",
    ("CreateCompletionResponse.choices[].logprobs.token_logprobs[]", "type"): "the first token of an echo has none: null",
    ("CreateCompletionResponse.choices[].logprobs.top_logprobs[]", "type"): "the first token of an echo has none: null",
    ("CreateTranscriptionRequest.model", "required"): "the speech model of the settings answers where none is named",
    ("CreateTranscriptionRequest.response_format", "default"): "json is told in words",
    ("CreateTranscriptionRequest.timestamp_granularities", "default"): "segments are told in words",
    ("CreateTranscriptionRequest.chunking_strategy.silence_duration_ms", "default"): "shorter pauses cut sentences apart",
    ("CreateTranslationRequest.model", "required"): "the speech model of the settings answers where none is named",
    ("CreateTranslationRequest.response_format", "default"): "json is told in words",
}

# What is a list of fewer words here than there: we promise less, and every word of ours is one of theirs.
SHARED = [
    "CreateChatCompletionRequest",
    "CreateCompletionRequest",
    "CreateTranscriptionRequest",
    "CreateTranslationRequest",
]
ANSWERS = [
    "CreateChatCompletionResponse",
    "CreateChatCompletionStreamResponse",
    "CreateCompletionResponse",
    "ListModelsResponse",
    "Model",
    "ErrorResponse",
]


class Schema:
    """A schema with its references and alternatives resolved: types, words, bounds, fields."""

    def __init__(self, document, *parts):
        self.document = document
        self.types, self.words, self.items = set(), set(), []
        self.fields, self.required, self.bounds = {}, set(), {}
        self.open_words = False
        for part in parts:
            self.add(part)

    def add(self, part):
        if part.get("nullable"):
            self.types.add("null")
        if "$ref" in part:
            node = self.document
            for key in part["$ref"][2:].split("/"):
                node = node[key]
            return self.add(node)
        for choice in part.get("allOf", []):
            self.add(choice)
        for key in ("anyOf", "oneOf"):
            self.add_choices(part.get(key, []))
        types = part.get("type", [])
        for name in [types] if isinstance(types, str) else types:
            self.types.add(name)
        if not types and "properties" in part:
            self.types.add("object")
        if "enum" in part:
            self.words |= {word for word in part["enum"] if word is not None}
        elif "string" in part.get("type", []) or part.get("type") == "string":
            self.open_words = True
        for key in ("minimum", "maximum", "maxItems", "default"):
            if part.get(key) is not None:
                self.bounds.setdefault(key, part[key])
        if "items" in part:
            self.items.append(part["items"])
        for name, field in part.get("properties", {}).items():
            self.fields.setdefault(name, []).append(field)
        self.required |= set(part.get("required", []))
        return None

    def add_choices(self, choices):
        """Of alternatives, only what all of them ask for is asked for, and only a single one's default is the default."""
        schemas = [Schema(self.document, choice) for choice in choices]
        schemas = [schema for schema in schemas if schema.types != {"null"}]
        for choice in choices:
            before = self.required, dict(self.bounds)
            self.required = set()
            self.add(choice)
            self.required = before[0]
            if len(schemas) > 1:
                self.bounds = {key: self.bounds[key] for key in self.bounds if key != "default" or key in before[1]}
        objects = [schema.required for schema in schemas if "object" in schema.types]
        if objects and len(objects) == len(schemas):
            self.required |= set.intersection(*objects)

    def field(self, name):
        return Schema(self.document, *self.fields[name])

    def element(self):
        return Schema(self.document, *self.items)


class Comparison:
    def __init__(self):
        self.found, self.compared = {}, 0

    def differ(self, place, what, ours, theirs):
        self.found[(place, what)] = f"{place}: {what}: ours {ours}, OpenAI's {theirs}"

    def request(self, place, ours, theirs):
        """Whatever OpenAI's clients may send must be taken."""
        self.compared += 1
        missing = {t for t in theirs.types - ours.types if t not in ("null", "object", "array")}
        if "integer" in missing and "number" in ours.types:
            missing.discard("integer")
        if missing:
            self.differ(place, "type", sorted(ours.types), sorted(theirs.types))
        if ours.words and ours.words - theirs.words and not theirs.open_words:
            self.differ(place, "enum", sorted(ours.words), sorted(theirs.words))
        if theirs.words and not ours.words and not theirs.open_words:
            self.differ(place, "enum", "any text", sorted(theirs.words))
        for key in ("minimum", "maximum", "maxItems"):
            a, b = ours.bounds.get(key), theirs.bounds.get(key)
            if b is not None and abs(b) < 2**53 and a != b:
                self.differ(place, key, a, b)
        a, b = ours.bounds.get("default"), theirs.bounds.get("default")
        if a != b and not place.endswith("[]") and "default" in (set(theirs.bounds) | set(ours.bounds)):
            self.differ(place, "default", a, b)
        self.walk(place, ours, theirs, self.request)

    def answer(self, place, ours, theirs):
        """Whatever we send must be what OpenAI's clients expect."""
        self.compared += 1
        extra = ours.types - theirs.types
        if "number" in theirs.types:
            extra.discard("integer")
        if extra:
            self.differ(place, "type", sorted(ours.types), sorted(theirs.types))
        if ours.words - theirs.words and theirs.words:
            self.differ(place, "enum", sorted(ours.words), sorted(theirs.words))
        for name in theirs.required - ours.required:
            self.differ(f"{place}.{name}", "required", "may be absent", "is always there")
        self.walk(place, ours, theirs, self.answer)

    def walk(self, place, ours, theirs, compare):
        if compare == self.request and ours.required != theirs.required:
            for name in (theirs.required - ours.required) & set(ours.fields):
                self.differ(f"{place}.{name}", "required", "may be absent", "must be there")
            for name in ours.required - theirs.required:
                self.differ(f"{place}.{name}", "required", "must be there", "may be absent")
        for name in sorted(set(ours.fields) & set(theirs.fields)):
            compare(f"{place}.{name}", ours.field(name), theirs.field(name))
        if ours.items and theirs.items:
            compare(f"{place}[]", ours.element(), theirs.element())


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    documents = [json.load(open(path, encoding="utf-8")) for path in sys.argv[1:]]
    comparison = Comparison()
    for names, compare in ((SHARED, comparison.request), (ANSWERS, comparison.answer)):
        for name in names:
            schemas = [Schema(document, document["components"]["schemas"][name]) for document in documents]
            compare(name, *schemas)
    unknown = [text for key, text in comparison.found.items() if key not in DELIBERATE]
    stale = [f"{place}: {what}: no longer differs; strike it" for place, what in DELIBERATE if (place, what) not in comparison.found]
    for line in unknown + stale:
        print(line)
    print(f"{comparison.compared} fields compared, {len(comparison.found) - len(unknown)} deliberate differences, "
          f"{len(unknown)} others, {len(stale)} stale entries")
    sys.exit(1 if unknown or stale else 0)


if __name__ == "__main__":
    main()
