// @anthropic-ai/sdk on a Claude model, and translated on a GPT model.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import Anthropic from '@anthropic-ai/sdk';
import { zodOutputFormat } from '@anthropic-ai/sdk/helpers/zod';
import { betaZodTool } from '@anthropic-ai/sdk/helpers/beta/zod';
import { z } from 'zod';

import * as grammar from './grammar.mjs';
import { CITY, CLAUDE, CLIENT_KEY, GPT, PNG, WEATHER_ASKED, collected, forThisFile } from './stack.mjs';

const stack = await forThisFile();
const client = new Anthropic({ baseURL: stack.url, apiKey: CLIENT_KEY, maxRetries: 0 });

const HELLO = [{ role: 'user', content: 'Say hello' }];
const ASKED = [{ role: 'user', content: WEATHER_ASKED }];
const WEATHER = { name: 'weather', description: 'Tells the weather', input_schema: CITY };
const THINKING = { type: 'enabled', budget_tokens: 2000 };
const Person = z.object({ name: z.string(), age: z.number().int() });

const on = (name, body) => [CLAUDE, GPT].forEach((model) => test(`${name} on ${model}`, () => body(model)));

on('a text comes with its end and its usage', async (model) => {
  const message = await client.messages.create({ model, max_tokens: 200, messages: HELLO });
  assert.ok(message.content.at(-1).text.startsWith(`This is ${model}, simulated.`));
  assert.deepEqual([message.stop_reason, message.role, message.model], ['end_turn', 'assistant', model]);
  assert.ok(message.usage.input_tokens > 0 && message.usage.output_tokens > 0);
});

on('a stream keeps to the grammar and has the content of the whole', async (model) => {
  const asked = { model, max_tokens: 200, messages: HELLO };
  const whole = await client.messages.create(asked);
  grammar.messages(await collected(await client.messages.create({ ...asked, stream: true })));
  const pieces = [];
  const final = await client.messages.stream(asked).on('text', (piece) => pieces.push(piece)).finalMessage();
  assert.ok(pieces.length > 3);
  assert.equal(pieces.join(''), whole.content.at(-1).text);
  assert.equal(final.content.at(-1).text, whole.content.at(-1).text);
  assert.deepEqual([final.stop_reason, final.usage.output_tokens], ['end_turn', whole.usage.output_tokens]);
});

on('a tool is called and its result answered', async (model) => {
  for (const streamed of [false, true]) {
    const ask = (messages) => {
      const asked = { model, max_tokens: 500, tools: [WEATHER], messages };
      return streamed ? client.messages.stream(asked).finalMessage() : client.messages.create(asked);
    };
    const first = await ask(ASKED);
    const call = first.content.at(-1);
    assert.deepEqual([first.stop_reason, call.type, call.name], ['tool_use', 'tool_use', 'weather']);
    assert.match(call.input.city, /Paris/);
    const result = { type: 'tool_result', tool_use_id: call.id, content: [{ type: 'text', text: '22 degrees' }] };
    const { role, content } = first;
    const second = await ask([...ASKED, { role, content }, { role: 'user', content: [result] }]);
    assert.equal(second.stop_reason, 'end_turn');
    assert.match(second.content.at(-1).text, /22 degrees/);
  }
});

on('a tool that must be called is called', async (model) => {
  const tool_choice = { type: 'tool', name: 'weather', disable_parallel_tool_use: true };
  const message = await client.messages.create({ model, max_tokens: 500, tools: [WEATHER], tool_choice, messages: HELLO });
  assert.deepEqual([message.content.at(-1).name, message.stop_reason], ['weather', 'tool_use']);
});

