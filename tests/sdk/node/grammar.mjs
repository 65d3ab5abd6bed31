// Whether a stream's events come in an order that the API's reference allows. Text and ids inside are the SDKs' to judge.
//
// Each takes the events of a stream that ended well, and fails on the first that is out of place.

import assert from 'node:assert/strict';

// Anthropic Messages: blocks one after the other, counted without gaps, between one start and one end.
export function messages(events) {
  let open = null;
  let blocks = 0;
  let state = 'before';
  for (const event of events) {
    const place = `${event.type} while ${state}`;
    switch (event.type) {
      case 'ping':
        continue;
      case 'message_start':
        assert.equal(state, 'before', place);
        assert.deepEqual(event.message.content, [], place);
        state = 'begun';
        break;
      case 'content_block_start':
        assert.ok(state === 'begun' && open === null, place);
        assert.equal(event.index, blocks, place);
        open = event.index;
        blocks += 1;
        break;
      case 'content_block_delta':
        assert.equal(event.index, open, place);
        break;
      case 'content_block_stop':
        assert.equal(event.index, open, place);
        open = null;
        break;
      case 'message_delta':
        assert.ok(state === 'begun' && open === null, place);
        assert.ok(event.delta.stop_reason && event.usage.output_tokens > 0, place);
        state = 'told its end';
        break;
      case 'message_stop':
        assert.equal(state, 'told its end', place);
        state = 'over';
        break;
      default:
        assert.fail(`unknown event ${event.type}`);
    }
  }
  assert.equal(state, 'over');
}

// OpenAI Responses: numbered without gaps; what is added is done; the end lists what was done.
export function responses(events) {
  const done = [];
  const open = new Map();
  events.forEach((event, at) => {
    const place = `${at}: ${event.type}`;
    assert.equal(event.sequence_number, at, place);
    if (at === 0) assert.equal(event.type, 'response.created', place);
    else assert.notEqual(event.type, 'response.created', place);
    if (event.type === 'response.output_item.added') {
      assert.equal(event.output_index, done.length + open.size, place);
      open.set(event.output_index, event.item.id);
    } else if (event.type === 'response.output_item.done') {
      assert.equal(open.get(event.output_index), event.item.id, place);
      open.delete(event.output_index);
      done.push(event.item);
    } else if ('output_index' in event) {
      assert.equal(event.item_id, open.get(event.output_index), place);
    }
  });
  const last = events.at(-1);
  assert.ok(['response.completed', 'response.incomplete'].includes(last.type), last.type);
  assert.equal(open.size, 0);
  assert.deepEqual(last.response.output, done);
}

// OpenAI Chat Completions: one id; the role first; calls counted without gaps and named once; one end; usage where asked.
export function chat(chunks, usage) {
  const choices = usage ? chunks.slice(0, -1) : chunks;
  if (usage) {
    const last = chunks.at(-1);
    assert.deepEqual(last.choices, []);
    assert.equal(last.usage.total_tokens, last.usage.prompt_tokens + last.usage.completion_tokens);
  }
  const calls = [];
  choices.forEach((chunk, at) => {
    const place = `${at}: ${JSON.stringify(chunk)}`;
    for (const key of ['id', 'object', 'created', 'model']) assert.equal(chunk[key], chunks[0][key], place);
    assert.ok(!chunk.usage, place);
    assert.equal(chunk.choices.length, 1, place);
    const [{ index, delta, finish_reason }] = chunk.choices;
    assert.equal(index, 0, place);
    assert.equal(delta.role, at === 0 ? 'assistant' : undefined, place);
    assert.equal(finish_reason !== null, at === choices.length - 1, place);
    for (const call of delta.tool_calls ?? []) {
      if (call.index === calls.length) {
        assert.ok(call.id && call.function.name, place);
        calls.push(call.id);
      } else {
        assert.equal(call.index, calls.length - 1, place);
        assert.ok(!call.id && !call.function.name, place);
      }
    }
  });
  const end = choices.at(-1).choices[0];
  assert.equal(end.finish_reason === 'tool_calls', calls.length > 0);
}
