// Vercel's `ai` with its providers for Anthropic, OpenAI (Responses and Chat Completions) and whatever is compatible, on
// a model of each family. What a provider gets it checks against schemas of its own.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { Output, generateObject, generateText, isStepCount, streamObject, streamText, tool } from 'ai';
import { z } from 'zod';

import { CLAUDE, CLIENT_KEY, GPT, PNG, WEATHER_ASKED, collected, forThisFile } from './stack.mjs';

const stack = await forThisFile();
const access = { baseURL: `${stack.url}/v1`, apiKey: CLIENT_KEY };
const anthropic = createAnthropic(access);
const openai = createOpenAI(access);
const compatible = createOpenAICompatible({
  ...access,
  name: 'duopool',
  includeUsage: true,
  supportsStructuredOutputs: true,
});

const Person = z.object({ name: z.string(), age: z.number().int() });
// How each provider is asked to have the model think.
const THINKING = { anthropic: { thinking: { type: 'enabled', budgetTokens: 2000 } } };
const REASONING = { openai: { forceReasoning: true, reasoningEffort: 'medium', reasoningSummary: 'auto', store: false } };
const EFFORT = { openai: { forceReasoning: true, reasoningEffort: 'medium' } };
const COMPATIBLE_EFFORT = { duopool: { reasoningEffort: 'medium' } };
// What the provider would have OpenAI store, and then refer to, the whole of it comes with each request instead.
const NOT_STORED = { openai: { store: false } };

const WAYS = [
  { name: 'anthropic', of: anthropic, thinking: THINKING },
  { name: 'openai responses', of: openai, plain: NOT_STORED, thinking: REASONING },
  { name: 'openai chat', of: (id) => openai.chat(id), thinking: EFFORT },
  { name: 'compatible', of: compatible, thinking: COMPATIBLE_EFFORT },
].flatMap((way) => [CLAUDE, GPT].map((id) => ({ ...way, id })));

const on = (what, body, ways = WAYS) => {
  for (const way of ways) {
    const options = { model: way.of(way.id), maxRetries: 0, providerOptions: way.plain };
    test(`${way.name}: ${what} on ${way.id}`, () => body(options, way));
  }
};

// A tool that remembers how it was called.
const weather = () => {
  const seen = [];
  const execute = ({ city }) => {
    seen.push(city);
    return '22 degrees';
  };
  const definition = { description: 'Tells the weather', inputSchema: z.object({ city: z.string() }), execute };
  return { seen, tools: { weather: tool(definition) } };
};

// Parts of a stream come as start, deltas and end under one id, one step after the other, with one end and no error.
function wellFormed(parts) {
  const open = new Map();
  for (const part of parts) {
    assert.notEqual(part.type, 'error', String(part.error));
    const [kind, step] = part.type.split(/-(?=start$|delta$|end$)/);
    if (!step || !['text', 'reasoning', 'tool-input'].includes(kind)) continue;
    if (step === 'start') {
      assert.ok(!open.has(part.id), `${part.type} of ${part.id} comes twice`);
      open.set(part.id, kind);
    } else {
      assert.equal(open.get(part.id), kind, `${part.type} of ${part.id} has no start`);
    }
    if (step === 'end') open.delete(part.id);
  }
  assert.equal(open.size, 0, 'a part has no end');
  assert.equal(parts[0].type, 'start');
  assert.equal(parts.at(-1).type, 'finish');
  const of = (type) => parts.filter((part) => part.type === type).length;
  assert.equal(of('start-step'), of('finish-step'));
  assert.equal(of('finish'), 1);
}

on('a text comes with its end and its usage', async (options, { id }) => {
  const { text, finishReason, usage, response } = await generateText({ ...options, prompt: 'Say hello' });
  assert.ok(text.startsWith(`This is ${id}, simulated.`), text);
  assert.deepEqual([finishReason, response.modelId], ['stop', id]);
  assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
});

on('a stream is well formed and has the content of the whole', async (options) => {
  const whole = await generateText({ ...options, prompt: 'Say hello' });
  const parts = await collected(streamText({ ...options, prompt: 'Say hello' }).stream);
  wellFormed(parts);
  const pieces = parts.filter(({ type }) => type === 'text-delta').map(({ text }) => text);
  assert.ok(pieces.length > 3);
  assert.equal(pieces.join(''), whole.text);
  const { finishReason, totalUsage } = parts.at(-1);
  assert.deepEqual([finishReason, totalUsage.outputTokens], ['stop', whole.usage.outputTokens]);
});

on('a tool is called and its result answered', async (options) => {
  const { seen, tools } = weather();
  const asked = { ...options, tools, prompt: WEATHER_ASKED, stopWhen: isStepCount(3) };
  const whole = await generateText(asked);
  assert.match(whole.text, /22 degrees/);
  assert.deepEqual(whole.steps.map(({ finishReason }) => finishReason), ['tool-calls', 'stop']);
  const streamed = streamText(asked);
  wellFormed(await collected(streamed.stream));
  assert.match(await streamed.text, /22 degrees/);
  assert.equal(seen.length, 2);
  assert.match(seen[0], /Paris/);
  assert.equal(seen[1], seen[0]);
});

