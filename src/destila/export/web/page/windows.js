// Texts -> model inputs, as `destila.data.windows` cuts them: front, question, middle, a slice of the context, back.
//
// A text here is {codes, ids (N), clean (2 N)}: its code points as the page gave it, and clean offsets of tokens into them.
import { Composition } from "./composition.js";
import { codesOf } from "./tokenizer.js";

// `reading`: of readingOf
export function tokenized(text, { tokenizer, characters, reading }) {
  const codes = codesOf(text), { codes: read, map } = asRead(codes, reading);
  const { ids, offsets } = tokenizer.encode(read);
  return { codes, ids, clean: cleanOffsets(inOriginal(offsets, map), codes, characters) };
}

export function readingOf({ composition, lowercase }, characters) {
  const small = Object.entries(lowercase).map((pair) => pair.map((letter) => letter.codePointAt(0)));
  return { characters, composition: new Composition(composition), lowercase: new Map(small) };
}

// The form of a text that models read, as `destila.data.reading_form` makes it: without characters that show nothing, with
// letters and their accents composed, and a text in capitals alone in small letters. -> {codes, map}; `map`: first character of the original and one past the last
// for each code point; null: each stands for the one at its place.
export function asRead(codes, { characters, composition, lowercase }) {
  const { upper, lower, idle } = characters, is = (kind) => (code) => characters.is(code, kind);
  const places = [...codes.keys()].filter((place) => !characters.is(codes[place], idle));
  const all = places.length === codes.length;
  const { codes: read, map } = composedClusters(all ? codes : Uint32Array.from(places, (place) => codes[place]), composition);
  const capitals = read.some(is(upper)) && !read.some(is(lower));
  return {
    codes: Uint32Array.from(read, (code) => (capitals && lowercase.get(code)) || code),
    map: all ? map : Int32Array.from(map ?? read.flatMap((_, place) => [place, place + 1]), (edge, side) => (side % 2 ? places[edge - 1] + 1 : places[edge])),
  };
}

function composedClusters(codes, composition) {
  const read = [], map = [];
  let changed = false;
  for (let first = 0, end; first < codes.length; first = end) {
    for (end = first + 1; end < codes.length && composition.classOf(codes[end]);) end += 1;
    const cluster = codes.subarray(first, end);
    const whole = composition.isFixed(cluster) ? cluster : composition.compose(cluster).codes;
    const same = whole.length === cluster.length && whole.every((code, place) => code === cluster[place]);
    changed ||= !same && whole.length + cluster.length > 2;
    whole.forEach((code, place) => {
      read.push(code);
      map.push(...(same ? [first + place, first + place + 1] : [first, end]));
    });
  }
  return { codes: read, map: changed ? Int32Array.from(map) : null };
}

// Offsets into the form that was read, as offsets into its original.
function inOriginal(offsets, map) {
  if (!map) return offsets;
  const found = new Int32Array(offsets.length);
  for (let at = 0; at < offsets.length; at += 2) {
    const start = offsets[at], end = offsets[at + 1];
    found[at + 1] = end > 0 ? map[2 * end - 1] : 0;
    found[at] = end > start ? map[2 * start] : found[at + 1];
  }
  return found;
}

// Offsets without white space, or what shows nothing, at the edges, never decreasing. A token of nothing else has no width.
function cleanOffsets(offsets, codes, characters) {
  const blank = characters.space | characters.idle;
  const following = new Int32Array(codes.length + 1), preceding = new Int32Array(codes.length + 1);
  following[codes.length] = codes.length;
  for (let place = codes.length - 1; place >= 0; place -= 1)
    following[place] = characters.is(codes[place], blank) ? following[place + 1] : place;
  for (let place = 0; place < codes.length; place += 1)
    preceding[place + 1] = characters.is(codes[place], blank) ? preceding[place] : place + 1;
  const clean = new Int32Array(offsets.length);
  let lowest = 0, highest = 0;
  for (let at = 0; at < offsets.length; at += 2) {
    const [start, end] = [following[offsets[at]], preceding[offsets[at + 1]]];
    lowest = Math.max(lowest, end <= start ? offsets[at + 1] : start);
    highest = Math.max(highest, lowest, end <= start ? offsets[at + 1] : end);
    clean[at] = lowest;
    clean[at + 1] = highest;
  }
  return clean;
}

// How many tokens of a context fit beside the question, and how many must.
export function room(question, context, { length, front, middle, back, least }) {
  const tokens = length - front.length - middle.length - back.length - question.ids.length;
  return { tokens, enough: tokens >= Math.min(least, context.ids.length) };
}

// -> [{ids, contextStart, firstToken, count}]: model inputs, and which tokens of the context stand where in them
export function cut(question, context, settings) {
  const { tokens } = room(question, context, settings), total = context.ids.length;
  const head = [...settings.front, ...question.ids, ...settings.middle];
  const step = tokens - Math.min(settings.stride, Math.floor(tokens / 2)), windows = [];
  for (let first = 0; ; first += step) {
    const slice = context.ids.subarray(first, first + tokens);
    const ids = Int32Array.from([...head, ...slice, ...settings.back]);
    windows.push({ ids, contextStart: head.length, firstToken: first, count: slice.length });
    if (first + tokens >= total) return windows;
  }
}
