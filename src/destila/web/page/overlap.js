// What a span gains where its sentence repeats the question, as `destila.overlap` computes it.

const BEGINNING = 5, FUNCTION_WORD = 0.1;
const SENTENCE_ENDS = new Set(Array.from(".!?…", (sign) => sign.codePointAt(0)));
const NEWLINE = 10;

// -> the gain of each token of the context, none where it stands for no character; `question` and `codes`: code points.
export function gains(question, codes, offsets, characters, { overlap, stopWords }) {
  const gained = new Float32Array(offsets.length / 2);
  if (!overlap) return gained;
  const stop = new Set(stopWords), asked = new Map();
  for (const { word } of pieces(question, characters))
    if (word) asked.set(beginning(word), stop.has(word.toLowerCase()) ? FUNCTION_WORD : 1);
  const { borders, found } = sentences(codes, characters, asked);
  const weights = new Map();
  for (const [word, worth] of asked) {
    const count = found.filter((words) => words.has(word)).length;
    weights.set(word, worth * Math.log1p((found.length + 1) / (count + 0.5)));
  }
  const sum = (words) => Array.from(words, (word) => weights.get(word)).reduce((left, right) => left + right, 0);
  const total = sum(asked.keys());
  const shares = found.map((words) => (total ? sum(words) / total : 0));
  let sentence = 0;
  for (let token = 0; token < gained.length; token += 1) {
    if (offsets[2 * token + 1] <= offsets[2 * token]) continue;
    while (sentence + 1 < borders.length && borders[sentence + 1] <= offsets[2 * token]) sentence += 1;
    gained[token] = shares[sentence] * overlap;
  }
  return gained;
}

// Runs of white space, and words.
function* pieces(codes, characters) {
  for (let start = 0; start < codes.length;) {
    const space = characters.is(codes[start], characters.space);
    const kind = space ? characters.space : characters.alphanumeric;
    let end = start;
    while (end < codes.length && characters.is(codes[end], kind)) end += 1;
    if (end > start) yield { start, end, space, word: space ? "" : textOf(codes.subarray(start, end)) };
    start = Math.max(end, start + 1);
  }
}

// Where sentences begin, and the words of the question that each holds.
function sentences(codes, characters, asked) {
  const borders = [0], found = [new Set()];
  for (const { start, end, space, word } of pieces(codes, characters)) {
    if (!space) {
      const letters = beginning(word);
      if (asked.has(letters)) found.at(-1).add(letters);
    } else if (start && (SENTENCE_ENDS.has(codes[start - 1]) || codes.subarray(start, end).includes(NEWLINE))) {
      borders.push(end);
      found.push(new Set());
    }
  }
  return { borders, found };
}

function textOf(codes) {
  return Array.from(codes, (code) => String.fromCodePoint(code)).join("");
}

// The first letters of a word, small and without accents.
function beginning(word) {
  return Array.from(word.toLowerCase().normalize("NFD").replace(/\p{Mn}/gu, "")).slice(0, BEGINNING).join("");
}
