"""What goes wrong arrives as the exception that the SDK has for it."""

import anthropic
import openai
import pytest
from conftest import CLAUDE, GPT

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
    pytest.param(chat, openai, "chat_completions", id="chat"),
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


@ways
def test_no_credit_anywhere_is_a_402(own, ask, sdk, call):
    own.out_of_credit("ada", "grace")
    wanted = anthropic.PaymentRequiredError if sdk is anthropic else openai.APIStatusError
    with pytest.raises(wanted) as raised:
        ask(own)
    assert raised.value.status_code == 402
    assert int(raised.value.response.headers["retry-after"]) > 0
    assert {record["account"] for record in own.received(call)} == {"ada", "grace"}


def test_an_overloaded_anthropic_is_an_overload_in_its_own_words(own):
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    own.answer("messages", 529, error)
    with pytest.raises(anthropic.OverloadedError) as raised:
        messages(own)
    assert raised.value.status_code == 529
    with pytest.raises(openai.InternalServerError) as raised:
        chat_on_claude(own)
    assert raised.value.status_code == 503


@pytest.mark.parametrize("ask, call", [(responses, "responses"), (chat, "chat_completions")])
def test_an_overloaded_openai_is_a_server_error(own, ask, call):
    own.answer(call, 503, {"error": {"message": "Overloaded", "type": "server_error", "param": None, "code": None}})
    with pytest.raises(openai.InternalServerError) as raised:
        ask(own)
    assert raised.value.status_code == 503


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
