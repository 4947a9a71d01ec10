// Drives transcriptions and translations of a running server with the official Node client.
//
// Called by the test `sdk::node_audio` as: audio.mjs URL KEY. The recording is made here; what is heard in it does not matter.
// Ends with "all passed", or with the first check that failed.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import OpenAI, { toFile } from 'openai';

const [url, key] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0, timeout: 120_000 });

// Two seconds of a tone that comes and goes, as wav.
function recording() {
  const samples = 32_000;
  const wav = Buffer.alloc(44 + 2 * samples);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + 2 * samples, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(16_000, 24);
  wav.writeUInt32LE(32_000, 28);
  wav.writeUInt16LE(2, 32);
  wav.writeUInt16LE(16, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(2 * samples, 40);
  for (let i = 0; i < samples; i++) wav.writeInt16LE(Math.trunc(8000 * Math.sin(i * 0.17) * Math.sin(i * 0.0008)), 44 + 2 * i);
  return wav;
}

const wav = recording();
const file = () => toFile(wav, 'a.wav');
const transcribe = (ask) => client.audio.transcriptions.create({ model: 'whisper-1', ...ask });

async function expectError(kind, param, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.constructor, kind, `${error}`);
    assert.equal(error.param, param);
    return;
  }
  assert.fail(`${kind.name} was expected`);
}

async function formsOfAFile() {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'lampstand-'));
  const place = path.join(folder, 'a.wav');
  fs.writeFileSync(place, wav);
  const answers = [
    await transcribe({ file: fs.createReadStream(place) }),
    await transcribe({ file: await file() }),
    await transcribe({ file: new File([wav], 'a.wav') }),
    await transcribe({ file: await toFile(new Blob([wav]), 'blob') }),
  ];
  fs.rmSync(folder, { recursive: true });
  assert.equal(new Set(answers.map((answer) => answer.text)).size, 1);
  assert.equal(answers[0].usage.type, 'tokens');
  return answers[0].text;
}

async function formsOfAnAnswer(text) {
  const verbose = await transcribe({
    file: await file(), response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'],
  });
  assert.ok(Math.abs(verbose.duration - 2) < 0.05 && Array.isArray(verbose.words) && Array.isArray(verbose.segments));
  assert.equal(await transcribe({ file: await file(), response_format: 'text' }), `${text}\n`);
  assert.match(await transcribe({ file: await file(), response_format: 'vtt' }), /^WEBVTT\n\n/);
  assert.equal(typeof (await transcribe({ file: await file(), response_format: 'srt' })), 'string');
  const told = await transcribe({
    file: await file(), include: ['logprobs'], chunking_strategy: { type: 'server_vad', threshold: 0.4 },
  });
  assert.ok(Array.isArray(told.logprobs));
  assert.equal(typeof (await client.audio.translations.create({ model: 'whisper-1', file: await file() })).text, 'string');
}

async function streams(text) {
  let said = '';
  let done = null;
  for await (const event of await transcribe({ model: 'gpt-4o-transcribe', file: await file(), stream: true })) {
    if (event.type === 'transcript.text.delta') said += event.delta;
    else done = event;
  }
  assert.deepEqual([done.type, done.text, said], ['transcript.text.done', text, text]);
}

async function errors() {
  await expectError(OpenAI.NotFoundError, 'model', async () => transcribe({ model: 'gpt-4o', file: await file() }));
  await expectError(OpenAI.BadRequestError, 'temperature', async () => transcribe({ temperature: 2, file: await file() }));
  const text = await toFile(Buffer.from('no recording at all\n'.repeat(100)), 'a.mp3');
  await expectError(OpenAI.BadRequestError, 'file', async () => transcribe({ file: text }));
}

const text = await formsOfAFile();
await formsOfAnAnswer(text);
await streams(text);
await errors();
console.log('all passed');
