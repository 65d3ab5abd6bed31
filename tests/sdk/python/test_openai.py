"""The OpenAI SDK: Responses and Chat Completions, both on GPT models and on Claude models."""

import json

import grammar
import openai
import pytest
from conftest import CLAUDE, GPT, PNG, UPSTREAM, raw
from pydantic import BaseModel

HELLO = [{"role": "user", "content": "Say hello"}]
IMAGE = f"data:image/png;base64,{PNG}"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
CHAT_WEATHER = {"type": "function", "function": {"name": "weather", "parameters": CITY}}


ASKED = {"role": "user", "content": "Use the tool weather for Paris"}
REASONING = {"include": ["reasoning.encrypted_content"], "reasoning": {"effort": "medium", "summary": "auto"}}


class Person(BaseModel):
    name: str
    age: int


def test_responses_text(gpt, model):
    response = gpt.responses.create(model=model, input="Say hello", store=False)
    assert response.output_text.startswith(f"This is {model}, simulated.")
    assert (response.status, response.model) == ("completed", model)
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
    assert response.usage.output_tokens > 0


def test_responses_stream_has_the_same_content_as_the_whole(gpt, model):
    whole = gpt.responses.create(model=model, input="Say hello", store=False)
    with gpt.responses.stream(model=model, input="Say hello", store=False) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(pieces) > 3
    assert "".join(pieces) == final.output_text == whole.output_text
    assert final.usage.output_tokens == whole.usage.output_tokens


@pytest.mark.parametrize("more", [{}, REASONING, {"max_output_tokens": 16}], ids=["plain", "reasoning", "limit"])
@pytest.mark.parametrize("asked", ["Say hello", ASKED["content"]], ids=["text", "tool"])
def test_responses_stream_keeps_to_the_grammar(gpt, model, asked, more):
    options = {"model": model, "input": asked, "tools": [WEATHER], "store": False, "stream": True} | more
    events, ended = grammar.responses(raw(gpt.responses.with_streaming_response.create(**options)))
    assert ended == "properly"
    kinds = [event["item"]["type"] for event in events if event["type"] == "response.output_item.done"]
    assert ("function_call" in kinds) == (asked != "Say hello")
    assert "reasoning" in kinds or more != REASONING
    cut = "max_output_tokens" in more and asked == "Say hello"
    assert events[-1]["type"] == ("response.incomplete" if cut else "response.completed")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_responses_tool_call_goes_round_with_its_reasoning(gpt, model, shared, streamed):
    """Either simulated provider refuses reasoning that is not its own, letter by letter."""
    options = {"model": model, "tools": [WEATHER], "store": False} | REASONING
    if streamed:
        with gpt.responses.stream(input=[ASKED], **options) as stream:
            first = stream.get_final_response()
    else:
        first = gpt.responses.create(input=[ASKED], **options)
    kinds = [item.type for item in first.output]
    assert kinds[0] == "reasoning" and kinds[-1] == "function_call"
    assert first.output[0].encrypted_content
    call = first.output[-1]
    assert "Paris" in json.loads(call.arguments)["city"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    # The helper's items know more than the API takes.
    sent_back = [item.to_dict() for item in first.output]
    for item in sent_back:
        item.pop("parsed_arguments", None)
        for part in item.get("content") or []:
            part.pop("parsed", None)
    second = gpt.responses.create(input=[ASKED, *sent_back, result], **options)
    assert "22 degrees" in second.output_text
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == GPT:
        assert sent["input"][1]["encrypted_content"] == first.output[0].encrypted_content
        assert second.usage.output_tokens_details.reasoning_tokens > 0
    else:
        assert sent["messages"][1]["content"][0]["type"] == "thinking"
        assert sent["messages"][1]["content"][0]["signature"]


def test_responses_streamed_tool_call_adds_up(gpt, model):
    with gpt.responses.stream(model=model, input=[ASKED], tools=[WEATHER], store=False) as stream:
        final = stream.get_final_response()
    assert "Paris" in json.loads(final.output[-1].arguments)["city"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_responses_calls_in_parallel_go_round(own, model, streamed):
    client = own.openai(_strict_response_validation=True)
    options = {"model": model, "tools": [WEATHER], "store": False}
    if streamed:
        own.calls_two_tools(model, streamed)
        body = raw(client.responses.with_streaming_response.create(input=[ASKED], stream=True, **options))
        events, ended = grammar.responses(body)
        assert ended == "properly"
        calls = events[-1]["response"]["output"]
    else:
        own.calls_two_tools(model, streamed)
        calls = [item.to_dict() for item in client.responses.create(input=[ASKED], **options).output]
    assert [json.loads(call["arguments"])["city"] for call in calls] == ["Paris", "Oslo"]
    ids = [call["call_id"] for call in calls]
    results = [
        {"type": "function_call_output", "call_id": call_id, "output": output}
        for call_id, output in zip(ids, ("22 degrees", "error: no such city"))
    ]
    second = client.responses.create(input=[ASKED, *calls, *results], **options)
    assert "no such city" in second.output_text
    if model == CLAUDE:
        [_, said, answered] = own.received("messages")[-1]["body"]["messages"]
        assert [block["id"] for block in said["content"]] == ids
        assert [block["tool_use_id"] for block in answered["content"]] == ids


def test_responses_freeform_call_is_the_text_it_is(gpt, model):
    tool = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
    asked = "Use the tool apply_patch for Paris"
    with gpt.responses.stream(model=model, input=asked, tools=[tool], store=False) as stream:
        final = stream.get_final_response()
    call = final.output[-1]
    assert (call.type, call.name) == ("custom_tool_call", "apply_patch")
    assert call.input and not call.input.startswith("{")


def test_responses_image_reaches_the_gateway(gpt, model, shared):
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
    ]
    gpt.responses.create(model=model, input=[{"role": "user", "content": content}], store=False)
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == GPT:
        assert sent["input"][0]["content"] == content
        return
    [_, image] = sent["messages"][0]["content"]
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    assert (image["type"], image["source"]) == ("image", source)


def test_responses_structured_answer_has_its_form(gpt, model):
    response = gpt.responses.parse(model=model, input="Who is Ada?", text_format=Person, store=False)
    assert isinstance(response.output_parsed, Person)
    with gpt.responses.stream(model=model, input="Who is Ada?", text_format=Person, store=False) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Person)


