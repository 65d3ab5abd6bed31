"""What goes wrong arrives as the exception that the SDK has for it."""

import json

import anthropic
import grammar
import openai
import pytest
from conftest import CLAUDE, GPT, raw

HELLO = [{"role": "user", "content": "Say hello"}]


def messages(stack, **options):
    client = stack.anthropic(**options.pop("client", {}))
    return client.messages.create(**({"model": CLAUDE, "max_tokens": 200, "messages": HELLO} | options))


def responses(stack, **options):
    client = stack.openai(**options.pop("client", {}))
    return client.responses.create(**({"model": GPT, "input": "Say hello", "store": False} | options))


def chat(stack, **options):
    client = stack.openai(**options.pop("client", {}))
    return client.chat.completions.create(**({"model": GPT, "messages": HELLO} | options))


def chat_on_claude(stack, **options):
    return chat(stack, **({"model": CLAUDE} | options))


def messages_on_gpt(stack, **options):
    return messages(stack, **({"model": GPT} | options))


def responses_on_claude(stack, **options):
    return responses(stack, **({"model": CLAUDE} | options))


# Each way in, its SDK, and the call at the gateway that it becomes.
WAYS = [
    pytest.param(messages, anthropic, "messages", id="messages"),
    pytest.param(responses, openai, "responses", id="responses"),
    pytest.param(messages_on_gpt, anthropic, "responses", id="messages-on-gpt"),
    pytest.param(responses_on_claude, openai, "messages", id="responses-on-claude"),
    pytest.param(chat, openai, "responses", id="chat-on-gpt"),
    pytest.param(chat_on_claude, openai, "messages", id="chat-on-claude"),
]
ways = pytest.mark.parametrize("ask, sdk, call", WAYS)


@ways
def test_a_wrong_client_key_is_an_authentication_error(shared, ask, sdk, call):
    with pytest.raises(sdk.AuthenticationError) as raised:
        ask(shared, client={"api_key": "not-the-key-0123456789"})
    assert raised.value.status_code == 401


@ways
def test_an_unknown_model_is_not_found(shared, ask, sdk, call):
    family = "claude" if call == "messages" else "gpt"
    with pytest.raises(sdk.NotFoundError) as raised:
        ask(shared, model=f"{family}-nobody-has-9")
    assert f"{family}-nobody-has-9" in str(raised.value)


def test_an_unknown_model_is_not_described(shared):
    with pytest.raises(anthropic.NotFoundError):
        shared.anthropic().models.retrieve("claude-nobody-has-9")
    with pytest.raises(openai.NotFoundError):
        shared.openai().models.retrieve("gpt-nobody-has-9")


def test_a_malformed_request_is_a_bad_request_with_the_providers_words(shared):
    with pytest.raises(anthropic.BadRequestError) as raised:
        messages(shared, messages=[{"role": "user", "content": [{"type": "nonsense"}]}])
    assert raised.value.body["type"] == "error"
    with pytest.raises(openai.BadRequestError) as raised:
        responses(shared, extra_body={"input": [{"role": "user", "content": [{"type": "nonsense"}]}]})
    assert "nonsense" in raised.value.message
    for ask in (chat, chat_on_claude):
        with pytest.raises(openai.BadRequestError):
            ask(shared, messages=[{"role": "nobody", "content": "x"}])


def test_what_cannot_be_translated_is_a_bad_request_that_names_it(shared):
    with pytest.raises(anthropic.BadRequestError) as raised:
        messages_on_gpt(shared, messages=[{"role": "user", "content": [{"type": "nonsense"}]}])
    assert (raised.value.body["type"], raised.value.type) == ("error", "invalid_request_error")
    assert "messages[0].content[0]" in str(raised.value)
    with pytest.raises(openai.BadRequestError) as raised:
        responses_on_claude(shared, extra_body={"input": [{"role": "user", "content": [{"type": "nonsense"}]}]})
    assert "input[0].content[0]" in raised.value.message
    assert raised.value.body["type"] == "invalid_request_error"
    with pytest.raises(openai.BadRequestError) as raised:
        responses_on_claude(shared, previous_response_id="resp_1")
    assert raised.value.param == "previous_response_id"


def test_what_the_other_vendor_refuses_is_a_bad_request_in_its_words(own):
    refused = {"message": "Unknown parameter: 'x'.", "type": "invalid_request_error", "param": "x", "code": None}
    own.answer("responses", 400, {"error": refused})
    with pytest.raises(anthropic.BadRequestError) as raised:
        messages_on_gpt(own)
    assert raised.value.type == "invalid_request_error" and "Unknown parameter: 'x'." in str(raised.value)
    refused = {"type": "invalid_request_error", "message": "max_tokens: must be odd"}
    own.answer("messages", 400, {"type": "error", "error": refused})
    with pytest.raises(openai.BadRequestError) as raised:
        responses_on_claude(own)
    assert raised.value.message.endswith("max_tokens: must be odd")