on("the SDK's own loop runs the tool and ends", async (model) => {
  for (const stream of [false, true]) {
    const seen = [];
    const run = ({ city }) => {
      seen.push(city);
      return '22 degrees';
    };
    const weather = betaZodTool({
      name: 'weather',
      description: 'Tells the weather',
      inputSchema: z.object({ city: z.string() }),
      run,
    });
    const asked = { model, max_tokens: 500, messages: ASKED, tools: [weather], max_iterations: 3, stream };
    const final = await client.beta.messages.toolRunner(asked).runUntilDone();
    assert.equal(seen.length, 1);
    assert.match(final.content.at(-1).text, /22 degrees/);
  }
});

on('thinking comes back and can be sent again', async (model) => {
  const asked = { model, max_tokens: 3000, thinking: THINKING, tools: [WEATHER] };
  grammar.messages(await collected(await client.messages.create({ ...asked, messages: ASKED, stream: true })));
  const first = await client.messages.stream({ ...asked, messages: ASKED }).finalMessage();
  assert.deepEqual(first.content.map(({ type }) => type), ['thinking', 'text', 'tool_use']);
  assert.ok(first.content[0].thinking && first.content[0].signature);
  const result = { type: 'tool_result', tool_use_id: first.content[2].id, content: '22 degrees' };
  const { role, content } = first;
  const messages = [...ASKED, { role, content }, { role: 'user', content: [result] }];
  const second = await client.messages.stream({ ...asked, messages }).finalMessage();
  assert.deepEqual(second.content.map(({ type }) => type), ['thinking', 'text']);
  // Either simulated provider refuses thinking that is not its own, letter by letter.
  const { body } = (await stack.received()).at(-1);
  if (model === GPT) assert.ok(body.input[1].encrypted_content);
  else assert.equal(body.messages[1].content[0].signature, first.content[0].signature);
});

on('an image reaches the gateway', async (model) => {
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } };
  const content = [image, { type: 'text', text: 'What is this?' }];
  await client.messages.create({ model, max_tokens: 200, messages: [{ role: 'user', content }] });
  const { body } = (await stack.received()).at(-1);
  if (model === CLAUDE) assert.deepEqual(body.messages[0].content, content);
  else assert.equal(body.input[0].content[0].image_url, `data:image/png;base64,${PNG}`);
});

on('an image in the result of a tool reaches the gateway', async (model) => {
  const asked = { model, max_tokens: 500, tools: [WEATHER] };
  const first = await client.messages.create({ ...asked, messages: ASKED });
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } };
  const result = { type: 'tool_result', tool_use_id: first.content.at(-1).id, content: [image] };
  const { role, content } = first;
  const messages = [...ASKED, { role, content }, { role: 'user', content: [result] }];
  const second = await client.messages.create({ ...asked, messages });
  assert.equal(second.stop_reason, 'end_turn');
  assert.ok(JSON.stringify((await stack.received()).at(-1).body).includes(PNG));
});

on('a structured answer has its form', async (model) => {
  const asked = { model, max_tokens: 500, messages: [{ role: 'user', content: 'Who is Ada?' }] };
  const output_config = { format: zodOutputFormat(Person) };
  const whole = await client.messages.parse({ ...asked, output_config });
  Person.parse(whole.parsed_output);
  const streamed = await client.messages.stream({ ...asked, output_config }).finalMessage();
  Person.parse(streamed.parsed_output);
});

on('tokens are counted', async (model) => {
  const short = await client.messages.countTokens({ model, messages: HELLO, tools: [WEATHER] });
  const long = await client.messages.countTokens({ model, messages: [{ role: 'user', content: 'word '.repeat(500) }] });
  assert.ok(0 < short.input_tokens && short.input_tokens < long.input_tokens);
});

test('models are listed, page by page, and described', async () => {
  const listed = [];
  for await (const model of client.models.list({ limit: 2 })) listed.push(model.id);
  for (const name of ['gitlab-duo', CLAUDE, GPT]) assert.ok(listed.includes(name), name);
  const one = await client.models.retrieve('claude-sonnet-4-5');
  assert.deepEqual([one.id, one.type, one.display_name], [CLAUDE, 'model', 'Claude Sonnet 4.5']);
});