def test_chat_text(gpt, model):
    completion = gpt.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=500)
    [choice] = completion.choices
    assert choice.message.content.startswith(f"This is {model}, simulated.")
    assert (choice.finish_reason, choice.message.role, completion.model) == ("stop", "assistant", model)
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens > 0


def test_chat_stream_has_the_same_content_as_the_whole(gpt, model):
    whole = gpt.chat.completions.create(model=model, messages=HELLO)
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(gpt.chat.completions.create(model=model, messages=HELLO, **options))
    *chunks, last = chunks
    assert last.choices == [] and last.usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert len(pieces) > 3
    assert "".join(pieces) == whole.choices[0].message.content


@pytest.mark.parametrize("usage", [False, True], ids=["plain", "usage"])
@pytest.mark.parametrize("more", [{}, {"reasoning_effort": "medium"}, {"max_completion_tokens": 16}], ids=str)
@pytest.mark.parametrize("asked", ["Say hello", ASKED["content"]], ids=["text", "tool"])
def test_chat_stream_keeps_to_the_grammar(gpt, model, asked, more, usage):
    options = {"model": model, "messages": [{"role": "user", "content": asked}], "tools": [CHAT_WEATHER]} | more
    if usage:
        options["stream_options"] = {"include_usage": True}
    body = raw(gpt.chat.completions.with_streaming_response.create(stream=True, **options))
    chunks, ended = grammar.chat(body, usage)
    assert ended == "properly"
    [reason] = {chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]} - {None}
    cut = "max_completion_tokens" in more and asked == "Say hello"
    assert reason == ("length" if cut else "tool_calls" if asked != "Say hello" else "stop")


