"""The Anthropic SDK, on Claude models and on GPT."""

import pytest
from conftest import CLAUDE, GPT, PNG

HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(params=[CLAUDE, GPT])
def model(request):
    return request.param


def test_text(claude, model):
    message = claude.messages.create(model=model, max_tokens=200, messages=HELLO)
    assert message.content[0].text.startswith(f"This is {model}, simulated.")
    assert (message.stop_reason, message.role, message.model) == ("end_turn", "assistant", model)
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_a_stream_has_the_same_content_as_the_whole(claude, model):
    whole = claude.messages.create(model=model, max_tokens=200, messages=HELLO)
    with claude.messages.stream(model=model, max_tokens=200, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == final.content[0].text == whole.content[0].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_a_tool_call_goes_round(claude, model):
    asked = [{"role": "user", "content": "Use the tool weather for Paris"}]
    first = claude.messages.create(model=model, max_tokens=500, messages=asked, tools=[WEATHER])
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert (call.type, call.name, list(call.input)) == ("tool_use", "weather", ["city"])
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees"}
    turns = [*asked, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = claude.messages.create(model=model, max_tokens=500, messages=turns, tools=[WEATHER])
    assert second.stop_reason == "end_turn"
    assert "22 degrees" in second.content[-1].text


def test_a_streamed_tool_call_adds_up(claude, model):
    asked = [{"role": "user", "content": "Use the tool weather for Paris"}]
    with claude.messages.stream(model=model, max_tokens=500, messages=asked, tools=[WEATHER]) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert "Paris" in final.content[-1].input["city"]


def test_thinking_comes_back_and_can_be_sent_again(claude, model):
    options = {"model": model, "max_tokens": 3000, "thinking": {"type": "enabled", "budget_tokens": 2000}}
    first = claude.messages.create(messages=HELLO, **options)
    assert [block.type for block in first.content] == ["thinking", "text"]
    assert first.content[0].thinking and first.content[0].signature
    more = [*HELLO, {"role": "assistant", "content": first.content}, {"role": "user", "content": "And again"}]
    with claude.messages.stream(messages=more, **options) as stream:
        second = stream.get_final_message()
    assert [block.type for block in second.content] == ["thinking", "text"]
    assert second.content[0].signature


def test_an_image_reaches_the_gateway_as_it_is(claude, shared):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    claude.messages.create(model=CLAUDE, max_tokens=200, messages=[{"role": "user", "content": content}])
    assert shared.received("messages")[-1]["body"]["messages"][0]["content"] == content


def test_tokens_are_counted(claude):
    short = claude.messages.count_tokens(model=CLAUDE, messages=HELLO)
    long = claude.messages.count_tokens(model=CLAUDE, messages=[{"role": "user", "content": "word " * 500}])
    assert 0 < short.input_tokens < long.input_tokens


def test_models_are_listed_and_described(claude):
    listed = list(claude.models.list(limit=1000))
    assert {"gitlab-duo", CLAUDE, GPT} <= {model.id for model in listed}
    one = claude.models.retrieve("claude-sonnet-4-5")
    assert (one.id, one.type, one.display_name) == (CLAUDE, "model", "Claude Sonnet 4.5")
    assert one.created_at.year == 2025


def test_the_version_that_the_sdk_speaks_is_forwarded_and_its_key_is_not(own):
    own.anthropic().messages.create(model="claude-sonnet-4-5", max_tokens=200, messages=HELLO)
    [call] = own.received("messages")
    assert call["headers"]["anthropic-version"] == "2026-10-21"
    assert call["body"]["model"] == CLAUDE
    assert "x-api-key" not in call["headers"]
    assert not [name for name in call["headers"] if name.startswith("x-stainless-")]


def test_either_header_carries_the_key(shared):
    for options in ({"auth_token": shared.anthropic().api_key, "api_key": None}, {}):
        shared.anthropic(**options).models.list()
    named = shared.anthropic(default_headers={"x-api-key": shared.anthropic().api_key, "Authorization": ""})
    named.messages.create(model=CLAUDE, max_tokens=200, messages=HELLO)


def test_response_headers_name_the_account_and_the_model(shared):
    raw = shared.anthropic().messages.with_raw_response.create(model="claude-sonnet-4-5", max_tokens=9, messages=HELLO)
    assert raw.headers["x-duopool-model"] == CLAUDE
    assert raw.headers["x-duopool-attempts"] == "1"
    assert raw.headers["x-duopool-account"].startswith("acct_")
    assert raw.parse()._request_id == raw.headers["request-id"] == raw.headers["x-request-id"]


def test_an_account_out_of_credit_goes_unnoticed(own):
    own.out_of_credit("ada")
    for _ in range(8):
        own.anthropic().messages.create(model=CLAUDE, max_tokens=200, messages=HELLO)
    assert {record["account"] for record in own.received("messages") if record["status"] == 200} == {"grace"}
