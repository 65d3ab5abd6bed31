"""The Anthropic SDK on Claude models, and translated on GPT models."""

import grammar
import pytest
from anthropic import beta_tool
from conftest import CLAUDE, GPT, PNG, UPSTREAM, raw
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Say hello"}]
WEATHER = {
    "name": "weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


WEATHER_ASKED = [{"role": "user", "content": "Use the tool weather for Paris"}]
THINKING = {"type": "enabled", "budget_tokens": 2000}


class Person(BaseModel):
    name: str
    age: int


def test_text(claude, model):
    message = claude.messages.create(model=model, max_tokens=200, messages=HELLO)
    assert message.content[-1].text.startswith(f"This is {model}, simulated.")
    assert (message.stop_reason, message.role, message.model) == ("end_turn", "assistant", model)
    assert message.usage.input_tokens > 0 and message.usage.output_tokens > 0


def test_a_stream_has_the_same_content_as_the_whole(claude, model):
    whole = claude.messages.create(model=model, max_tokens=200, messages=HELLO)
    with claude.messages.stream(model=model, max_tokens=200, messages=HELLO) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == final.content[-1].text == whole.content[-1].text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("more", [{}, {"thinking": THINKING}, {"stop_sequences": ["said"]}, {"max_tokens": 3}], ids=str)
@pytest.mark.parametrize("asked", [HELLO, WEATHER_ASKED], ids=["text", "tool"])
def test_a_stream_keeps_to_the_grammar(claude, model, asked, more):
    options = {"model": model, "max_tokens": 3000, "messages": asked, "tools": [WEATHER], "stream": True} | more
    events, ended = grammar.messages(raw(claude.messages.with_streaming_response.create(**options)))
    assert ended == "properly"
    kinds = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert ("tool_use" in kinds) == (asked == WEATHER_ASKED)
    assert "thinking" in kinds or "thinking" not in more


def test_a_tool_call_goes_round(claude, model):
    options = {"model": model, "max_tokens": 500, "tools": [WEATHER]}
    first = claude.messages.create(messages=WEATHER_ASKED, **options)
    assert first.stop_reason == "tool_use"
    call = first.content[-1]
    assert (call.type, call.name, list(call.input)) == ("tool_use", "weather", ["city"])
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "22 degrees"}
    turns = [*WEATHER_ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = claude.messages.create(messages=turns, **options)
    assert second.stop_reason == "end_turn"
    assert "22 degrees" in second.content[-1].text


def test_a_streamed_tool_call_adds_up(claude, model):
    with claude.messages.stream(model=model, max_tokens=500, messages=WEATHER_ASKED, tools=[WEATHER]) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert "Paris" in final.content[-1].input["city"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_calls_in_parallel_go_round_with_a_result_that_is_an_error(own, model, streamed):
    client = own.anthropic(_strict_response_validation=True)
    options = {"model": model, "max_tokens": 500, "tools": [WEATHER]}
    if streamed:
        own.calls_two_tools(model, streamed)
        body = raw(client.messages.with_streaming_response.create(messages=WEATHER_ASKED, stream=True, **options))
        assert grammar.messages(body)[1] == "properly"
        own.calls_two_tools(model, streamed)
        with client.messages.stream(messages=WEATHER_ASKED, **options) as stream:
            first = stream.get_final_message()
    else:
        own.calls_two_tools(model, streamed)
        first = client.messages.create(messages=WEATHER_ASKED, **options)
    assert first.stop_reason == "tool_use"
    assert [(call.name, call.input["city"]) for call in first.content] == [("weather", "Paris"), ("weather", "Oslo")]
    [paris, oslo] = [{"type": "tool_result", "tool_use_id": call.id} for call in first.content]
    results = [paris | {"content": "22 degrees"}, oslo | {"content": "no such city", "is_error": True}]
    turns = [*WEATHER_ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(messages=turns, **options)
    assert "no such city" in second.content[-1].text
    sent = own.received(UPSTREAM[model])[-1]["body"]
    if model == GPT:
        outputs = [item for item in sent["input"] if item["type"] == "function_call_output"]
        assert [output["call_id"] for output in outputs] == [call.id for call in first.content]
        assert outputs[1]["output"].lower().startswith("error")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_thinking_comes_back_and_can_be_sent_again(claude, model, shared, streamed):
    """Either simulated provider refuses thinking that is not its own, letter by letter."""
    options = {"model": model, "max_tokens": 3000, "thinking": THINKING, "tools": [WEATHER]}
    if streamed:
        with claude.messages.stream(messages=WEATHER_ASKED, **options) as stream:
            first = stream.get_final_message()
    else:
        first = claude.messages.create(messages=WEATHER_ASKED, **options)
    assert [block.type for block in first.content] == ["thinking", "text", "tool_use"]
    assert first.content[0].thinking and first.content[0].signature
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": "22 degrees"}
    more = [*WEATHER_ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    with claude.messages.stream(messages=more, **options) as stream:
        second = stream.get_final_message()
    assert [block.type for block in second.content] == ["thinking", "text"]
    assert second.content[0].signature
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == GPT:
        assert sent["input"][1]["type"] == "reasoning" and sent["input"][1]["encrypted_content"]
    else:
        assert sent["messages"][1]["content"][0]["signature"] == first.content[0].signature


def test_an_image_reaches_the_gateway(claude, model, shared):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    claude.messages.create(model=model, max_tokens=200, messages=[{"role": "user", "content": content}])
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == CLAUDE:
        assert sent["messages"][0]["content"] == content
        return
    [image, text] = sent["input"][0]["content"]
    assert (image["type"], image["image_url"]) == ("input_image", f"data:image/png;base64,{PNG}")
    assert (text["type"], text["text"]) == ("input_text", "What is this?")


def test_an_image_in_the_result_of_a_tool_reaches_the_gateway(claude, model, shared):
    options = {"model": model, "max_tokens": 500, "tools": [WEATHER]}
    first = claude.messages.create(messages=WEATHER_ASKED, **options)
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    result = {"type": "tool_result", "tool_use_id": first.content[-1].id, "content": [image]}
    turns = [*WEATHER_ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    claude.messages.create(messages=turns, **options)
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == CLAUDE:
        assert sent["messages"][-1]["content"] == [result]
        return
    [image] = sent["input"][-1]["output"]
    assert (image["type"], image["image_url"]) == ("input_image", f"data:image/png;base64,{PNG}")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_the_sdks_own_loop_runs_the_tool_and_ends(claude, model, shared, streamed):
    """It has Anthropic keep the conversation, and sends all of it where it is told that nobody does."""
    seen = []

    @beta_tool
    def weather(city: str) -> str:
        """Tells the weather"""
        seen.append(city)
        return "22 degrees"

    options = {"model": model, "max_tokens": 500, "messages": WEATHER_ASKED, "tools": [weather], "stream": streamed}
    final = claude.beta.messages.tool_runner(max_iterations=3, **options).until_done()
    assert len(seen) == 1 and "Paris" in seen[0]
    assert "The tool answered" in final.content[-1].text and "22 degrees" in final.content[-1].text
    assert "thread" not in shared.received(UPSTREAM[model])[-1]["body"]


def test_a_structured_answer_has_its_form(claude, model):
    asked = [{"role": "user", "content": "Who is Ada?"}]
    message = claude.messages.parse(model=model, max_tokens=500, messages=asked, output_format=Person)
    assert isinstance(message.parsed_output, Person)


def test_a_structured_stream_has_its_form(claude, model):
    asked = [{"role": "user", "content": "Who is Ada?"}]
    with claude.messages.stream(model=model, max_tokens=500, messages=asked, output_format=Person) as stream:
        assert isinstance(stream.get_final_message().parsed_output, Person)


def test_tokens_are_counted(claude, model):
    short = claude.messages.count_tokens(model=model, messages=HELLO, tools=[WEATHER])
    long = claude.messages.count_tokens(model=model, messages=[{"role": "user", "content": "word " * 500}])
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
