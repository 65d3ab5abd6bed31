// What goes wrong arrives as the error that each SDK has for it.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { APICallError, generateText, streamText } from 'ai';
import OpenAI from 'openai';

import { CLAUDE, CLIENT_KEY, GPT, collected, forThisFile, forThisTest } from './stack.mjs';

const shared = await forThisFile();

const HELLO = [{ role: 'user', content: 'Say hello' }];
const ofAnthropic = (stack, apiKey) => new Anthropic({ baseURL: stack.url, apiKey, maxRetries: 0 });
const ofOpenai = (stack, apiKey) => new OpenAI({ baseURL: `${stack.url}/v1`, apiKey, maxRetries: 0 });

// Asks, and reads a stream to its end.
const read = async (answer, stream) => (stream ? collected(await answer) : answer);
const vercel = (provider) => async (stack, { model, stream, apiKey }) => {
  const asked = { model: provider({ baseURL: `${stack.url}/v1`, apiKey }, model), maxRetries: 0, messages: HELLO };
  if (!stream) return generateText(asked);
  const parts = await collected(streamText({ ...asked, onError: () => {} }).stream);
  const failed = parts.find(({ type }) => type === 'error');
  if (failed) throw failed.error;
  return parts;
};

// Each way in: how it asks, and the SDK whose class an error must have.
const WAYS = [
  {
    name: 'messages',
    ask: (stack, { apiKey, ...asked }) =>
      read(ofAnthropic(stack, apiKey).messages.create({ max_tokens: 200, messages: HELLO, ...asked }), asked.stream),
    sdk: Anthropic,
  },
  {
    name: 'responses',
    ask: (stack, { apiKey, ...asked }) =>
      read(ofOpenai(stack, apiKey).responses.create({ input: 'Say hello', store: false, ...asked }), asked.stream),
    sdk: OpenAI,
  },
  {
    name: 'chat',
    ask: (stack, { apiKey, ...asked }) =>
      read(ofOpenai(stack, apiKey).chat.completions.create({ messages: HELLO, ...asked }), asked.stream),
    sdk: OpenAI,
  },
  { name: 'vercel anthropic', ask: vercel((access, id) => createAnthropic(access)(id)) },
  { name: 'vercel responses', ask: vercel((access, id) => createOpenAI(access)(id)) },
  { name: 'vercel chat', ask: vercel((access, id) => createOpenAI(access).chat(id)) },
  {
    name: 'vercel compatible',
    ask: vercel((access, id) => createOpenAICompatible({ ...access, name: 'duopool' })(id)),
  },
].flatMap((way) => [CLAUDE, GPT].map((model) => ({ ...way, model })));

const speaksMessages = ({ name }) => name === 'messages' || name === 'vercel anthropic';
const CLASSES = {
  400: 'BadRequestError',
  401: 'AuthenticationError',
  404: 'NotFoundError',
  429: 'RateLimitError',
  503: 'InternalServerError',
  529: 'InternalServerError',
};

const on = (what, body) => WAYS.forEach((way) => test(`${way.name}: ${what} on ${way.model}`, (t) => body(way, t)));

// Asks, and returns what the error says that must come; it must have this status.
async function failure(way, stack, status, asked = {}) {
  const error = await way.ask(stack, { apiKey: CLIENT_KEY, model: way.model, ...asked }).then(
    (answer) => assert.fail(`no error but ${JSON.stringify(answer).slice(0, 300)}`),
    (error) => error,
  );
  if (way.sdk) {
    assert.equal(error.status, status, `${error}`);
    assert.ok(error instanceof (way.sdk[CLASSES[status]] ?? way.sdk.APIError), `${error}`);
    return { message: error.message, code: error.code, after: error.headers.get('retry-after') };
  }
  assert.ok(APICallError.isInstance(error), `${error}`);
  const { statusCode, message, data, responseHeaders, isRetryable } = error;
  assert.equal(statusCode, status, `${error}`);
  assert.equal(isRetryable, status === 429 || status >= 500, `${error}`);
  return { message, code: data.error.code, after: responseHeaders['retry-after'] };
}

