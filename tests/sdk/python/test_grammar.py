"""The checker of streams finds what is wrong with one."""

import json

import grammar
import pytest
from conftest import CLAUDE, GPT, raw

# Events of which a stream may have one less: what is not there cannot be told from what was never said.
SPARE = {"ping", "content_block_delta"}
ASKED = [{"role": "user", "content": "Use the tool weather for Paris"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def stream(stack, way, model):
    if way == "messages":
        tools = [{"name": "weather", "input_schema": CITY}]
        create = stack.anthropic().messages.with_streaming_response.create
        thinking = {"type": "enabled", "budget_tokens": 2000}
        opened = create(model=model, max_tokens=3000, messages=ASKED, tools=tools, thinking=thinking, stream=True)
    else:
        tools = [{"type": "function", "name": "weather", "parameters": CITY}]
        create = stack.openai().responses.with_streaming_response.create
        reasoning = {"effort": "medium", "summary": "auto"}
        opened = create(model=model, input=ASKED, tools=tools, reasoning=reasoning, store=False, stream=True)
    return grammar.events(raw(opened))


def written(events, numbered):
    """Writes events anew; their numbers are made right, so that only what was done to them is wrong."""
    if numbered:
        events = [event | {"sequence_number": at} for at, event in enumerate(events)]
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


@pytest.mark.parametrize("model", [CLAUDE, GPT])
@pytest.mark.parametrize("way", ["messages", "responses"])
def test_no_event_is_missing_doubled_or_out_of_its_place_unnoticed(shared, way, model):
    events = stream(shared, way, model)
    check, numbered = getattr(grammar, way), way == "responses"
    assert check(written(events, numbered))[1] == "properly"

    def unnoticed(changed):
        try:
            return check(written(changed, numbered))[1] == "properly"
        except grammar.Broken:
            return False

    for at, event in enumerate(events):
        around = (events[:at], events[at + 1 :])
        if event["type"] not in SPARE:
            assert not unnoticed([*around[0], *around[1]]), f"without {at}: {event}"
            assert not unnoticed([*around[0], event, event, *around[1]]), f"twice {at}: {event}"
        if at + 1 < len(events) and events[at + 1]["type"] != event["type"] and "ping" not in (
            event["type"],
            events[at + 1]["type"],
        ):
            assert not unnoticed([*around[0], events[at + 1], event, *around[1][1:]]), f"late {at}: {event}"
        for index in ("index", "output_index", "content_index", "summary_index"):
            if index in event:
                other = event | {index: event[index] + 1}
                assert not unnoticed([*around[0], other, *around[1]]), f"{index} of {at}: {event}"


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_numbers_out_of_order_are_noticed(shared, model):
    events = stream(shared, "responses", model)
    with pytest.raises(grammar.Broken):
        grammar.responses(written([event | {"sequence_number": 0} for event in events], numbered=False))


def test_a_stream_without_its_end_did_not_end_properly(shared):
    events = stream(shared, "messages", GPT)
    assert grammar.messages(written(events[:-1], numbered=False))[1] == "cut short"
    assert grammar.messages(written(events[:-1], numbered=False)[:-1] + b"\n")[1] == "cut short"
    with pytest.raises(grammar.Broken):
        grammar.messages(written(events, numbered=False)[:-1])


@pytest.mark.parametrize("usage", [False, True])
def test_no_chunk_is_missing_doubled_or_out_of_its_place_unnoticed(shared, usage):
    more = {"stream_options": {"include_usage": True}} if usage else {}
    tools = [{"type": "function", "function": {"name": "weather", "parameters": CITY}}]
    create = shared.openai().chat.completions.with_streaming_response.create
    whole = raw(create(model=GPT, messages=ASKED, tools=tools, stream=True, **more))
    assert grammar.chat(whole, usage)[1] == "properly"
    blocks = whole.decode().split("\n\n")[:-1]

    def unnoticed(changed):
        try:
            return grammar.chat("".join(f"{block}\n\n" for block in changed).encode(), usage)[1] == "properly"
        except grammar.Broken:
            return False

    def is_spare(block):
        """What is not there cannot be told from what was never said."""
        return '"delta":{"content":"' in block or '"function":{"arguments":' in block

    for at, block in enumerate(blocks):
        before, after = blocks[:at], blocks[at + 1 :]
        if is_spare(block):
            continue
        assert not unnoticed([*before, *after]), f"without {block}"
        assert not unnoticed([*before, block, block, *after]), f"twice {block}"
        if after:
            assert not unnoticed([*before, after[0], block, *after[1:]]), f"late: {block}"
    with pytest.raises(grammar.Broken):
        grammar.chat(whole, not usage)
