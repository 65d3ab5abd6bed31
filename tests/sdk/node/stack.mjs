// A simulated GitLab, duopool in front of it, and its control: what conftest.py is to the Python SDKs.
//
// Whoever breaks something starts a stack of their own: what duopool learns of an account's health stays.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { createInterface } from 'node:readline';

export const CLIENT_KEY = 'sdk-client-key-0123456789';
const ADMIN_KEY = 'sdk-admin-key-0123456789';

// A model of each family.
export const CLAUDE = 'claude-sonnet-4-5-20250929';
export const GPT = 'gpt-5.5-2026-04-23';
// A picture of one pixel.
export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
export const CITY = {
  type: 'object',
  properties: { city: { type: 'string' } },
  required: ['city'],
  additionalProperties: false,
};
export const PERSON = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' } },
  required: ['name', 'age'],
  additionalProperties: false,
};
export const WEATHER_ASKED = 'Use the tool weather for Paris';

// Longest that a server may take to start or to end, in milliseconds.
const WAIT_MS_MAX = 30_000;

// No setting of this machine reaches an SDK.
for (const name of Object.keys(process.env)) {
  if (/^(ANTHROPIC|OPENAI|AI_)/.test(name) || /_proxy$/i.test(name)) delete process.env[name];
}
// The SDKs warn of models that they find old, or do not know, on every call.
globalThis.AI_SDK_LOG_WARNINGS = false;
console.warn = (text, ...more) => {
  if (!/is deprecated and will reach end-of-life/.test(text)) console.error(text, ...more);
};

const deadline = () => AbortSignal.timeout(WAIT_MS_MAX);

// Starts duopool; returns the first address that it prints, and a function that ends it.
async function server(args, folder, environment) {
  const log = join(folder, `${args[0]}.log`);
  const errors = await open(log, 'w');
  const child = spawn(process.env.DUOPOOL_BIN, args, {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, ...environment },
    stdio: ['ignore', 'pipe', errors.fd],
  });
  await errors.close();
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill();
    const late = setTimeout(() => child.kill('SIGKILL'), WAIT_MS_MAX);
    await ended;
    clearTimeout(late);
  };
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([once(lines, 'line', { signal: deadline() }), ended.then(() => [''])]);
  const found = /http:\/\/[0-9.]+:[0-9]+/.exec(line[0]);
  if (!found) {
    await stop();
    throw new Error(`duopool ${args[0]} did not start: ${line[0]}${await readFile(log, 'utf8')}`);
  }
  return { url: found[0], stop };
}

async function call(method, url, body) {
  const answer = await fetch(url, {
    method,
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN_KEY}` },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: deadline(),
  });
  assert.ok(answer.ok, `${method} ${url}: ${answer.status}`);
  const text = await answer.text();
  return text ? JSON.parse(text) : null;
}

// duopool with two accounts, Ada's and Grace's, and the control routes of the GitLab behind it.
class Stack {
  constructor(gitlab, duopool, folder) {
    this.control = `${gitlab.url}/simulator/v1`;
    this.url = duopool.url;
    this.stop = async () => {
      await duopool.stop();
      await gitlab.stop();
      await rm(folder, { recursive: true });
    };
  }

  // Has the gateway do `effect` to calls.
  rule(effect, more = {}) {
    return call('POST', `${this.control}/rules`, { effect, ...more });
  }

  // Has the gateway answer calls for this model so.
  answer(model, status, body, headers = []) {
    return this.rule({ kind: 'answer', status, body: JSON.stringify(body), headers }, { model });
  }

  async outOfCredit(...names) {
    for (const name of names) await call('PATCH', `${this.control}/accounts/${name}`, { credit: 'exhausted' });
  }

  // Returns the calls that asked the gateway for an answer, in their order, with their bodies as JSON.
  async received() {
    const records = await call('GET', `${this.control}/requests`);
    const asks = records.filter(({ call: kind }) => ['messages', 'responses'].includes(kind));
    return asks.map((record) => ({ ...record, body: JSON.parse(record.body) }));
  }
}

export async function started() {
  const folder = await mkdtemp(join(tmpdir(), 'duopool-sdk-'));
  const gitlab = await server(['simulate', '--listen', '127.0.0.1:0'], folder, {});
  const duopool = await server(['serve', '--listen', '127.0.0.1:0'], folder, {
    DUOPOOL_ADMIN_KEY: ADMIN_KEY,
    DUOPOOL_CLIENT_KEYS: CLIENT_KEY,
    DUOPOOL_DATA_DIR: join(folder, 'data'),
    DUOPOOL_MODEL_FALLBACK: 'off',
    GITLAB_BASE_URL: gitlab.url,
    GITLAB_AI_GATEWAY_URL: `${gitlab.url}/ai`,
  });
  const stack = new Stack(gitlab, duopool, folder);
  for (const name of ['ada', 'grace']) {
    const token = `glpat-demo-${name}-000000000000`;
    const account = { base_url: gitlab.url, personal_access_token: token, label: name };
    await call('POST', `${duopool.url}/admin/v1/accounts`, account);
  }
  return stack;
}

// Starts a stack for the tests of one file.
export async function forThisFile() {
  const stack = await started();
  after(() => stack.stop());
  return stack;
}

// Starts a stack that one test may break.
export async function forThisTest(test) {
  const stack = await started();
  test.after(() => stack.stop());
  return stack;
}

// Returns all that a stream brings.
export async function collected(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}