on('a wrong client key is a 401', async (way) => {
  for (const stream of [false, true]) await failure(way, shared, 401, { apiKey: 'not-the-key-0123456789', stream });
});

on('an unknown model is a 404 that names it', async (way) => {
  const model = `${way.model === CLAUDE ? 'claude' : 'gpt'}-nobody-has-9`;
  for (const stream of [false, true]) {
    assert.ok((await failure(way, shared, 404, { model, stream })).message.includes(model));
  }
});

on('no credit anywhere is a 402 that tells when to come again', async (way, t) => {
  const stack = await forThisTest(t);
  await stack.outOfCredit('ada', 'grace');
  for (const stream of [true, false]) assert.ok(Number((await failure(way, stack, 402, { stream })).after) > 0);
  assert.deepEqual(new Set((await stack.received()).map(({ account }) => account)), new Set(['ada', 'grace']));
});

on('a throttled provider is a 429 that tells when to come again', async (way, t) => {
  const stack = await forThisTest(t);
  const error = { type: 'rate_limit_error', message: 'Slow down', code: 'rate_limit_exceeded', param: null };
  await stack.answer(way.model, 429, { type: 'error', error }, [['retry-after', '7']]);
  const { after } = await failure(way, stack, 429, { stream: true });
  assert.ok(0 < Number(after) && Number(after) <= 30, after);
});

on('an overloaded provider is an overload', async (way, t) => {
  const stack = await forThisTest(t);
  const error = { type: way.model === CLAUDE ? 'overloaded_error' : 'server_error', message: 'Overloaded' };
  await stack.answer(way.model, way.model === CLAUDE ? 529 : 503, { type: 'error', error });
  await failure(way, stack, speaksMessages(way) ? 529 : 503);
});

const TOO_LONG = {
  [CLAUDE]: { type: 'invalid_request_error', message: 'prompt is too long: 250000 tokens > 200000 maximum' },
  [GPT]: {
    type: 'invalid_request_error',
    message: 'Your input exceeds the context window of this model. Please adjust your input and try again.',
    code: 'context_length_exceeded',
    param: 'input',
  },
};

on('a conversation that is too long is a 400 by which clients know that', async (way, t) => {
  const stack = await forThisTest(t);
  await stack.answer(way.model, 400, { type: 'error', error: TOO_LONG[way.model] });
  for (const stream of [false, true]) {
    const { message, code } = await failure(way, stack, 400, { stream });
    if (speaksMessages(way)) assert.match(message, /prompt is too long/);
    else assert.equal(code, 'context_length_exceeded');
  }
});

for (const kind of ['error_event', 'cut']) {
  on(`a stream with ${kind} after content raises, and never ends well`, async (way, t) => {
    const stack = await forThisTest(t);
    await stack.rule({ kind, after: 9 }, { model: way.model });
    await assert.rejects(way.ask(stack, { apiKey: CLIENT_KEY, model: way.model, stream: true }), (error) => {
      if (way.sdk) assert.ok(error instanceof way.sdk.APIError, `${error}`);
      return true;
    });
    // The client had seen content: nobody else was asked.
    assert.equal((await stack.received()).length, 1);
  });
}

on('an account that breaks off before content goes unnoticed', async (way, t) => {
  const stack = await forThisTest(t);
  await stack.rule({ kind: 'cut', after: 0 }, { model: way.model, account: 'ada' });
  for (let round = 0; round < 4; round += 1) {
    const asked = { apiKey: CLIENT_KEY, model: way.model, stream: true };
    assert.ok((await way.ask(stack, asked)).length > 3);
  }
  const served = (await stack.received()).filter(({ ending }) => ending === 'complete');
  assert.deepEqual(new Set(served.map(({ account }) => account)), new Set(['grace']));
});