def test_chat_stream_helper_assembles_the_answer(gpt, model):
    with gpt.chat.completions.stream(model=model, messages=HELLO) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert final.choices[0].message.content.startswith(f"This is {model}, simulated.")


def test_chat_image_reaches_the_gateway(gpt, model, shared):
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    gpt.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    if model == CLAUDE:
        source = {"type": "base64", "media_type": "image/png", "data": PNG}
        [_, image] = sent["messages"][0]["content"]
        assert (image["type"], image["source"]) == ("image", source)
    else:
        [_, image] = sent["input"][0]["content"]
        assert (image["type"], image["image_url"]) == ("input_image", IMAGE)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_chat_tool_call_goes_round(gpt, model, streamed):
    def ask(messages):
        options = {"model": model, "messages": messages, "tools": [CHAT_WEATHER]}
        if not streamed:
            return gpt.chat.completions.create(**options).choices[0]
        with gpt.chat.completions.stream(**options) as stream:
            return stream.get_final_completion().choices[0]

    first = ask([ASKED])
    assert first.finish_reason == "tool_calls"
    [call] = first.message.tool_calls
    assert "Paris" in json.loads(call.function.arguments)["city"]
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
    second = ask([ASKED, first.message.to_dict(), result])
    assert second.finish_reason == "stop"
    assert "22 degrees" in second.message.content


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_chat_calls_in_parallel_go_round(own, model, streamed):
    client = own.openai(_strict_response_validation=True)
    options = {"model": model, "tools": [CHAT_WEATHER]}
    own.calls_two_tools(model, streamed)
    if streamed:
        create = client.chat.completions.with_streaming_response.create
        assert grammar.chat(raw(create(messages=[ASKED], stream=True, **options)))[1] == "properly"
        own.calls_two_tools(model, streamed)
        with client.chat.completions.stream(messages=[ASKED], **options) as stream:
            first = stream.get_final_completion().choices[0]
    else:
        first = client.chat.completions.create(messages=[ASKED], **options).choices[0]
    calls = first.message.tool_calls
    assert [json.loads(call.function.arguments)["city"] for call in calls] == ["Paris", "Oslo"]
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": content}
        for call, content in zip(calls, ("22 degrees", "error: no such city"))
    ]
    second = client.chat.completions.create(messages=[ASKED, first.message.to_dict(), *results], **options)
    assert "no such city" in second.choices[0].message.content
    ids, sent = [call.id for call in calls], own.received(UPSTREAM[model])[-1]["body"]
    if model == CLAUDE:
        [_, said, answered] = sent["messages"]
        assert [block["id"] for block in said["content"]] == ids
        assert [block["tool_use_id"] for block in answered["content"]] == ids
    else:
        outputs = [item["call_id"] for item in sent["input"] if item["type"] == "function_call_output"]
        assert outputs == ids


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str)
def test_chat_tool_that_must_be_called_is_called(gpt, model, choice):
    options = {"tools": [CHAT_WEATHER], "tool_choice": choice, "parallel_tool_calls": False}
    message = gpt.chat.completions.create(model=model, messages=HELLO, **options).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["weather"]


def test_chat_structured_answer_has_its_form(gpt, model):
    options = {"model": model, "messages": [{"role": "user", "content": "Who is Ada?"}], "response_format": Person}
    assert isinstance(gpt.chat.completions.parse(**options).choices[0].message.parsed, Person)
    with gpt.chat.completions.stream(**options) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Person)


def test_chat_any_json_is_json(gpt, model):
    asked = [{"role": "user", "content": "Who is Ada? Answer in JSON."}]
    options = {"messages": asked, "response_format": {"type": "json_object"}}
    answer = gpt.chat.completions.create(model=model, **options).choices[0].message.content
    # Claude models know no such form: it is asked of them in words, which the simulated one does not read.
    assert model == CLAUDE or isinstance(json.loads(answer), dict)


