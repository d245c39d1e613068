// From logits to answers, as `destila.inference.decoding` decodes them: one banded matrix of scores for all windows.
//
//     N tokens of the whole context, K most tokens of an answer: scores[i * K + k] of the span from token i to i + k
//
// Invariants: an answer is whole words and begins and ends with a character that shows; characters that show nothing
// neither cut a word nor make an answer; answers neither overlap nor say the same; one that has less than `share` of the
// best one's probability is not shown; equal scores are decided by the earlier start, then by the shorter span.

const ZERO_WIDTH_JOINER = 0x200d, SPACE = 0x20;
const PICTURES_FROM = 0x2100; // a zero-width joiner makes one of two; of letters below it makes nothing

// `windows`: with start and end logits; `offsets`: clean ones of the whole context; -> {answers, ...}: best first, each with
// what `sameWords` makes of it, and whether "no answer" stands before them; the logit of "no answer", the log of the sum of
// exp over those of all spans, and of both.
export function decode(windows, offsets, codes, characters, { longest, count, threshold, share }) {
  const tokens = offsets.length / 2, width = Math.min(longest, Math.max(tokens, 1));
  const { starts, ends } = edges(offsets, codes, characters);
  const scores = fill(windows, starts, ends, width);
  const none = Math.min(...windows.map(({ start, end }) => start[0] + end[0]));
  const spans = logSumExp(scores), normalizer = logSumExp([spans, none]);
  const found = bestSpans(scores, starts, ends, width, { codes, characters, count, share });
  const nothing = { text: null, start: null, end: null, score: Math.exp(none - normalizer) };
  const answers = found.map(({ start, end, score, words }) => ({
    text: textOf(codes.subarray(start, end)), start, end, score: Math.min(1, Math.exp(score - normalizer)), words,
  }));
  const refused = !found.length || (threshold !== null && none - found[0].score > threshold);
  return { answers: refused ? [nothing, ...answers].slice(0, Math.max(count, 1)) : answers, refused, none, spans, normalizer };
}

function textOf(codes) {
  return Array.from(codes, (code) => String.fromCodePoint(code)).join("");
}

// Where answers start, or end, that start or end at each token: at a character that shows. A token that holds none
// stands for none: an answer that starts there starts at the next that shows.
function edges(offsets, codes, characters) {
  const count = offsets.length / 2, starts = new Float64Array(count), ends = new Float64Array(count);
  const shows = (place) => !characters.is(codes[place], characters.space) && !characters.is(codes[place], characters.hidden);
  let end = -1, start = Infinity;
  for (let token = 0; token < count; token += 1) {
    let last = offsets[2 * token + 1];
    while (last > offsets[2 * token] && !shows(last - 1)) last -= 1;
    if (last > offsets[2 * token]) end = Math.max(end, last);
    ends[token] = end;
  }
  for (let token = count - 1; token >= 0; token -= 1) {
    let first = offsets[2 * token];
    while (first < offsets[2 * token + 1] && !shows(first)) first += 1;
    if (first < offsets[2 * token + 1]) start = Math.min(start, first);
    starts[token] = start;
  }
  return { starts, ends };
}

// The best score that a window gives to each span; impossible where nothing shows.
function fill(windows, starts, ends, width) {
  const scores = new Float32Array(starts.length * width).fill(-Infinity);
  for (const { start, end, contextStart, firstToken, count } of windows) {
    for (let left = 0; left < count; left += 1) {
      const row = (firstToken + left) * width;
      for (let more = 0; more < width && left + more < count; more += 1) {
        if (ends[firstToken + left + more] <= starts[firstToken + left]) continue;
        const score = start[contextStart + left] + end[contextStart + left + more];
        if (Math.fround(score) > scores[row + more]) scores[row + more] = score;
      }
    }
  }
  return scores;
}

export function logSumExp(scores) {
  let highest = -Infinity, sum = 0;
  for (const score of scores) if (score > highest) highest = score;
  if (highest === -Infinity) return highest;
  for (const score of scores) sum += Math.exp(score - highest);
  return highest + Math.log(sum);
}

// The best spans that deserve to be shown, as whole words. Uses `scores` up.
function bestSpans(scores, starts, ends, width, { codes, characters, count, share }) {
  const found = [], said = new Set();
  while (found.length < count) {
    let best = -1;
    for (let place = 0; place < scores.length; place += 1)
      if (scores[place] > (best < 0 ? -Infinity : scores[best])) best = place;
    if (best < 0 || (found.length && scores[best] < found[0].score + Math.log(share))) break;
    const token = Math.floor(best / width), score = scores[best];
    const { start, end } = wholeWords(codes, starts[token], ends[token + (best % width)], characters);
    const words = sameWords(codes.subarray(start, end), characters);
    if (!said.has(words)) found.push({ start, end, score, words });
    said.add(words);
    for (let place = 0; place < scores.length; place += 1) {
      const left = Math.floor(place / width), right = Math.min(left + (place % width), starts.length - 1);
      if (starts[left] < end && ends[right] > start) scores[place] = -Infinity;
    }
  }
  return found;
}

// ---------------------------------------------------------------------------------------------- words
// What two answers share that say the same: their words, whatever their capitals and the space between them.
function sameWords(codes, characters) {
  const spaced = codes.map((code) => (characters.is(code, characters.space) ? SPACE : code));
  return textOf(spaced.filter((code, place) => code !== SPACE || spaced[place - 1] !== SPACE)).toLowerCase();
}

function wholeWords(codes, start, end, characters) {
  for (let before = neighbor(codes, start, -1, characters); oneWord(codes, before, start, characters);) {
    start = before;
    before = neighbor(codes, start, -1, characters);
  }
  for (let after = neighbor(codes, end - 1, 1, characters); oneWord(codes, end - 1, after, characters);) {
    end = after + 1;
    after = neighbor(codes, end - 1, 1, characters);
  }
  const { hidden, extender } = characters; // both: it selects how the last one looks
  while (end < codes.length && characters.is(codes[end], hidden) && characters.is(codes[end], extender)) end += 1;
  return { start, end };
}

// The next character in a direction that is not hidden; one past the text if there is none.
function neighbor(codes, place, step, characters) {
  do place += step; while (place >= 0 && place < codes.length && characters.is(codes[place], characters.hidden));
  return place;
}

// Whether two characters with at most hidden ones between them belong to one word, or to one visible character.
function oneWord(codes, left, right, characters) {
  if (left < 0 || right >= codes.length) return false;
  const { space, extender, word } = characters, before = codes[left], after = codes[right];
  if (characters.is(before, space) || characters.is(after, space)) return false;
  if (characters.is(after, extender) || (characters.is(before, word) && characters.is(after, word))) return true;
  return Math.min(before, after) >= PICTURES_FROM && codes.subarray(left + 1, right).includes(ZERO_WIDTH_JOINER);
}
