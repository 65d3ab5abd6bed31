"""A simulated GitLab, duopool in front of it, and the vendors' own SDKs pointed at duopool.

The SDKs judge what they get, here also with their strict response validation. Whoever breaks something makes a `Stack`
of their own: what duopool learns of an account's health stays.
"""

import json
import os
import re
import subprocess
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import anthropic
import openai
import pytest
import upstream

REPO = Path(__file__).resolve().parents[3]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or "target")
BINARY = os.environ.get("DUOPOOL_BIN") or REPO / TARGET / "debug" / "duopool"
ADMIN_KEY = "sdk-admin-key-0123456789"
CLIENT_KEY = "sdk-client-key-0123456789"
CLAUDE = "claude-sonnet-4-5-20250929"
GPT = "gpt-5.5-2026-04-23"
# The call at the gateway that a request for this model becomes, whichever API it came by.
UPSTREAM = {CLAUDE: "messages", GPT: "responses"}
# A picture of one pixel.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# Longest wait for a server to end, and for an answer to one call, in seconds.
WAIT_S_MAX = 30


@contextmanager
def server(arguments, folder, environment):
    """Starts duopool; yields the first address that it prints."""
    log = Path(folder) / f"{arguments[0]}.log"
    environment = {"PATH": os.environ["PATH"], "HOME": folder} | environment
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [BINARY, *arguments], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, cwd=folder
        )
        try:
            line = process.stdout.readline()
            found = re.search(r"http://[0-9.]+:[0-9]+", line)
            assert found, f"duopool {arguments[0]} did not start: {line}{log.read_text()}"
            yield found[0]
        finally:
            process.terminate()
            try:
                process.wait(WAIT_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def http(method, url, body=None):
    headers = {"content-type": "application/json", "authorization": f"Bearer {ADMIN_KEY}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    # No proxy of this machine has a say in loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=WAIT_S_MAX) as answer:
        return json.loads(answer.read() or "null")


class Stack:
    """duopool with two accounts, Ada's and Grace's, and the control routes of the GitLab behind it."""

    def __init__(self, gitlab, url):
        self.control, self.url = f"{gitlab}/simulator/v1", url
        for name in ("ada", "grace"):
            account = {"base_url": gitlab, "personal_access_token": f"glpat-demo-{name}-000000000000", "label": name}
            http("POST", f"{url}/admin/v1/accounts", account)

    def anthropic(self, **options):
        options = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": WAIT_S_MAX} | options
        return anthropic.Anthropic(base_url=self.url, **options)

    def openai(self, **options):
        options = {"api_key": CLIENT_KEY, "max_retries": 0, "timeout": WAIT_S_MAX} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def rule(self, call, effect, **more):
        """Has the gateway do `effect` to calls of this kind."""
        http("POST", f"{self.control}/rules", {"call": call, "effect": effect} | more)

    def answer(self, call, status, body):
        """Has the gateway answer calls of this kind so."""
        self.rule(call, {"kind": "answer", "status": status, "body": json.dumps(body)})

    def calls_two_tools(self, model, streamed):
        """Has the model answer once with two calls, as a stream or whole."""
        say = {CLAUDE: upstream.messages, GPT: upstream.responses}[model]
        kind = "text/event-stream" if streamed else "application/json"
        effect = {"kind": "answer", "status": 200, "body": say(model)[streamed], "content_type": kind}
        self.rule(UPSTREAM[model], effect, times=1)

    def out_of_credit(self, *names):
        for name in names:
            http("PATCH", f"{self.control}/accounts/{name}", {"credit": "exhausted"})

    def received(self, call):
        """Returns the calls of this kind that reached the gateway: their headers as a dictionary, their body as JSON."""
        records = [record for record in http("GET", f"{self.control}/requests") if record["call"] == call]
        return [record | {"headers": dict(record["headers"]), "body": json.loads(record["body"])} for record in records]


@contextmanager
def started():
    with tempfile.TemporaryDirectory(prefix="duopool-sdk-") as folder:
        with server(["simulate", "--listen", "127.0.0.1:0"], folder, {}) as gitlab:
            environment = {
                "DUOPOOL_ADMIN_KEY": ADMIN_KEY,
                "DUOPOOL_CLIENT_KEYS": CLIENT_KEY,
                "DUOPOOL_DATA_DIR": f"{folder}/data",
                "DUOPOOL_MODEL_FALLBACK": "off",
                "GITLAB_BASE_URL": gitlab,
                "GITLAB_AI_GATEWAY_URL": f"{gitlab}/ai",
            }
            with server(["serve", "--listen", "127.0.0.1:0"], folder, environment) as url:
                yield Stack(gitlab, url)


@pytest.fixture(scope="session")
def shared():
    """A stack in which nothing is broken."""
    with started() as stack:
        yield stack


@pytest.fixture
def own():
    """A stack that the test may break."""
    with started() as stack:
        yield stack


@pytest.fixture(params=[False, True], ids=["default", "strict"])
def strict(request):
    return request.param


@pytest.fixture(params=[CLAUDE, GPT])
def model(request):
    return request.param


@pytest.fixture
def claude(shared, strict):
    return shared.anthropic(_strict_response_validation=strict)


@pytest.fixture
def gpt(shared, strict):
    return shared.openai(_strict_response_validation=strict)


def raw(stream):
    """Returns the bytes of a stream that `with_streaming_response.create` opens."""
    with stream as answer:
        return b"".join(answer.iter_bytes())


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """No setting of this machine reaches an SDK."""
    for name in list(os.environ):
        if name.startswith(("ANTHROPIC_", "OPENAI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
