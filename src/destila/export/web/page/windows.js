// Texts -> model inputs, as `destila.data.windows` cuts them: front, question, middle, a slice of the context, back.
//
// A text here is {ids (N), offsets (2 N)}, with offsets in code points of the text as the page gave it.

// Offsets without white space at the edges, never decreasing. A token that is nothing but white space has no width.
export function cleanOffsets({ offsets }, codes, characters) {
  const following = new Int32Array(codes.length + 1), preceding = new Int32Array(codes.length + 1);
  following[codes.length] = codes.length;
  for (let place = codes.length - 1; place >= 0; place -= 1)
    following[place] = characters.is(codes[place], characters.space) ? following[place + 1] : place;
  for (let place = 0; place < codes.length; place += 1)
    preceding[place + 1] = characters.is(codes[place], characters.space) ? preceding[place] : place + 1;
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
