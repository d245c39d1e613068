// Answers questions beside the page, so that the page stays responsive: loads the reader, and runs it window by window.
//
// Messages in:  {id, load: {files}}, {id, ask: {question, contexts, count}}, {stop: id}
// Messages out: {id, progress: {name, done}} any number of times, then one of {id, answers}, {id, loaded: true},
//               {id, refusal: {name, values}}, {id, broken}; nothing after a stop
//
// Invariant: what runs is what the export wrote. Every file is named after its content in the cache and in the request,
// and is checked before use, so that an old file is never mixed with a new one.
import * as onnxruntime from "./onnxruntime.js";
import { rankedTogether } from "./ranking.js";
import { decode } from "./spans.js";
import { Characters, Tokenizer } from "./tokenizer.js";
import { cut, readingOf, room, tokenized } from "./windows.js";

const stopped = new Set();
let reader = null, latest = new Map();

class Refusal extends Error {
  constructor(name, values = {}) {
    super(name);
    Object.assign(this, { name, values });
  }
}

onmessage = async ({ data: { id, load, ask, stop } }) => {
  if (stop !== undefined) return void stopped.add(stop);
  const progress = (name, done, values) => postMessage({ id, progress: { name, done, values } });
  try {
    if (load) reader = await loadReader(progress);
    const found = load ? { loaded: true } : { answers: await answer(ask, progress, () => stopped.has(id)) };
    if (!stopped.has(id)) postMessage({ id, ...found });
  } catch (error) {
    const told = error instanceof Refusal ? { refusal: { name: error.name, values: error.values } } : { broken: String(error) };
    postMessage({ id, ...told });
  }
  stopped.delete(id);
};

// ---------------------------------------------------------------------------------------------- loading
async function loadReader(progress) {
  const settings = await fetchJson("destila.json");
  const files = new Files(settings.blobs, `destila ${new URL(".", location.href).pathname}`, progress);
  progress("loading", 0, { size: files.total }); // before anything of it is fetched
  const contents = await files.all();
  Object.assign(onnxruntime.env, { logLevel: "error" });
  onnxruntime.env.wasm.wasmBinary = contents["onnxruntime.bin"];
  const weights = contents["weights.bin"]; // of a large model they are apart, under the name that the model gives them
  const externalData = weights && [{ path: settings.weights, data: weights }];
  const graphOptimizationLevel = settings.optimized ? "disabled" : "all";
  const session = await onnxruntime.InferenceSession.create(contents["model.bin"], { externalData, graphOptimizationLevel });
  const { tokenizer, characters: ranges, reading } = JSON.parse(new TextDecoder().decode(contents["tokenizer.bin"]));
  const characters = new Characters(ranges);
  return {
    settings, session, characters,
    tokenizer: new Tokenizer(tokenizer, characters), reading: readingOf(reading, characters),
  };
}

async function fetchJson(name) {
  const response = await reached(fetch(name, { cache: "no-cache" }), name);
  return response.json();
}

async function reached(request, name) {
  const response = await request.catch(() => null);
  if (!response?.ok) throw new Refusal("unreachable", { name });
  return response;
}

// The large files, compressed: from the browser's cache, else from where the page came from.
class Files {
  constructor(listed, cacheName, progress) {
    Object.assign(this, { listed, cacheName, progress, arrived: 0 });
    this.total = listed.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async all() {
    const cache = await globalThis.caches?.open(this.cacheName).catch(() => null); // there is none without https
    const contents = await Promise.all(this.listed.map(async (file) => [file.name, await this.file(file, cache)]));
    const wanted = new Set(this.listed.map((file) => this.address(file)));
    for (const request of (await cache?.keys()) ?? []) if (!wanted.has(request.url)) await cache.delete(request);
    return Object.fromEntries(contents);
  }

  address({ name, sha256 }) {
    return new URL(`${name}?${sha256.slice(0, 16)}`, location.href).href;
  }

  async file(file, cache) {
    const address = this.address(file), kept = await cache?.match(address);
    const bytes = await this.arrive(kept ?? (await reached(fetch(address), file.name)), file);
    if (!(await isWhole(bytes, file))) {
      await cache?.delete(address);
      throw new Refusal("damaged", { name: file.name });
    }
    if (!kept) await cache?.put(address, new Response(bytes)).catch(() => null); // the disk may be full
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(unpacked).arrayBuffer());
  }

  async arrive(response, { bytes, name }) {
    const content = new Uint8Array(bytes), incoming = response.body.getReader();
    let length = 0;
    for (;;) {
      const { done, value } = await incoming.read().catch(() => { throw new Refusal("unreachable", { name }); });
      if (done) return content.subarray(0, length);
      if (length + value.length > bytes) throw new Refusal("damaged", { name });
      content.set(value, length);
      length += value.length;
      this.arrived += value.length;
      this.progress("loading", this.arrived / this.total, { size: this.total });
    }
  }
}

async function isWhole(content, { bytes, sha256 }) {
  if (content.length !== bytes) return false;
  if (!globalThis.crypto?.subtle) return true; // without https, the length has to do
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", content));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}

// ---------------------------------------------------------------------------------------------- answering
async function answer({ question, contexts, count }, progress, isStopped) {
  const { settings, characters } = reader, { longest, threshold, share } = settings, asked = tokenized(question, reader);
  latest = new Map(contexts.map((context) => [context, latest.get(context) ?? tokenized(context, reader)])); // asked about more than once
  const texts = contexts.map((context) => latest.get(context));
  if (!texts.every((text) => room(asked, text, settings).enough)) throw new Refusal("longQuestion", { tokens: asked.ids.length });
  const cuts = texts.map((text) => cut(asked, text, settings)), windows = cuts.flat();
  for (const [place, window] of windows.entries()) {
    if (windows.length > 1) progress("searching", place / windows.length);
    Object.assign(window, await logits(window.ids));
    await messagesArrive();
    if (isStopped()) return [];
  }
  const readings = texts.map(({ clean, codes }, place) =>
    decode(cuts[place], clean, codes, characters, { longest, threshold, share, count }));
  return rankedTogether(readings, { count, share });
}

// One window by itself: in int8 the scale of activations is taken from all of the input, as in Python's reader.
async function logits(ids) {
  const tensor = (values) => new onnxruntime.Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
  const found = await reader.session.run({ input_ids: tensor(ids), attention_mask: tensor(ids.map(() => 1)) });
  const [start, end] = [found.start_logits.data, found.end_logits.data];
  if (![...start, ...end].every(Number.isFinite)) throw new Refusal("damaged", { name: "model.bin" });
  return { start, end };
}

// The model runs without a pause; a stop is heard only between two windows.
function messagesArrive() {
  return new Promise((resolve) => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => { channel.port1.close(); resolve(); };
    channel.port2.postMessage(null);
  });
}
