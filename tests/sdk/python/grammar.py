"""A strict reading of the streams that clients get: what the vendors' own streams keep to, as rules.

It reads bytes and shares nothing with duopool nor with its tests in Rust. A stream that breaks a rule is a `Broken`;
one that keeps to them is returned as its events and how it ended: `properly`, `by error` or `cut short`.
"""

import json


class Broken(AssertionError):
    """The stream does what no stream of the vendor does."""


def need(holds, problem):
    if not holds:
        raise Broken(problem)


def only(value, must, may=()):
    """Asserts that `value` is an object with exactly these members, some of which may be missing."""
    need(isinstance(value, dict), f"no object: {value!r}")
    need(set(must) <= set(value), f"{set(must) - set(value)} missing in {value}")
    need(set(value) <= {*must, *may}, f"{set(value) - {*must, *may}} do not belong in {value}")


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_object(text):
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def events(stream):
    """Splits a stream: an `event:` line, one `data:` line, an empty line; comments stand alone."""
    text = stream.decode()
    need(text == "" or text.endswith("\n\n"), f"no empty line after the last event: {text[-200:]!r}")
    found = []
    for block in text.split("\n\n")[:-1]:
        lines = block.split("\n")
        if len(lines) == 1 and block.startswith(":"):
            continue
        need(len(lines) == 2, f"not an event of two lines: {block!r}")
        need(lines[0].startswith("event: ") and lines[1].startswith("data: "), f"odd lines: {block!r}")
        data = json.loads(lines[1].removeprefix("data: "))
        need(data.get("type") == lines[0].removeprefix("event: "), f"`event:` and `type` differ: {block!r}")
        found.append(data)
    return found


def read(stream, reader):
    found = events(stream)
    for at, event in enumerate(found):
        try:
            need(reader.ended == "cut short", "an event after the end")
            reader.take(at, event)
        except Broken as problem:
            raise Broken(f"event {at}: {problem}\n{event}") from None
    return found, reader.ended


def messages(stream):
    """Reads a stream of Messages."""
    return read(stream, Messages())


def responses(stream):
    """Reads a stream of Responses."""
    return read(stream, Responses())


def chat(stream, usage=False):
    """Reads a stream of Chat Completions whose client asked for its usage, or did not."""
    text = stream.decode()
    need(text == "" or text.endswith("\n\n"), f"no empty line after the last chunk: {text[-200:]!r}")
    found, reader = [], Chat(usage)
    for block in text.split("\n\n")[:-1]:
        if block.startswith(":") and "\n" not in block:
            continue
        need(block.startswith("data: ") and "\n" not in block, f"not a chunk of one line: {block!r}")
        need(reader.ended == "cut short", f"a chunk after the end: {block!r}")
        try:
            if block == "data: [DONE]":
                reader.done()
            else:
                found.append(json.loads(block.removeprefix("data: ")))
                reader.take(found[-1])
        except Broken as problem:
            raise Broken(f"chunk {len(found)}: {problem}\n{block}") from None
    return found, reader.ended


