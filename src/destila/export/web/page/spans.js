// From logits to answers, as `destila.inference.decoding` decodes them: one banded matrix of scores for all windows.
//
//     N tokens of the whole context, K most tokens of an answer: scores[i * K + k] of the span from token i to i + k
//
// Invariants: an answer is whole words without white space at its edges; answers do not overlap; equal scores are decided
// by the earlier start, then by the shorter span.

const ZERO_WIDTH_JOINER = 0x200d;

// `windows`: with start and end logits; `offsets`: clean ones of the whole context; -> answers, best first.
export function decode(windows, offsets, codes, characters, { longest, count, threshold }) {
  const tokens = offsets.length / 2, width = Math.min(longest, Math.max(tokens, 1));
  const { starts, ends } = edges(offsets);
  const scores = fill(windows, starts, ends, width);
  const none = Math.min(...windows.map(({ start, end }) => start[0] + end[0]));
  const normalizer = logSumExp(scores, none);
  const spans = bestSpans(scores, starts, ends, width, { codes, characters, count });
  const nothing = { text: null, start: null, end: null, score: Math.exp(none - normalizer) };
  if (!spans.length) return [nothing];
  const answers = spans.map(({ start, end, score }) => ({
    text: textOf(codes.subarray(start, end)), start, end, score: Math.min(1, Math.exp(score - normalizer)),
  }));
  const answered = threshold === null || none - spans[0].score <= threshold;
  return answered ? answers : [nothing, ...answers].slice(0, count);
}

function textOf(codes) {
  return Array.from(codes, (code) => String.fromCodePoint(code)).join("");
}

// Where answers start, or end, that start or end at each token. One without width stands for no character: an answer
// that starts there starts at the next that has some.
function edges(offsets) {
  const count = offsets.length / 2, starts = new Float64Array(count), ends = new Float64Array(count);
  let end = -1, start = Infinity;
  for (let token = 0; token < count; token += 1) {
    if (offsets[2 * token + 1] > offsets[2 * token]) end = Math.max(end, offsets[2 * token + 1]);
    ends[token] = end;
  }
  for (let token = count - 1; token >= 0; token -= 1) {
    if (offsets[2 * token + 1] > offsets[2 * token]) start = Math.min(start, offsets[2 * token]);
    starts[token] = start;
  }
  return { starts, ends };
}

// The best score that a window gives to each span; impossible where there is nothing but white space.
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

function logSumExp(scores, none) {
  let highest = none, sum = 0;
  for (const score of scores) if (score > highest) highest = score;
  for (const score of scores) sum += Math.exp(score - highest);
  return highest + Math.log(sum + Math.exp(none - highest));
}

// The best spans that do not overlap, as whole words. Uses `scores` up.
function bestSpans(scores, starts, ends, width, { codes, characters, count }) {
  const found = [];
  while (found.length < count) {
    let best = -1;
    for (let place = 0; place < scores.length; place += 1)
      if (scores[place] > (best < 0 ? -Infinity : scores[best])) best = place;
    if (best < 0) break;
    const token = Math.floor(best / width), score = scores[best];
    const { start, end } = wholeWords(codes, starts[token], ends[token + (best % width)], characters);
    found.push({ start, end, score });
    for (let place = 0; place < scores.length; place += 1) {
      const left = Math.floor(place / width), right = Math.min(left + (place % width), starts.length - 1);
      if (starts[left] < end && ends[right] > start) scores[place] = -Infinity;
    }
  }
  return found;
}

// ---------------------------------------------------------------------------------------------- words
function wholeWords(codes, start, end, characters) {
  while (start > 0 && oneWord(codes[start - 1], codes[start], characters)) start -= 1;
  while (end < codes.length && oneWord(codes[end - 1], codes[end], characters)) end += 1;
  return { start, end };
}

// Whether two neighbouring characters belong to one word, or to one visible character.
function oneWord(left, right, characters) {
  const { space, extender, word } = characters;
  if (characters.is(left, space) || characters.is(right, space)) return false;
  if (left === ZERO_WIDTH_JOINER || characters.is(right, extender)) return true;
  return characters.is(left, word) && characters.is(right, word);
}
