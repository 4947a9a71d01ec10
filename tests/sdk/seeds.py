"""The Python programs of the documents that Lampstand answers to, with scripted input in the place of a keyboard.

Called by the test `sdk::python_loops` as: seeds.py URL, where the server has no key and its default settings.
The calls and the way in which answers are read are those of the documents: every event is JSON, and none of them names a model
(text-generation-webui) or all do (the gateways to Workers AI). Ends with "all passed", or with the first check that failed.
"""

import json
import sys

import requests
import sseclient

URL = sys.argv[1]
HEADERS = {"Content-Type": "application/json"}
SAID = ["Hello! Who are you?", "Please count to 5.", "Thank you!"]


def chat_with_a_character():
    """text-generation-webui: a chat that keeps its history, each answer in one piece."""
    url = URL + "/v1/chat/completions"
    history = []
    for user_message in SAID:
        history.append({"role": "user", "content": user_message})
        data = {"mode": "chat", "character": "Example", "messages": history}

        response = requests.post(url, headers=HEADERS, json=data, verify=False)
        assistant_message = response.json()["choices"][0]["message"]["content"]
        history.append({"role": "assistant", "content": assistant_message})
    assert [said["role"] for said in history] == ["user", "assistant"] * len(SAID)
    assert all(said["content"].strip() for said in history), history


def streaming_chat():
    """text-generation-webui: the same as a stream, where each event must hold a message."""
    url = URL + "/v1/chat/completions"
    history = []
    for user_message in SAID:
        history.append({"role": "user", "content": user_message})
        data = {"mode": "instruct", "stream": True, "messages": history}

        stream_response = requests.post(url, headers=HEADERS, json=data, verify=False, stream=True)
        client = sseclient.SSEClient(stream_response)
        assistant_message = ""
        for event in client.events():
            payload = json.loads(event.data)
            chunk = payload["choices"][0]["message"]["content"]
            assistant_message += chunk

        history.append({"role": "assistant", "content": assistant_message})
        assert assistant_message.strip()
        # What that API says at the end of every stream.
        choice = payload["choices"][0]
        assert choice["finish_reason"] in ("stop", "length") and payload["usage"]["completion_tokens"] > 1, payload


def streaming_completion():
    """text-generation-webui: a text that goes on as a stream; with its seed it is the same as in one piece."""
    url = URL + "/v1/completions"
    data = {
        "prompt": "This is a cake recipe:\n\n1.",
        "max_tokens": 200,
        "temperature": 1,
        "top_p": 0.9,
        "seed": 10,
        "stream": True,
    }

    stream_response = requests.post(url, headers=HEADERS, json=data, verify=False, stream=True)
    client = sseclient.SSEClient(stream_response)
    text = ""
    for event in client.events():
        payload = json.loads(event.data)
        text += payload["choices"][0]["text"]

    whole = requests.post(url, headers=HEADERS, json={**data, "stream": False}).json()
    assert text == whole["choices"][0]["text"]


def gateway_chat():
    """The gateway to Workers AI: one question with OpenAI's name of a model, and a key that nobody asks for."""
    response = requests.post(
        URL + "/v1/chat/completions",
        headers={"Content-Type": "application/json", "Authorization": "Bearer your-worker-api-key-here"},
        json={
            "model": "gpt-4",
            "messages": [{"role": "user", "content": "Explain quantum computing"}],
            "max_tokens": 500,
            "temperature": 0.7,
        },
    )
    assert response.json()["choices"][0]["message"]["content"].strip()


chat_with_a_character()
streaming_chat()
streaming_completion()
gateway_chat()
print(f"requests {requests.__version__}, sseclient-py: all passed")