class Messages:
    BEGINNINGS = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "redacted_thinking": {"data": None},
        "tool_use": {"id": None, "name": None, "input": {}},
    }
    # Kind of a delta: the block it belongs to, and its member.
    DELTAS = {
        "text_delta": ("text", "text"),
        "thinking_delta": ("thinking", "thinking"),
        "signature_delta": ("thinking", "signature"),
        "input_json_delta": ("tool_use", "partial_json"),
    }
    REASONS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")

    def __init__(self):
        self.ended, self.started, self.stopped = "cut short", False, False
        self.open, self.blocks, self.ids, self.said = None, 0, set(), ""
        self.signed = self.has_cut_call = False

    def take(self, at, event):
        kind = event["type"]
        if kind == "ping":
            return only(event, ["type"])
        if kind == "error":
            only(event, ["type", "error"], ["request_id"])
            need(event["error"]["type"].endswith("_error") and event["error"]["message"], "an error without its words")
            self.ended = "by error"
            return None
        need(self.started != (kind == "message_start"), "`message_start` is not the first event, and once")
        handler = getattr(self, f"on_{kind}", None)
        need(handler, "an unknown event")
        return handler(event)

    def on_message_start(self, event):
        only(event, ["type", "message"])
        self.started, message = True, event["message"]
        must = ["id", "type", "role", "content", "model", "stop_reason", "stop_sequence", "usage"]
        only(message, must, ["container", "stop_details", "context_management"])
        need(message["id"].startswith("msg_"), "an id that does not begin with `msg_`")
        need((message["type"], message["role"], message["content"]) == ("message", "assistant", []), "no empty message")
        need(message["stop_reason"] is None and message["stop_sequence"] is None, "stopped at the start")
        need(all(is_count(message["usage"][key]) for key in ("input_tokens", "output_tokens")), "no usage")

    def on_content_block_start(self, event):
        only(event, ["type", "index", "content_block"])
        need(self.open is None, "a block starts inside another")
        need(not self.stopped, "a block after `message_delta`")
        need(event["index"] == self.blocks, f"it should be block {self.blocks}")
        block = event["content_block"]
        wanted = self.BEGINNINGS.get(block["type"])
        need(wanted is not None, f"a block of unknown type {block['type']}")
        only(block, ["type", *wanted], ["citations", "caller"])
        for key, value in wanted.items():
            need(block[key] == value if value is not None else block[key], f"`{key}` at the start of a block")
        if block["type"] == "tool_use":
            need(block["id"] not in self.ids, "two calls have this id")
            need(all(c.isascii() and (c.isalnum() or c in "_-") for c in block["id"]), "no id of a call")
            self.ids.add(block["id"])
        self.open, self.said, self.signed = block["type"], "", False

    def on_content_block_delta(self, event):
        only(event, ["type", "index", "delta"])
        need(self.open and event["index"] == self.blocks, "no delta of the open block")
        delta = event["delta"]
        block, member = self.DELTAS.get(delta["type"], (None, None))
        need(block == self.open, f"a {delta['type']} in a block of {self.open}")
        only(delta, ["type", member])
        need(isinstance(delta[member], str), "no text")
        need(not self.signed, "a delta after the signature")
        self.signed = member == "signature"
        self.said += delta[member]

    def on_content_block_stop(self, event):
        only(event, ["type", "index"])
        need(self.open and event["index"] == self.blocks, "not the open block")
        if self.open == "tool_use" and self.said:
            self.has_cut_call |= not is_object(self.said)
        self.open, self.blocks = None, self.blocks + 1

    def on_message_delta(self, event):
        only(event, ["type", "delta", "usage"], ["context_management"])
        need(self.open is None, "a block is still open")
        need(not self.stopped, "a second `message_delta`")
        self.stopped, delta = True, event["delta"]
        only(delta, ["stop_reason", "stop_sequence"], ["container", "stop_details"])
        reason = delta["stop_reason"]
        need(reason in self.REASONS, "an unknown stop reason")
        need(is_count(event["usage"]["output_tokens"]), "no usage")
        need((reason == "stop_sequence") == (delta["stop_sequence"] is not None), "reason and sequence differ")
        need(reason != "tool_use" or self.ids, "`tool_use` without a call")
        need(reason not in ("end_turn", "stop_sequence") or not self.ids, f"{reason} with a call")
        need(not self.has_cut_call or reason == "max_tokens", "a call's input is no object")

    def on_message_stop(self, event):
        only(event, ["type"])
        need(self.stopped, "no `message_delta` before `message_stop`")
        self.ended = "properly"