on('a tool that must be called is called', async (options) => {
  for (const toolChoice of ['required', { type: 'tool', toolName: 'weather' }]) {
    const { seen, tools } = weather();
    const { finishReason } = await generateText({ ...options, tools, toolChoice, prompt: 'Say hello' });
    assert.deepEqual([finishReason, seen.length], ['tool-calls', 1]);
  }
});

on('what the model thinks is told, and goes with its call', async (options, { thinking, name }) => {
  const { tools } = weather();
  const asked = { ...options, providerOptions: thinking, tools, prompt: WEATHER_ASKED, stopWhen: isStepCount(3) };
  const whole = await generateText(asked);
  const streamed = streamText(asked);
  wellFormed(await collected(streamed.stream));
  assert.match(whole.text, /22 degrees/);
  assert.match(await streamed.text, /22 degrees/);
  const [first] = whole.steps;
  assert.ok(first.usage.outputTokenDetails.reasoningTokens > 0 || name === 'anthropic');
  // The provider for OpenAI's Chat Completions reads no thoughts there, since OpenAI itself tells none.
  if (name === 'openai chat') return;
  assert.match(first.reasoningText, /I am to answer/);
  assert.equal((await streamed.steps)[0].reasoningText, first.reasoningText);
});

on('an image reaches the gateway', async (options) => {
  const image = { type: 'file', mediaType: 'image/png', data: Buffer.from(PNG, 'base64') };
  const messages = [{ role: 'user', content: [{ type: 'text', text: 'What is this?' }, image] }];
  const { text } = await generateText({ ...options, messages });
  assert.match(text, /What is this/);
  assert.ok(JSON.stringify((await stack.received()).at(-1).body).includes(PNG));
});

on('a structured answer has its form', async (options) => {
  const asked = { ...options, output: Output.object({ schema: Person }), prompt: 'Who is Ada?' };
  Person.parse((await generateText(asked)).output);
  const streamed = streamText(asked);
  wellFormed(await collected(streamed.stream));
  Person.parse(await streamed.output);
});

on('an object is generated', async (options) => {
  const asked = { ...options, schema: Person, prompt: 'Who is Ada?' };
  Person.parse((await generateObject(asked)).object);
  const streamed = streamObject(asked);
  const parts = await collected(streamed.fullStream);
  assert.ok(parts.filter(({ type }) => type === 'object').length > 1);
  assert.equal(parts.at(-1).type, 'finish');
  Person.parse(await streamed.object);
});

on('a conversation goes on', async (options) => {
  const messages = [{ role: 'user', content: 'Say hello' }];
  const first = await generateText({ ...options, instructions: 'Be brief.', messages });
  messages.push(...first.response.messages, { role: 'user', content: 'And goodbye' });
  const second = await generateText({ ...options, instructions: 'Be brief.', messages });
  assert.match(second.text, /And goodbye/);
  assert.ok(JSON.stringify((await stack.received()).at(-1).body).includes('You said: \\"Say hello\\"'));
});

// With its defaults the provider refers to what it thinks OpenAI has stored.
const STORED = WAYS.filter(({ name, id }) => name === 'openai responses' && id === CLAUDE);

on(
  'with its defaults a conversation goes on from what is stored',
  async ({ model }) => {
    for (const streamed of [false, true]) {
      const ask = (messages) => (streamed ? streamText : generateText)({ model, maxRetries: 0, messages });
      const messages = [{ role: 'user', content: 'Say hello' }];
      const first = await (await ask(messages)).response;
      messages.push(...first.messages, { role: 'user', content: 'And goodbye' });
      assert.match(await (await ask(messages)).text, /And goodbye/);
      const { body } = (await stack.received()).at(-1);
      assert.deepEqual(body.messages.map(({ role }) => role), ['user', 'assistant', 'user']);
      assert.match(JSON.stringify(body.messages[1]), /You said: .*Say hello/);
    }
  },
  STORED,
);

on(
  'with its defaults a tool is called, with thoughts before, and its result answered',
  async ({ model }) => {
    const { tools } = weather();
    const providerOptions = { openai: { ...REASONING.openai, store: undefined } };
    const asked = { model, maxRetries: 0, providerOptions, tools, prompt: WEATHER_ASKED, stopWhen: isStepCount(3) };
    assert.match((await generateText(asked)).text, /22 degrees/);
    assert.match(await streamText(asked).text, /22 degrees/);
    const { body } = (await stack.received()).at(-1);
    const kinds = body.messages[1].content.map(({ type }) => type);
    assert.deepEqual(kinds, ['thinking', 'text', 'tool_use']);
  },
  STORED,
);
