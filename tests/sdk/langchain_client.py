"""Drives a running server with LangChain: its ChatOpenAI and OpenAI classes, and the standard suite for chat models.

Called by the test `sdk::langchain` as: langchain_client.py URL KEY. Runs itself under pytest, which may open no connection but
to this machine. What the suite skips must be what SWITCHED_OFF names, no more and no less.
Ends with "all passed", or with the failures.
"""

import os
import re
import sys
import tempfile

if __name__ == "__main__":
    os.environ.update(LAMPSTAND_URL=sys.argv[1], LAMPSTAND_KEY=sys.argv[2])
# Nothing is told to LangSmith.
os.environ.update(LANGSMITH_TRACING="false", LANGCHAIN_TRACING_V2="false")
for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL", "OPENAI_PROXY"):
    os.environ.pop(name, None)

import openai
import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests

# Tests of the suite that cannot pass, by the reason why.
SWITCHED_OFF = {
    "calls of tools are not read out of an answer yet, and cannot be forced": [
        "test_agent_loop",
        "test_bind_runnables_as_tools",
        "test_structured_few_shot_examples",
        "test_tool_calling",
        "test_tool_calling_async",
        "test_tool_calling_with_no_arguments",
        "test_tool_choice",
        "test_tool_message_error_status",
        "test_tool_message_histories_list_content",
        "test_tool_message_histories_string_content",
        "test_unicode_tool_call_integration",
    ],
    "answers cannot be held to a schema yet": [
        "test_json_mode",
        "test_structured_output",
        "test_structured_output_async",
        "test_structured_output_optional_param",
        "test_structured_output_pydantic_2_v1",
    ],
    "the starter model reads text alone": [
        "test_audio_inputs",
        "test_image_inputs",
        "test_image_tool_message",
        "test_pdf_inputs",
        "test_pdf_tool_message",
    ],
    "the messages are those of Anthropic's API": ["test_anthropic_inputs"],
    "it measures time with recorded answers": ["test_stream_time"],
}
MODEL = "starter/chat"
HELLO = [HumanMessage("Hello! Who are you?")]


def connection():
    key = os.environ["LAMPSTAND_KEY"]
    return {"base_url": os.environ["LAMPSTAND_URL"] + "/v1", "api_key": key, "max_retries": 0, "timeout": 60}


class TestStandardSuite(ChatModelIntegrationTests):
    @property
    def chat_model_class(self):
        return ChatOpenAI

    @property
    def chat_model_params(self):
        # For an address that is not OpenAI's, LangChain asks for usage in streams only where it is told to.
        return {"model": "gpt-4o", "stream_usage": True, **connection()}

    @property
    def model_override_value(self):
        return MODEL

    @property
    def has_tool_calling(self):
        return False

    @property
    def has_tool_choice(self):
        return False

    @property
    def has_structured_output(self):
        return False

    @property
    def supported_usage_metadata_details(self):
        return {"invoke": ["cache_read_input"], "stream": ["cache_read_input"]}

    def invoke_with_cache_read_input(self, *, stream=False):
        chat = ChatOpenAI(**self.chat_model_params, temperature=0, max_tokens=4)
        long = [HumanMessage("Please remember this: " + "one two three " * 40)]
        chat.invoke(long)
        if not stream:
            return chat.invoke(long)
        full = None
        for chunk in chat.stream(long):
            full = chunk if full is None else full + chunk
        assert full.usage_metadata["input_token_details"]["cache_read"] > 0
        return full


def chat(**parameters):
    return ChatOpenAI(model="gpt-4o", **connection(), **{"temperature": 0, "max_tokens": 24, **parameters})


def test_pieces_make_the_whole():
    whole = chat().invoke(HELLO)
    assert whole.response_metadata["model_name"] == MODEL
    assert whole.response_metadata["finish_reason"] in ("stop", "length")
    assert "".join(chunk.text for chunk in chat().stream(HELLO)) == whole.text
    assert [answer.text for answer in chat().batch([HELLO, HELLO, "Please count to 5."])][:2] == [whole.text] * 2


def test_several_answers_with_logprobs():
    several = chat(n=2, temperature=1, seed=1).generate([HELLO])
    assert len(several.generations[0]) == 2 and several.llm_output["token_usage"]["completion_tokens"] > 2
    scored = chat(logprobs=True, top_logprobs=2, max_tokens=3).invoke(HELLO)
    told = scored.response_metadata["logprobs"]["content"]
    assert len(told) == scored.usage_metadata["output_tokens"] and all(len(token["top_logprobs"]) == 2 for token in told)


def test_a_past_with_tools_is_read():
    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "call_1", "type": "tool_call"}
    past = [
        SystemMessage("You add."),
        HumanMessage("What is 1 plus 2?"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("3", tool_call_id="call_1", name="add"),
    ]
    assert chat().bind_tools([add]).invoke(past).text


def test_errors_are_openais():
    with pytest.raises(openai.BadRequestError) as caught:
        chat(top_p=2).invoke(HELLO)
    assert caught.value.param == "top_p"
    with pytest.raises(ContextOverflowError) as caught:
        chat().invoke("a very long question " * 2000)
    assert caught.value.code == "context_length_exceeded"


def test_completions():
    ask = OpenAI(model=MODEL, **connection(), temperature=0, max_tokens=8)
    whole = ask.invoke("Hello there")
    assert "".join(ask.stream("Hello there")) == whole
    drawn = OpenAI(model=MODEL, **connection(), max_tokens=8, n=2, best_of=3, seed=1)
    several = drawn.generate(["Hello there", "Once"])
    assert [len(texts) for texts in several.generations] == [2, 2]


class Outcomes:
    """Gathers what the suite skips and how much passes."""

    def __init__(self):
        self.skipped, self.passed = set(), 0

    def pytest_runtest_logreport(self, report):
        if report.skipped:
            self.skipped.add(re.sub(r"\[.*", "", report.nodeid.split("::")[-1]))
        self.passed += report.when == "call" and report.passed


if __name__ == "__main__":
    outcomes = Outcomes()
    arguments = ["--quiet", "--tb=short", "-p", "no:cacheprovider"]
    arguments += ["--disable-socket", "--allow-unix-socket", "--allow-hosts=127.0.0.1"]
    # One loop for all: LangChain keeps connections from one test to the next.
    arguments += ["--override-ini=asyncio_mode=auto"]
    arguments += [f"--override-ini=asyncio_default_{of}_loop_scope=session" for of in ("test", "fixture")]
    script = os.path.abspath(__file__)
    # Its plug-ins leave folders where they run.
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        status = pytest.main([script, *arguments], plugins=[outcomes])
        os.chdir(os.path.dirname(script))
    assert status == 0, f"pytest ended with {status}"
    expected = {name for names in SWITCHED_OFF.values() for name in names}
    assert outcomes.skipped == expected, f"skipped and expected differ: {sorted(outcomes.skipped ^ expected)}"
    print(f"LangChain: {outcomes.passed} tests, all passed")
