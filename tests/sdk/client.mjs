// Drives a running server with the official Node client.
//
// Called by the test `sdk::node_client` as: client.mjs URL NARROW_URL KEY, where the second server has place for one request.
// Ends with "all passed", or with the first check that failed.

import assert from 'node:assert/strict';
import OpenAI from 'openai';

const [url, narrowUrl, key] = process.argv.slice(2);
const connect = (base, apiKey) => new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0, timeout: 60_000 });
const client = connect(url, key);
const hello = [{ role: 'user', content: 'Hello! Who are you?' }];
// A name of the Workers AI catalogue, whose weights are not here.
const alias = '@cf/meta/llama-3.1-8b-instruct';
// As long as an answer can get.
const endless = { model: 'gpt-4o', messages: hello, stream: true, ignore_eos: true };

const health = async (base = url) => (await fetch(`${base}/health`)).json();

async function waitUntil(check, base = url) {
  for (let i = 0; i < 6000; i++) {
    if (check(await health(base))) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.fail(`waited in vain: ${JSON.stringify(await health(base))}`);
}

async function expectError(kind, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor, kind, `${error}`);
    return error;
  }
  assert.fail(`${kind.name} was expected`);
}

async function models() {
  const listed = [];
  for await (const model of client.models.list()) listed.push(model);
  const own = listed[0];
  assert.equal((await client.models.retrieve(own.id)).id, own.id);
  assert.deepEqual([own.status, own.root, own.capabilities.includes('chat')], ['loaded', own.id, true]);
  assert.ok(own.context_length > 0 && own.parameters > 0 && own.size_bytes > 0);
  const other = await client.models.retrieve(alias);
  assert.deepEqual([other.id, other.root, other.status, other.substitute], [alias, own.id, 'alias', true]);
  await expectError(OpenAI.NotFoundError, () => client.models.retrieve('no/such-model'));
  return own.id;
}

async function chat(own) {
  const ask = { model: 'gpt-4o', messages: hello, temperature: 0, max_tokens: 24 };
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.model, own);
  assert.ok(whole.choices[0].message.content.length > 0);
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);

  const stream = await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } });
  let text = '';
  let usage = null;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, whole.choices[0].message.content);
  assert.equal(usage.completion_tokens, whole.usage.completion_tokens);

  const helped = client.chat.completions.stream(ask);
  assert.equal(await helped.finalContent(), whole.choices[0].message.content);
}

// Several answers at once, as a stream, with logprobs: the same as in one piece.
async function manyStreams(own) {
  const ask = { model: own, messages: hello, n: 3, seed: 7, max_tokens: 8, logprobs: true, top_logprobs: 1 };
  const whole = await client.chat.completions.create(ask);
  const choices = whole.choices.map(() => ({ text: '', logprobs: [] }));
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true })) {
    for (const { index, delta, logprobs } of chunk.choices) {
      choices[index].text += delta.content ?? '';
      choices[index].logprobs.push(...(logprobs?.content ?? []));
    }
  }
  whole.choices.forEach(({ index, message, logprobs }, place) => {
    assert.equal(index, place);
    assert.equal(message.content, choices[index].text);
    assert.deepEqual(logprobs.content, choices[index].logprobs);
  });
}

async function bestOf(own) {
  const ask = { model: own, prompt: 'Hello there', max_tokens: 4, seed: 3 };
  const drawn = await client.completions.create({ ...ask, n: 4 });
  const kept = await client.completions.create({ ...ask, n: 2, best_of: 4 });
  const texts = new Set(drawn.choices.map(({ text }) => text));
  assert.ok(kept.choices.length === 2 && kept.choices.every(({ text }) => texts.has(text)));
  assert.equal(kept.usage.completion_tokens, drawn.usage.completion_tokens);
  const wrong = () => client.completions.create({ ...ask, n: 3, best_of: 2 });
  assert.equal((await expectError(OpenAI.BadRequestError, wrong)).param, 'best_of');
}