def test_a_wrong_client_key_counts_no_tokens(shared):
    for model in (CLAUDE, GPT):
        with pytest.raises(anthropic.AuthenticationError):
            shared.anthropic(api_key="not-the-key-0123456789").messages.count_tokens(model=model, messages=HELLO)


@ways
def test_no_credit_anywhere_is_a_402(own, ask, sdk, call):
    own.out_of_credit("ada", "grace")
    wanted = anthropic.PaymentRequiredError if sdk is anthropic else openai.APIStatusError
    with pytest.raises(wanted) as raised:
        ask(own)
    assert raised.value.status_code == 402
    assert int(raised.value.response.headers["retry-after"]) > 0
    assert {record["account"] for record in own.received(call)} == {"ada", "grace"}


OVERLOADED = {
    "messages": (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
    "responses": (503, {"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}}),
}


@ways
def test_an_overload_is_one_in_the_clients_own_words(own, ask, sdk, call):
    own.answer(call, *OVERLOADED[call])
    wanted = anthropic.OverloadedError if sdk is anthropic else openai.InternalServerError
    with pytest.raises(wanted) as raised:
        ask(own)
    assert raised.value.status_code == (529 if sdk is anthropic else 503)


@ways
def test_a_throttled_provider_is_a_rate_limit_error(own, ask, sdk, call):
    anthropics = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down"}}
    openais = {"error": {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}}
    own.answer(call, 429, anthropics if call == "messages" else openais)
    with pytest.raises(sdk.RateLimitError):
        ask(own)


@ways
def test_an_error_event_of_the_provider_raises(own, ask, sdk, call):
    own.rule(call, {"kind": "error_event", "after": 9})
    with pytest.raises(sdk.APIError) as raised:
        seen = list(ask(own, stream=True))
        pytest.fail(f"the stream ended well after {len(seen)} events")
    assert "error" in str(raised.value)


def opened(stack, ask):
    """Opens a stream as bytes."""
    if ask in (chat, chat_on_claude):
        model = CLAUDE if ask == chat_on_claude else GPT
        create = stack.openai().chat.completions.with_streaming_response.create
        return raw(create(model=model, messages=HELLO, stream=True))
    model = CLAUDE if ask in (messages, responses_on_claude) else GPT
    if ask in (messages, messages_on_gpt):
        create, options = stack.anthropic().messages.with_streaming_response.create, {"max_tokens": 200}
        return raw(create(model=model, messages=HELLO, stream=True, **options))
    return raw(stack.openai().responses.with_streaming_response.create(model=model, input="x", store=False, stream=True))


CROSSED = [
    (messages_on_gpt, "responses", grammar.messages),
    (responses_on_claude, "messages", grammar.responses),
    (chat_on_claude, "messages", grammar.chat),
    (chat, "responses", grammar.chat),
]


@pytest.mark.parametrize("ask, call, check", CROSSED)
@pytest.mark.parametrize("kind", ["cut", "error_event"])
def test_a_translated_stream_that_fails_keeps_to_the_grammar_until_its_error(own, ask, call, check, kind):
    for after in (4, 6, 9, 12):
        own.rule(call, {"kind": kind, "after": after}, times=1)
        events, ended = check(opened(own, ask))
        assert ended == "by error", f"{after}: {events[-1]}"


def test_an_overload_in_the_middle_of_a_stream_has_its_class(own):
    """So that a client knows that to ask again helps."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    own.rule("messages", {"kind": "error_event", "after": 6, "event": f"event: error\ndata: {json.dumps(error)}\n\n"})
    with pytest.raises(openai.APIError) as raised:
        list(responses_on_claude(own, stream=True))
    assert "Overloaded" in str(raised.value)
    error = {"type": "error", "code": "server_is_overloaded", "message": "Overloaded", "param": None}
    error["sequence_number"] = 6
    own.rule("responses", {"kind": "error_event", "after": 6, "event": f"event: error\ndata: {json.dumps(error)}\n\n"})
    with pytest.raises(anthropic.APIStatusError) as raised:
        list(messages_on_gpt(own, stream=True))
    assert raised.value.type == "overloaded_error"


@ways
def test_a_stream_that_is_cut_after_content_raises_and_never_ends_well(own, ask, sdk, call):
    own.rule(call, {"kind": "cut", "after": 9})
    with pytest.raises(sdk.APIError) as raised:
        seen = list(ask(own, stream=True))
        pytest.fail(f"the stream ended well after {len(seen)} events")
    assert "cut off" in str(raised.value)


@ways
def test_a_stream_that_is_cut_before_content_goes_on_on_another_account(own, ask, sdk, call):
    own.rule(call, {"kind": "cut", "after": 0}, account="ada")
    for _ in range(4):
        assert len(list(ask(own, stream=True))) > 3
    assert {record["account"] for record in own.received(call) if record["ending"] == "complete"} == {"grace"}
