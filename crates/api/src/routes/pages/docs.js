'use strict';

// Draws the page from openapi.json and sends what its forms hold.

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// Backquoted words of a text as code.
function prose(text) {
  const parts = text.split('`');
  return parts.map((part, i) => (i % 2 ? element('code', null, part) : part));
}

function follow(document, schema) {
  const path = schema && schema.$ref;
  return path ? path.slice(2).split('/').reduce((node, key) => node[key], document) : schema;
}

function rangeOf(schema) {
  const words = (schema.enum || []).filter((word) => word !== null);
  if (words.length) return words.join(', ');
  const { minimum, maximum } = schema;
  if (minimum === undefined) return '';
  return maximum === undefined ? `from ${minimum} up` : `${minimum} to ${maximum}`;
}

function parameterRows(properties, required, add) {
  const sections = new Map();
  for (const [name, schema] of Object.entries(properties)) {
    const title = schema['x-section'] || 'Fields';
    if (!sections.has(title)) sections.set(title, []);
    const range = rangeOf(schema);
    const shown = schema.default === undefined ? '' : JSON.stringify(schema.default);
    const row = element('tr', { 'data-name': `${name} ${schema.description || ''}`.toLowerCase() },
      element('td', null,
        element('button', { type: 'button', title: 'Put it into the request', onclick: () => add(name, schema) }, name),
        required.includes(name) ? element('span', { class: 'bad', title: 'must be there' }, ' *') : ''),
      element('td', null, (schema['x-type'] || '') + (range ? ': ' + range : '')),
      element('td', null, shown === '' ? '' : element('code', null, shown)),
      element('td', null, ...prose(schema.description || '')));
    sections.get(title).push(row);
  }
  return [...sections].map(([title, rows]) => element('div', { class: 'group' },
    element('h3', null, title),
    element('div', { class: 'table' }, element('table', null,
      element('thead', null, element('tr', null, ...['Name', 'Type', 'Default', 'Meaning'].map((word) => element('th', null, word)))),
      element('tbody', null, ...rows)))));
}

// A value to begin with where a parameter has no default.
function beginning(schema) {
  if (schema.default !== undefined) return schema.default;
  if (schema.enum) return schema.enum[0];
  const types = [schema.type].flat();
  if (types.includes('boolean')) return true;
  if (types.includes('number') || types.includes('integer')) return Math.max(schema.minimum || 0, 1);
  if (types.includes('array')) return [];
  if (types.includes('object')) return {};
  return '';
}

// The text that one event carries, whichever dialect.
function textOf(event) {
  const choice = (event.choices || [])[0] || {};
  return (choice.delta && choice.delta.content) || choice.text || (typeof event.delta === 'string' ? event.delta : '');
}

// The fields of a JSON object and a file as a form.
function formOf(text, file) {
  const data = new FormData();
  for (const [name, value] of Object.entries(JSON.parse(text || '{}'))) {
    if (Array.isArray(value)) for (const one of value) data.append(`${name}[]`, one);
    else if (value !== null) data.append(name, typeof value === 'object' ? JSON.stringify(value) : String(value));
  }
  if (file) data.append('file', file);
  return data;
}

