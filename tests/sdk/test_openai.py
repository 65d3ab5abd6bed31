"""The OpenAI SDK: Responses and Chat Completions, on GPT models and on Claude."""

import json

import pytest
from conftest import CLAUDE, GPT, PNG

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


@pytest.fixture(params=[GPT, CLAUDE])
def model(request):
    return request.param


def test_responses_text(gpt, model):
    response = gpt.responses.create(model=model, input="Say hello", store=False)
    assert response.output_text.startswith(f"This is {model}, simulated.")
    assert response.status == "completed"
    assert response.usage.output_tokens > 0


def test_responses_stream_has_the_same_content_as_the_whole(gpt, model):
    whole = gpt.responses.create(model=model, input="Say hello", store=False)
    with gpt.responses.stream(model=model, input="Say hello", store=False) as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(pieces) > 3
    assert "".join(pieces) == final.output_text == whole.output_text


def test_responses_events_are_numbered_and_end_with_completion(gpt, model):
    events = list(gpt.responses.create(model=model, input="Say hello", store=False, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


def test_responses_tool_call_goes_round_with_its_reasoning(gpt, model):
    options = {
        "model": model,
        "tools": [WEATHER],
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "medium", "summary": "auto"},
    }
    asked = {"role": "user", "content": "Use the tool weather for Paris"}
    first = gpt.responses.create(input=[asked], **options)
    kinds = [item.type for item in first.output]
    assert kinds[0] == "reasoning" and kinds[-1] == "function_call"
    assert first.output[0].encrypted_content
    call = first.output[-1]
    assert "Paris" in json.loads(call.arguments)["city"]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "22 degrees"}
    second = gpt.responses.create(input=[asked, *first.output, result], **options)
    assert "22 degrees" in second.output_text
    # Claude of this age does not tell how much of its answer was thinking.
    assert second.usage.output_tokens_details.reasoning_tokens > 0 or model == CLAUDE


def test_responses_streamed_tool_call_adds_up(gpt, model):
    asked = "Use the tool weather for Paris"
    with gpt.responses.stream(model=model, input=asked, tools=[WEATHER], store=False) as stream:
        final = stream.get_final_response()
    assert "Paris" in json.loads(final.output[-1].arguments)["city"]


def test_responses_image_reaches_the_gateway_as_it_is(gpt, shared):
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": IMAGE, "detail": "low"},
    ]
    gpt.responses.create(model=GPT, input=[{"role": "user", "content": content}], store=False)
    assert shared.received("responses")[-1]["body"]["input"][0]["content"] == content


def test_responses_freeform_call_is_the_text_it_is(gpt, model):
    tool = {"type": "custom", "name": "apply_patch", "description": "Edits files."}
    asked = "Use the tool apply_patch for Paris"
    with gpt.responses.stream(model=model, input=asked, tools=[tool], store=False) as stream:
        final = stream.get_final_response()
    call = final.output[-1]
    assert (call.type, call.name) == ("custom_tool_call", "apply_patch")
    assert call.input and not call.input.startswith("{")


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


def test_chat_stream_without_usage_has_no_chunk_without_a_choice(gpt, model):
    chunks = list(gpt.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert all(len(chunk.choices) == 1 for chunk in chunks)


def test_chat_stream_helper_assembles_the_answer(gpt, model):
    with gpt.chat.completions.stream(model=model, messages=HELLO) as stream:
        stream.until_done()
        final = stream.get_final_completion()
    assert final.choices[0].message.content.startswith(f"This is {model}, simulated.")


def test_chat_image_reaches_the_gateway(gpt, model, shared):
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    gpt.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    if model == GPT:
        assert shared.received("chat_completions")[-1]["body"]["messages"][0]["content"] == content
        return
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    [_, image] = shared.received("messages")[-1]["body"]["messages"][0]["content"]
    assert (image["type"], image["source"]) == ("image", source)


def test_chat_tool_call_goes_round(gpt):
    asked = {"role": "user", "content": "Use the tool weather for Paris"}
    first = gpt.chat.completions.create(model=GPT, messages=[asked], tools=[CHAT_WEATHER]).choices[0]
    assert first.finish_reason == "tool_calls"
    [call] = first.message.tool_calls
    assert "Paris" in json.loads(call.function.arguments)["city"]
    result = {"role": "tool", "tool_call_id": call.id, "content": "22 degrees"}
    second = gpt.chat.completions.create(model=GPT, messages=[asked, first.message, result], tools=[CHAT_WEATHER])
    assert "22 degrees" in second.choices[0].message.content


def test_chat_streamed_tool_call_adds_up(gpt):
    asked = {"role": "user", "content": "Use the tool weather for Paris"}
    with gpt.chat.completions.stream(model=GPT, messages=[asked], tools=[CHAT_WEATHER]) as stream:
        [call] = stream.get_final_completion().choices[0].message.tool_calls
    assert "Paris" in json.loads(call.function.arguments)["city"]


def test_chat_reasoning_effort_reaches_the_gateway(gpt, shared):
    gpt.chat.completions.create(model=GPT, messages=HELLO, reasoning_effort="low", max_tokens=500)
    body = shared.received("chat_completions")[-1]["body"]
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("low", 500)
    assert "max_tokens" not in body


def test_models_are_listed_and_described(gpt):
    listed = list(gpt.models.list())
    assert {"gitlab-duo", CLAUDE, GPT} <= {model.id for model in listed}
    one = gpt.models.retrieve("gpt-5.5")
    assert (one.id, one.object, one.owned_by) == (GPT, "model", "openai")
