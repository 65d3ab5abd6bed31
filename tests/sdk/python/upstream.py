"""Two calls at once, as each provider says them: the simulated models make one at a time."""

import json

CALLS = [("weather", {"city": "Paris"}), ("weather", {"city": "Oslo"})]


def stream(events, numbered):
    parts = []
    for number, event in enumerate(events):
        event = event | ({"sequence_number": number} if numbered else {})
        parts.append(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n")
    return "".join(parts)


def messages(model):
    """Returns Anthropic's answer, whole and streamed."""
    usage = {"input_tokens": 20, "output_tokens": 30}
    blocks = [
        {"type": "tool_use", "id": f"toolu_{at}", "name": name, "input": arguments}
        for at, (name, arguments) in enumerate(CALLS)
    ]
    whole = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": blocks}
    whole |= {"stop_reason": "tool_use", "stop_sequence": None, "usage": usage}
    begun = whole | {"content": [], "stop_reason": None}
    events = [{"type": "message_start", "message": begun}]
    for at, block in enumerate(blocks):
        events.append({"type": "content_block_start", "index": at, "content_block": block | {"input": {}}})
        arguments = json.dumps(block["input"])
        for piece in (arguments[:5], arguments[5:]):
            delta = {"type": "input_json_delta", "partial_json": piece}
            events.append({"type": "content_block_delta", "index": at, "delta": delta})
        events.append({"type": "content_block_stop", "index": at})
    delta = {"stop_reason": "tool_use", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 30}})
    events.append({"type": "message_stop"})
    return json.dumps(whole), stream(events, numbered=False)


def responses(model):
    """Returns OpenAI's answer, whole and streamed."""
    items = [
        {
            "type": "function_call",
            "id": f"fc_{at}",
            "call_id": f"call_{at}",
            "name": name,
            "arguments": json.dumps(arguments),
            "status": "completed",
        }
        for at, (name, arguments) in enumerate(CALLS)
    ]
    usage = {"input_tokens": 20, "output_tokens": 30, "total_tokens": 50}
    usage["input_tokens_details"] = {"cached_tokens": 0, "cache_write_tokens": 0}
    usage["output_tokens_details"] = {"reasoning_tokens": 0}
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": model}
    whole |= {"output": items, "usage": usage, "error": None, "incomplete_details": None, "instructions": None}
    whole |= {"metadata": {}, "parallel_tool_calls": True, "temperature": 1.0, "tool_choice": "auto", "tools": []}
    whole |= {"top_p": 1.0}
    begun = whole | {"status": "in_progress", "output": [], "usage": None}
    events = [{"type": f"response.{word}", "response": begun} for word in ("created", "in_progress")]
    for at, item in enumerate(items):
        place = {"output_index": at}
        empty = item | {"arguments": "", "status": "in_progress"}
        events.append({"type": "response.output_item.added", "item": empty} | place)
        inside = place | {"item_id": item["id"]}
        for piece in (item["arguments"][:5], item["arguments"][5:]):
            events.append({"type": "response.function_call_arguments.delta", "delta": piece} | inside)
        done = {"type": "response.function_call_arguments.done", "arguments": item["arguments"]}
        events.append(done | {"name": item["name"]} | inside)
        events.append({"type": "response.output_item.done", "item": item} | place)
    events.append({"type": "response.completed", "response": whole})
    return json.dumps(whole), stream(events, numbered=True)
