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
  for await (const model of client.models.list()) listed.push(model.id);
  assert.ok(listed.length > 0);
  assert.equal((await client.models.retrieve(listed[0])).id, listed[0]);
  await expectError(OpenAI.NotFoundError, () => client.models.retrieve('no/such-model'));
  return listed[0];
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

await chat(await models());
await completions();
await errors();
await busy();
await abort();
await crowd();
console.log(`openai ${(await import('openai/version')).VERSION}: all passed`);