async function send(method, path, body, form) {
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(2)} s`;
  const control = new AbortController();
  const key = document.getElementById('key').value.trim();
  const headers = {};
  if (key) headers.Authorization = 'Bearer ' + key;
  // The browser itself names the boundary of a form.
  if (typeof body === 'string') headers['Content-Type'] = 'application/json';
  form.stop.onclick = () => control.abort();
  form.stop.disabled = false;
  form.send.disabled = true;
  form.text.hidden = true;
  form.text.textContent = '';
  form.raw.hidden = false;
  form.raw.textContent = '';
  form.status.textContent = 'waiting';
  form.status.className = 'quiet';
  try {
    const answer = await fetch(path, { method, headers, body, signal: control.signal });
    form.status.className = answer.ok ? 'quiet' : 'bad';
    if ((answer.headers.get('Content-Type') || '').startsWith('text/event-stream')) {
      form.text.hidden = false;
      await readEvents(answer, form);
    } else {
      const text = await answer.text();
      try {
        form.raw.textContent = JSON.stringify(JSON.parse(text), null, 2);
      } catch {
        form.raw.textContent = text;
      }
    }
    form.status.textContent = `${answer.status} · ${seconds()}`;
  } catch (error) {
    form.status.textContent = error.name === 'AbortError' ? `stopped · ${seconds()}` : String(error);
    form.status.className = error.name === 'AbortError' ? 'quiet' : 'bad';
  }
  form.raw.hidden = !form.raw.textContent;
  form.send.disabled = false;
  form.stop.disabled = true;
}

async function readEvents(answer, form) {
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += decoder.decode(value, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop();
    for (const line of lines.filter((one) => one.trim())) {
      form.raw.append(line + '\n');
      if (!line.startsWith('data: {')) continue;
      const event = JSON.parse(line.slice(6));
      if (event.error) form.text.append(element('span', { class: 'bad' }, event.error.message));
      else form.text.append(textOf(event));
    }
  }
}

function routeOf(spec, path, method, operation, isFirst) {
  const id = operation.operationId;
  const contents = operation.requestBody ? operation.requestBody.content : {};
  const content = contents['application/json'] || contents['multipart/form-data'];
  const file = contents['multipart/form-data'] ? element('input', { type: 'file', 'aria-label': 'The file' }) : null;
  const schema = content ? follow(spec, content.schema) : null;
  const streams = Boolean(operation.responses['200'].content['text/event-stream']);
  const example = schema && schema.examples ? schema.examples[0] : {};
  const inputs = (operation.parameters || []).map((parameter) =>
    element('input', { class: 'mono', placeholder: parameter.name, 'aria-label': parameter.name, 'data-name': parameter.name }));
  const area = schema ? element('textarea', { spellcheck: 'false', 'aria-label': 'Body of the request' }) : null;
  const show = (body) => {
    area.value = JSON.stringify(body, null, 2);
    area.rows = Math.min(area.value.split('\n').length, 24);
  };
  if (area) show(example);

  const form = {
    send: element('button', { class: 'main', type: 'button' }, 'Send'),
    stop: element('button', { type: 'button', disabled: '' }, 'Stop'),
    status: element('span', { class: 'quiet', role: 'status' }),
    text: element('pre', { hidden: '' }),
    raw: element('pre', { hidden: '' }),
  };
  const edit = (change) => {
    try {
      const body = JSON.parse(area.value || '{}');
      change(body);
      show(body);
    } catch (error) {
      form.status.textContent = 'The body is no JSON: ' + error.message;
      form.status.className = 'bad';
    }
  };
  const stream = element('input', { type: 'checkbox', onchange: () => edit((body) => { body.stream = stream.checked; }) });
  form.send.onclick = () => {
    let target = path;
    for (const input of inputs) {
      target = target.replace(`{${input.dataset.name}}`, encodeURIComponent(input.value));
    }
    let body = area ? area.value : null;
    try {
      if (file) body = formOf(area.value, file.files[0]);
    } catch (error) {
      form.status.textContent = 'The fields are no JSON: ' + error.message;
      form.status.className = 'bad';
      return;
    }
    send(method.toUpperCase(), target.replace(/^\//, ''), body, form);
  };
  const isPage = Boolean(operation.responses['200'].content['text/html']);
  const controls = isPage ? [element('p', null, element('a', { href: path.replace(/^\//, './') }, 'Open it'))] : [
    ...inputs, ...(file ? [file] : []), ...(area ? [area] : []),
    element('div', { class: 'row' }, form.send, form.stop,
      ...(streams ? [element('label', null, stream, 'as a stream')] : []), form.status),
    form.text, form.raw,
  ];
  const add = (name, field) => edit((body) => { if (!(name in body)) body[name] = beginning(field); });
  const table = schema && schema.properties ? parameterRows(schema.properties, schema.required || [], add) : [];
  return element('details', { class: 'route', id, ...(isFirst ? { open: '' } : {}) },
    element('summary', null,
      element('span', { class: 'method ' + method }, method.toUpperCase()),
      element('span', { class: 'path' }, path),
      element('span', { class: 'quiet' }, operation.summary)),
    element('div', null, ...controls, ...table));
}

function find(word) {
  const wanted = word.trim().toLowerCase();
  if (wanted) for (const route of document.querySelectorAll('details.route')) route.open = Boolean(route.querySelector('tr'));
  for (const row of document.querySelectorAll('tr[data-name]')) row.hidden = !row.dataset.name.includes(wanted);
  for (const group of document.querySelectorAll('.group')) group.hidden = !group.querySelector('tr[data-name]:not([hidden])');
}

async function draw() {
  const main = document.getElementById('routes');
  const index = document.getElementById('index');
  const spec = await (await fetch('openapi.json')).json();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const route = routeOf(spec, path, method, operation, !index.children.length);
      main.append(route);
      index.append(element('li', null, element('a', { href: '#' + route.id, onclick: () => { route.open = true; } },
        element('span', { class: 'method ' + method }, method.toUpperCase()), path)));
    }
  }
  const filter = document.getElementById('filter');
  filter.addEventListener('input', () => find(filter.value));
}

draw().catch((error) => document.getElementById('routes').append(element('p', { class: 'bad' }, String(error))));