async function headers(own) {
  const create = (fields) => client.chat.completions.create({ messages: hello, max_tokens: 8, ...fields }).withResponse();
  const { data, response } = await create({ model: alias });
  assert.deepEqual([data.model, response.headers.get('x-lampstand-substitute')], [own, own]);
  const streamed = await create({ model: alias, stream: true });
  assert.equal(streamed.response.headers.get('x-lampstand-substitute'), own);
  for await (const chunk of streamed.data) assert.equal(chunk.model, own);

  const turn = [{ role: 'user', content: 'one two three '.repeat(10) }, { role: 'assistant', content: 'four' }];
  const long = { model: own, messages: [...Array.from({ length: 40 }, () => turn).flat(), ...hello] };
  assert.equal((await expectError(OpenAI.BadRequestError, () => create(long))).code, 'context_length_exceeded');
  const dropped = (await create({ ...long, truncation: 'auto' })).response.headers.get('x-lampstand-dropped-messages');
  assert.ok(dropped > 0 && dropped < long.messages.length, dropped);
  assert.equal((await create({ model: own })).response.headers.get('x-lampstand-dropped-messages'), null);
}

// A base without /v1 and with a slash at its end, as a gateway's document has it, and the plain requests of another's.
async function otherWays() {
  const gateway = new OpenAI({ baseURL: `${url}/`, apiKey: key, maxRetries: 0 });
  const answer = await gateway.chat.completions.create({ model: '@cf/meta/llama-2-7b-chat-int8', messages: hello });
  assert.ok(answer.choices[0].message.content);
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${key}` },
    body: JSON.stringify({
      model: 'gpt-4',
      messages: [{ role: 'user', content: 'Explain quantum computing' }],
      max_tokens: 500,
      temperature: 0.7,
    }),
  });
  assert.ok((await response.json()).choices[0].message.content);
}

async function completions() {
  const ask = { model: 'gpt-3.5-turbo-instruct', prompt: 'Hello there', temperature: 0, max_tokens: 8 };
  const whole = await client.completions.create(ask);
  let text = '';
  for await (const chunk of await client.completions.create({ ...ask, stream: true })) text += chunk.choices[0].text;
  assert.equal(text, whole.choices[0].text);
}

async function errors() {
  const create = (fields) => () => client.chat.completions.create({ model: 'gpt-4o', messages: hello, ...fields });
  const bad = await expectError(OpenAI.BadRequestError, create({ temperature: 3 }));
  assert.equal(bad.param, 'temperature');
  assert.ok(bad.requestID);
  assert.equal((await expectError(OpenAI.BadRequestError, create({ max_tokens: 1e8 }))).code, 'context_length_exceeded');
  assert.equal((await expectError(OpenAI.NotFoundError, create({ model: 'no/such-model' }))).code, 'model_not_found');
  await expectError(OpenAI.AuthenticationError, () => connect(url, 'wrong').models.list());
}

async function busy() {
  const narrow = connect(narrowUrl, key);
  const stream = await narrow.chat.completions.create(endless);
  const ask = () => narrow.chat.completions.create({ model: 'gpt-4o', messages: hello, max_tokens: 1 });
  const error = await expectError(OpenAI.InternalServerError, ask);
  assert.equal(error.status, 503);
  stream.controller.abort();
  await waitUntil((state) => state.running === 0, narrowUrl);
}

async function abort() {
  const before = (await health()).cancelled;
  const stream = await client.chat.completions.create(endless);
  for await (const chunk of stream) {
    if (chunk.choices[0]?.delta.content) break;
  }
  stream.controller.abort();
  await waitUntil((state) => state.cancelled === before + 1 && state.running === 0);
}

async function crowd() {
  const ask = (number) =>
    client.chat.completions.create({
      model: 'gpt-4o',
      messages: [{ role: 'user', content: `Please count to ${number}.` }],
      temperature: 0,
      max_tokens: 16,
    });
  const answers = await Promise.all(Array.from({ length: 32 }, (_, number) => ask(number)));
  assert.equal(new Set(answers.map((answer) => answer.id)).size, 32);
  const alone = await ask(17);
  assert.equal(alone.choices[0].message.content, answers[17].choices[0].message.content);
}

const own = await models();
await chat(own);
await manyStreams(own);
await bestOf(own);
await headers(own);
await otherWays();
await completions();
await errors();
await busy();
await abort();
await crowd();
console.log(`openai ${(await import('openai/version')).VERSION}: all passed`);
