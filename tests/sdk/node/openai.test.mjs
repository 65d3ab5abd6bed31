// openai for node: Responses and Chat Completions, on GPT models and translated on a Claude model.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';
import { zodFunction, zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { z } from 'zod';

import * as grammar from './grammar.mjs';
import {
  CITY,
  CLAUDE,
  CLIENT_KEY,
  GPT,
  PNG,
  WEATHER_ASKED,
  collected,
  forThisFile,
} from './stack.mjs';

const stack = await forThisFile();
const client = new OpenAI({ baseURL: `${stack.url}/v1`, apiKey: CLIENT_KEY, maxRetries: 0 });

const ASKED = { role: 'user', content: WEATHER_ASKED };
const HELLO = [{ role: 'user', content: 'Say hello' }];
const IMAGE = `data:image/png;base64,${PNG}`;
const WEATHER = { type: 'function', name: 'weather', description: 'Tells the weather', parameters: CITY, strict: true };
const CHAT_WEATHER = { type: 'function', function: { name: 'weather', parameters: CITY } };
const REASONING = { include: ['reasoning.encrypted_content'], reasoning: { effort: 'medium', summary: 'auto' } };
const Person = z.object({ name: z.string(), age: z.number().int() });

const on = (name, body, models = [CLAUDE, GPT]) =>
  models.forEach((model) => test(`${name} on ${model}`, () => body(model)));

// What the stream helpers add to an item is not theirs who made it.
const plain = (items) =>
  items.map(({ parsed_arguments, ...item }) => ({
    ...item,
    ...(item.content && { content: item.content.map(({ parsed, ...part }) => part) }),
  }));

on('Responses: a text comes with its end and its usage', async (model) => {
  const response = await client.responses.create({ model, input: 'Say hello', store: false });
  assert.ok(response.output_text.startsWith(`This is ${model}, simulated.`));
  assert.deepEqual([response.status, response.model, response.error], ['completed', model, null]);
  const { input_tokens, output_tokens, total_tokens } = response.usage;
  assert.ok(input_tokens > 0 && output_tokens > 0 && total_tokens === input_tokens + output_tokens);
});

on('Responses: a stream keeps to the grammar and has the content of the whole', async (model) => {
  const asked = { model, input: 'Say hello', store: false };
  const whole = await client.responses.create(asked);
  grammar.responses(await collected(await client.responses.create({ ...asked, stream: true })));
  const pieces = [];
  const stream = client.responses.stream(asked).on('response.output_text.delta', ({ delta }) => pieces.push(delta));
  const final = await stream.finalResponse();
  assert.ok(pieces.length > 3);
  assert.equal(pieces.join(''), whole.output_text);
  assert.deepEqual([final.output_text, final.usage.output_tokens], [whole.output_text, whole.usage.output_tokens]);
});

on('Responses: a tool is called and its result answered, with the reasoning before', async (model) => {
  for (const streamed of [false, true]) {
    const ask = (input) => {
      const asked = { model, tools: [WEATHER], store: false, input, ...REASONING };
      return streamed ? client.responses.stream(asked).finalResponse() : client.responses.create(asked);
    };
    const first = await ask([ASKED]);
    const call = first.output.at(-1);
    assert.deepEqual([first.output[0].type, call.type, call.name], ['reasoning', 'function_call', 'weather']);
    assert.ok(first.output[0].encrypted_content && first.output[0].summary[0].text);
    assert.match(JSON.parse(call.arguments).city, /Paris/);
    const result = { type: 'function_call_output', call_id: call.call_id, output: '22 degrees' };
    const second = await ask([ASKED, ...plain(first.output), result]);
    assert.match(second.output_text, /22 degrees/);
  }
});

on('Responses: a tool that must be called is called', async (model) => {
  for (const tool_choice of ['required', { type: 'function', name: 'weather' }]) {
    const asked = { model, input: 'Say hello', tools: [WEATHER], store: false, parallel_tool_calls: false, tool_choice };
    const response = await client.responses.create(asked);
    assert.deepEqual(response.output.map(({ type }) => type), ['function_call']);
  }
});

on('Responses: an image reaches the gateway', async (model) => {
  const image = { type: 'input_image', image_url: IMAGE, detail: 'auto' };
  const content = [{ type: 'input_text', text: 'What is this?' }, image];
  await client.responses.create({ model, input: [{ role: 'user', content }], store: false });
  const { body } = (await stack.received()).at(-1);
  if (model === GPT) assert.deepEqual(body.input[0].content, content);
  else assert.equal(body.messages[0].content[1].source.data, PNG);
});

on('Responses: a structured answer has its form', async (model) => {
  const asked = { model, input: 'Who is Ada?', store: false, text: { format: zodTextFormat(Person, 'person') } };
  Person.parse((await client.responses.parse(asked)).output_parsed);
  Person.parse((await client.responses.stream(asked).finalResponse()).output_parsed);
});

// What OpenAI stores of a GPT model's answers is its own affair.
on(
  'Responses: an answer that was stored is gone on from',
  async (model) => {
    const first = await client.responses.create({ model, input: 'Say hello' });
    const second = await client.responses.create({ model, input: 'And again', previous_response_id: first.id });
    assert.match(second.output_text, /And again/);
    const { body } = (await stack.received()).at(-1);
    assert.deepEqual(body.messages.map(({ role }) => role), ['user', 'assistant', 'user']);
  },
  [CLAUDE],
);

on('Chat: a text comes with its end and its usage', async (model) => {
  const completion = await client.chat.completions.create({ model, messages: HELLO, max_completion_tokens: 500 });
  const [choice] = completion.choices;
  assert.ok(choice.message.content.startsWith(`This is ${model}, simulated.`));
  assert.deepEqual([choice.finish_reason, choice.message.role, completion.model], ['stop', 'assistant', model]);
  const { prompt_tokens, completion_tokens, total_tokens } = completion.usage;
  assert.ok(prompt_tokens > 0 && completion_tokens > 0 && total_tokens === prompt_tokens + completion_tokens);
});

on('Chat: a stream keeps to the grammar and has the content of the whole', async (model) => {
  const asked = { model, messages: HELLO };
  const whole = (await client.chat.completions.create(asked)).choices[0].message.content;
  for (const usage of [false, true]) {
    const more = { stream: true, ...(usage && { stream_options: { include_usage: true } }) };
    grammar.chat(await collected(await client.chat.completions.create({ ...asked, ...more })), usage);
  }
  const pieces = [];
  const stream = client.chat.completions.stream(asked).on('content', (piece) => pieces.push(piece));
  const final = await stream.finalChatCompletion();
  assert.ok(pieces.length > 3);
  assert.equal(pieces.join(''), whole);
  assert.deepEqual([final.choices[0].message.content, final.choices[0].finish_reason], [whole, 'stop']);
});

on('Chat: a tool is called and its result answered', async (model) => {
  for (const streamed of [false, true]) {
    const ask = async (messages) => {
      const asked = { model, messages, tools: [CHAT_WEATHER] };
      if (!streamed) return (await client.chat.completions.create(asked)).choices[0];
      grammar.chat(await collected(await client.chat.completions.create({ ...asked, stream: true })), false);
      return (await client.chat.completions.stream(asked).finalChatCompletion()).choices[0];
    };
    const first = await ask([ASKED]);
    assert.equal(first.finish_reason, 'tool_calls');
    const [call] = first.message.tool_calls;
    assert.deepEqual([call.type, call.function.name], ['function', 'weather']);
    assert.match(JSON.parse(call.function.arguments).city, /Paris/);
    const result = { role: 'tool', tool_call_id: call.id, content: '22 degrees' };
    const second = await ask([ASKED, first.message, result]);
    assert.equal(second.finish_reason, 'stop');
    assert.match(second.message.content, /22 degrees/);
  }
});

on('Chat: a tool that must be called is called', async (model) => {
  for (const tool_choice of ['required', { type: 'function', function: { name: 'weather' } }]) {
    const asked = { model, messages: HELLO, tools: [CHAT_WEATHER], tool_choice, parallel_tool_calls: false };
    const [{ message }] = (await client.chat.completions.create(asked)).choices;
    assert.equal(message.tool_calls[0].function.name, 'weather');
    assert.ok(!message.content);
  }
});

on("Chat: the SDK's own loop runs the tool and ends", async (model) => {
  for (const stream of [false, true]) {
    const seen = [];
    const weather = zodFunction({
      name: 'weather',
      parameters: z.object({ city: z.string() }),
      function: ({ city }) => {
        seen.push(city);
        return '22 degrees';
      },
    });
    const runner = client.chat.completions.runTools({ model, messages: [ASKED], tools: [weather], stream });
    assert.match(await runner.finalContent(), /22 degrees/);
    assert.equal(seen.length, 1);
  }
});

on('Chat: reasoning is asked for, counted and told', async (model) => {
  const asked = { model, messages: HELLO, reasoning_effort: 'medium' };
  const { choices, usage } = await client.chat.completions.create(asked);
  const [{ message }] = choices;
  assert.ok(message.content.startsWith(`This is ${model}, simulated.`));
  assert.match(message.reasoning_content, /I am to answer/);
  assert.ok(usage.completion_tokens_details.reasoning_tokens > 0);
  const stream = { stream: true, stream_options: { include_usage: true } };
  const chunks = await collected(await client.chat.completions.create({ ...asked, ...stream }));
  grammar.chat(chunks, true);
  const told = chunks.map(({ choices: [choice] }) => choice?.delta.reasoning_content ?? '');
  assert.equal(told.join(''), message.reasoning_content);
  assert.deepEqual(chunks.at(-1).usage.completion_tokens_details, usage.completion_tokens_details);
});

on('Chat: an image reaches the gateway', async (model) => {
  const image = { type: 'image_url', image_url: { url: IMAGE } };
  const content = [{ type: 'text', text: 'What is this?' }, image];
  await client.chat.completions.create({ model, messages: [{ role: 'user', content }] });
  const { body } = (await stack.received()).at(-1);
  if (model === CLAUDE) assert.equal(body.messages[0].content[1].source.data, PNG);
  else assert.equal(body.input[0].content[1].image_url, IMAGE);
});

on('Chat: a structured answer has its form', async (model) => {
  const messages = [{ role: 'user', content: 'Who is Ada?' }];
  const asked = { model, messages, response_format: zodResponseFormat(Person, 'person') };
  Person.parse((await client.chat.completions.parse(asked)).choices[0].message.parsed);
  Person.parse((await client.chat.completions.stream(asked).finalChatCompletion()).choices[0].message.parsed);
});

on('Chat: an answer ends where its limit says', async (model) => {
  const completion = await client.chat.completions.create({ model, messages: HELLO, max_completion_tokens: 16 });
  assert.equal(completion.choices[0].finish_reason, 'length');
});

test('models are listed and described', async () => {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model.id);
  for (const name of ['gitlab-duo', CLAUDE, GPT]) assert.ok(listed.includes(name), name);
  const one = await client.models.retrieve('gpt-5.5');
  assert.deepEqual([one.id, one.object, one.owned_by], [GPT, 'model', 'openai']);
});