def test_chat_reasoning_is_asked_for_counted_and_told(gpt, model):
    options = {"model": model, "messages": HELLO, "reasoning_effort": "low", "max_tokens": 3000}
    completion = gpt.chat.completions.create(**options)
    assert completion.usage.completion_tokens_details.reasoning_tokens > 0
    told = completion.choices[0].message.reasoning_content
    assert "I am to answer" in told
    chunks = list(gpt.chat.completions.create(stream=True, **options))
    pieces = [getattr(chunk.choices[0].delta, "reasoning_content", None) or "" for chunk in chunks]
    assert "".join(pieces) == told


def test_chat_with_reasoning_goes_on_after_a_call(gpt, model):
    """Though the dialect has no place for a proof of what was thought, which Claude asks for before a call."""
    options = {"model": model, "tools": [CHAT_WEATHER], "reasoning_effort": "high"}
    first = gpt.chat.completions.create(messages=[ASKED], **options).choices[0].message
    result = {"role": "tool", "tool_call_id": first.tool_calls[0].id, "content": "22 degrees"}
    second = gpt.chat.completions.create(messages=[ASKED, first.to_dict(), result], **options)
    assert "22 degrees" in second.choices[0].message.content


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_chat_older_function_call_goes_round(gpt, model, streamed):
    functions = [{"name": "weather", "parameters": CITY}]
    options = {"model": model, "messages": [ASKED], "functions": functions}
    if streamed:
        body = raw(gpt.chat.completions.with_streaming_response.create(stream=True, **options))
        chunks, ended = grammar.chat(body)
        assert ended == "properly"
        calls = [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks]
        calls = [call for call in calls if call]
        call = {"name": calls[0]["name"], "arguments": "".join(call["arguments"] for call in calls)}
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        [choice] = gpt.chat.completions.create(**options).choices
        call, reason = choice.message.function_call.to_dict(), choice.finish_reason
    assert (call["name"], reason) == ("weather", "function_call")
    assert "Paris" in json.loads(call["arguments"])["city"]
    said = {"role": "assistant", "content": None, "function_call": call}
    result = {"role": "function", "name": "weather", "content": "22 degrees"}
    second = gpt.chat.completions.create(**(options | {"messages": [ASKED, said, result]})).choices[0]
    assert "22 degrees" in second.message.content and second.finish_reason == "stop"


def test_the_older_completions_are_refused_with_the_way_forward(gpt, model):
    with pytest.raises(openai.APIStatusError) as raised:
        gpt.completions.create(model=model, prompt="Say hello")
    assert "/v1/chat/completions" in raised.value.message


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_chat_limit_goes_by_the_gateways_name(gpt, model, shared, limit):
    gpt.chat.completions.create(model=model, messages=HELLO, **{limit: 500})
    sent = shared.received(UPSTREAM[model])[-1]["body"]
    assert sent["max_tokens" if model == CLAUDE else "max_output_tokens"] == 500


def test_chat_instructions_reach_the_gateway(gpt, model, shared):
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Be kind."}, *HELLO]
    gpt.chat.completions.create(model=model, messages=messages)
    sent = json.dumps(shared.received(UPSTREAM[model])[-1]["body"])
    assert sent.index("Be brief.") < sent.index("Be kind.") < sent.index("Say hello")


@pytest.mark.parametrize("more", [{"n": 2}, {"logprobs": True, "top_logprobs": 2}], ids=str)
def test_chat_what_cannot_be_had_is_refused(gpt, model, more):
    with pytest.raises(openai.BadRequestError) as raised:
        gpt.chat.completions.create(model=model, messages=HELLO, **more)
    assert raised.value.param in more


def test_models_are_listed_and_described(gpt):
    listed = list(gpt.models.list())
    assert {"gitlab-duo", CLAUDE, GPT} <= {model.id for model in listed}
    one = gpt.models.retrieve("gpt-5.5")
    assert (one.id, one.object, one.owned_by) == (GPT, "model", "openai")