class Item:
    """An item of a response, as its events tell it."""

    # Kind of an item: its prefix, its members when done, those it may have, its payload, and what that is called in events.
    KINDS = {
        "message": ("msg_", ["id", "type", "status", "role", "content"], ["phase"], None, None),
        "reasoning": ("rs_", ["id", "type", "summary"], ["encrypted_content", "content", "status"], None, None),
        "function_call": (
            "fc_",
            ["id", "type", "status", "arguments", "call_id", "name"],
            ["namespace"],
            "arguments",
            "function_call_arguments",
        ),
        "custom_tool_call": (
            "ctc_",
            ["id", "type", "call_id", "input", "name"],
            ["status", "namespace"],
            "input",
            "custom_tool_call_input",
        ),
    }
    # Kind of a part: the item it belongs to, the item's list of parts, its number's name, its words' member and how its
    # events are called.
    PARTS = {
        "output_text": ("message", "content", "content_index", "text", "content_part", "output_text"),
        "refusal": ("message", "content", "content_index", "refusal", "content_part", "refusal"),
        "summary_text": (
            "reasoning",
            "summary",
            "summary_index",
            "text",
            "reasoning_summary_part",
            "reasoning_summary_text",
        ),
    }

    def __init__(self, item):
        need(item["type"] in self.KINDS, f"an item of unknown type {item['type']}")
        self.kind, self.id = item["type"], item["id"]
        self.prefix, self.must, self.may, self.payload, self.stem = self.KINDS[self.kind]
        need(self.id.startswith(self.prefix), f"the id must begin with {self.prefix}")
        need(item.get("status") == "in_progress" or self.kind == "reasoning", "not added in progress")
        empty = {"message": "content", "reasoning": "summary"}.get(self.kind, self.payload)
        need(not item[empty], "added with content")
        self.open, self.parts, self.said, self.words_done, self.done = None, [], "", False, None

    def take(self, event):
        name = event["type"].removeprefix("response.")
        if self.payload and name == f"{self.stem}.delta":
            need(not self.words_done, "a delta after the payload was done")
            self.said += event["delta"]
            return
        if self.payload and name == f"{self.stem}.done":
            need(not self.words_done and event[self.payload] == self.said, f"the deltas said {self.said!r}")
            self.words_done = True
            return
        for kind, (item, _, index, member, part, words) in self.PARTS.items():
            if item != self.kind:
                continue
            if name in (f"{part}.added", f"{part}.done") and event["part"]["type"] == kind:
                return self.part(event, kind, index, member, name.endswith("added"))
            if name in (f"{words}.delta", f"{words}.done"):
                return self.words(event, kind, index, member, name.endswith("delta"))
        raise Broken(f"no event of a {self.kind}")

    def part(self, event, kind, index, member, opens):
        only(event, ["type", "sequence_number", "item_id", "output_index", index, "part"])
        need(event[index] == len(self.parts), f"it should be part {len(self.parts)}")
        lists = ["annotations", "logprobs"] if kind == "output_text" else []
        only(event["part"], ["type", member, *lists])
        if opens:
            need(self.open is None, "a part is still open")
            need(event["part"][member] == "", "a part is added with content")
            self.open, self.said, self.words_done = kind, "", False
            return
        need(self.open == kind and self.words_done, "that part is not said to its end")
        need(event["part"][member] == self.said, f"it said {self.said!r}")
        self.open = None
        self.parts.append(event["part"])

    def words(self, event, kind, index, member, more):
        lists = ["logprobs"] if kind == "output_text" else []
        said = "delta" if more else member
        only(event, ["type", "sequence_number", "item_id", "output_index", index, said, *lists], ["obfuscation"])
        need(self.open == kind and event[index] == len(self.parts), "that part is not open")
        need(not self.words_done, "the words were done")
        if more:
            self.said += event["delta"]
        else:
            need(event[member] == self.said, f"the deltas said {self.said!r}")
            self.words_done = True

    def finish(self, item):
        need((item["type"], item["id"]) == (self.kind, self.id), "another item was added")
        need(self.open is None, "a part is still open")
        only(item, self.must, self.may)
        need(item.get("status", "completed") in ("completed", "incomplete"), "no status of something done")
        if self.payload:
            need(self.words_done and item[self.payload] == self.said, f"its events said {self.said!r}")
            need(item["call_id"] and item["name"], "a call without id or name")
        else:
            need(item["content" if self.kind == "message" else "summary"] == self.parts, "its events said otherwise")
        self.done = item


class Responses:
    # What the SDK insists on where it validates strictly.
    MEMBERS = (
        "id object created_at status error incomplete_details instructions metadata model output parallel_tool_calls "
        "temperature tool_choice tools top_p usage"
    ).split()

    def __init__(self):
        self.ended, self.id, self.items, self.failing = "cut short", None, [], False

    def take(self, at, event):
        kind = event["type"]
        need(event["sequence_number"] == at, f"it should be number {at}")
        need(not self.failing or kind == "response.failed", "something else after an error")
        if kind == "error":
            need(event["message"], "an error without its words")
            self.failing, self.ended = True, "cut short"
            return
        if kind == "response.failed":
            # duopool's own, where a stream broke off: it knows only the error then, not the whole response.
            only(event, ["type", "sequence_number", "response"])
            response = event["response"]
            need(response["object"] == "response" and response["status"] == "failed", "no response that failed")
            need(response["error"]["code"] and response["error"]["message"], "a failure without words")
            self.ended = "by error"
            return
        beginning = ["response.created", "response.in_progress"]
        need((kind == beginning[at]) if at < 2 else kind not in beginning, "not begun as responses begin")
        if at < 2:
            self.response(event, "in_progress")
            need(event["response"]["output"] == [] and event["response"]["usage"] is None, "begun with content")
        elif kind in ("response.completed", "response.incomplete"):
            self.over(event, kind.removeprefix("response."))
        elif kind == "response.output_item.added":
            self.added(event)
        else:
            self.inside(event, kind)

    def response(self, event, status):
        only(event, ["type", "sequence_number", "response"])
        response = event["response"]
        need(set(self.MEMBERS) <= set(response), f"{set(self.MEMBERS) - set(response)} missing")
        need(response["status"] == status and response["object"] == "response", f"no response that is {status}")
        need(response["id"].startswith("resp_") and self.id in (None, response["id"]), "another response's id")
        self.id = response["id"]

    def added(self, event):
        only(event, ["type", "sequence_number", "output_index", "item"])
        need(event["output_index"] == len(self.items), f"it should be item {len(self.items)}")
        item = Item(event["item"])
        left_open = [other for other in self.items if other.done is None and not (other.payload and item.payload)]
        need(not left_open, "the item before is still open")
        need(all(other.id != item.id for other in self.items), "two items have this id")
        self.items.append(item)

    def inside(self, event, kind):
        need(0 <= event["output_index"] < len(self.items), "there is no such item")
        item = self.items[event["output_index"]]
        need(item.done is None, "the item is done")
        if kind == "response.output_item.done":
            only(event, ["type", "sequence_number", "output_index", "item"])
            return item.finish(event["item"])
        need(event["item_id"] == item.id, f"the item is {item.id}")
        return item.take(event)

    def over(self, event, status):
        self.response(event, status)
        response = event["response"]
        need([item.done for item in self.items] == response["output"], "`output` is not what was done")
        whole = status == "completed"
        need(whole == (response["incomplete_details"] is None), "details and status differ")
        for item in response["output"]:
            need(not whole or item.get("status", "completed") == "completed", "an incomplete item")
            need(not whole or item["type"] != "function_call" or is_object(item["arguments"]), "arguments are no object")
        usage = response["usage"]
        need(usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"], "the total is not the sum")
        need(is_count(usage["output_tokens_details"]["reasoning_tokens"]), "no tokens of reasoning")
        self.ended = "properly"


class Chat:
    FRAME = ["id", "object", "created", "model"]
    REASONS = ("stop", "length", "tool_calls", "content_filter", "function_call")

    def __init__(self, usage):
        self.ended, self.wants_usage, self.first = "cut short", usage, None
        # Name and arguments of each call, and whether the client asked in the older form, which has one call.
        self.calls, self.older, self.reason, self.has_usage = [], False, None, False

    def take(self, chunk):
        if "error" in chunk:
            only(chunk, ["error"], ["request_id"])
            only(chunk["error"], ["message", "type", "param", "code"])
            need(chunk["error"]["message"], "an error without its words")
            self.ended = "by error"
            return
        may = ["service_tier", "system_fingerprint", "obfuscation"]
        only(chunk, [*self.FRAME, "choices", *(["usage"] if self.wants_usage else [])], may)
        frame = [chunk[key] for key in self.FRAME]
        is_first, self.first = self.first is None, self.first or frame
        need(frame == self.first, "another id, time or model than before")
        need(chunk["object"] == "chat.completion.chunk" and chunk["id"].startswith("chatcmpl-"), "no chunk")
        need(not self.has_usage, "a chunk after the usage")
        if chunk["choices"] == []:
            need(self.wants_usage and self.reason, "a chunk without a choice that is no usage")
            usage, self.has_usage = chunk["usage"], True
            total = usage["prompt_tokens"] + usage["completion_tokens"]
            need(is_count(total) and usage["total_tokens"] == total, "the total is not the sum")
            need(is_count(usage["completion_tokens_details"]["reasoning_tokens"]), "no tokens of reasoning")
            need(is_count(usage["prompt_tokens_details"]["cached_tokens"]), "no tokens of the cache")
            return
        need(chunk.get("usage") is None, "usage beside a choice")
        [choice] = chunk["choices"]
        only(choice, ["index", "delta", "finish_reason"], ["logprobs"])
        need(choice["index"] == 0 and self.reason is None, "another choice, or one that goes on after its end")
        self.delta(choice["delta"], is_first)
        if choice["finish_reason"] is not None:
            need(not is_first and choice["delta"] == {}, "an end with content")
            self.over(choice["finish_reason"])

    def delta(self, delta, is_first):
        only(delta, ["role"] if is_first else [], ["content", "refusal", "reasoning_content", "tool_calls", "function_call"])
        need(not is_first or delta["role"] == "assistant", "not begun by the assistant")
        for member in ("content", "refusal", "reasoning_content"):
            said = delta.get(member, "")
            need(isinstance(said, str) or (said is None and is_first), f"`{member}` is no text")
            need(not (said and self.calls), f"`{member}` after a call")
        for call in delta.get("tool_calls", []):
            self.call(call)
        if "function_call" in delta:
            self.older = True
            self.fragment(delta["function_call"], begins=not self.calls)

    def call(self, call):
        need(not self.older, "both forms of calls")
        if call["index"] == len(self.calls):
            kind = call.get("type")
            need(kind in ("function", "custom"), "a call of no known kind")
            only(call, ["index", "id", "type", kind])
            need(call["id"], "a call without an id")
            self.fragment(call[kind], begins=True)
            return
        need(call["index"] == len(self.calls) - 1, f"no fragment of call {len(self.calls) - 1}")
        kind = "custom" if "custom" in call else "function"
        only(call, ["index", kind])
        self.fragment(call[kind], begins=False)

    def fragment(self, fragment, begins):
        payload = "input" if "input" in fragment else "arguments"
        only(fragment, ["name", payload] if begins else [payload])
        if begins:
            need(fragment["name"], "a call without a name")
            self.calls.append([payload, ""])
        self.calls[-1][1] += fragment[payload]

    def over(self, reason):
        need(reason in self.REASONS, "an unknown finish reason")
        self.reason, called = reason, "function_call" if self.older else "tool_calls"
        need(reason != "stop" or not self.calls, "`stop` with a call")
        need(reason not in ("tool_calls", "function_call") or (self.calls and reason == called), f"{reason} without one")
        whole = all(is_object(said) for payload, said in self.calls if payload == "arguments")
        need(whole or reason in ("length", "content_filter"), "arguments are no object")

    def done(self):
        need(self.reason, "`[DONE]` without a finish reason")
        need(self.has_usage == self.wants_usage, "the usage that was asked for is missing")
        self.ended = "properly"
