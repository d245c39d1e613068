// Normal forms C and KC (UAX 15), by tables: of `tokenizers` for its normalizers, of Python for texts as they are read.

const HANGUL = { syllables: 0xac00, leading: 0x1100, vowels: 0x1161, trailing: 0x11a7 };
const LEADING = 19, VOWELS = 21, TRAILING = 28, SYLLABLES = LEADING * VOWELS * TRAILING, CODE_POINTS = 0x110000;

export class Composition {
  // `decompositions`: "ñ" -> its parts; `compositions`: "ñ" in two parts -> "ñ"; `marks`: [first, one past the last,
  // combining class, first, ...] of all code points whose class is not 0.
  constructor({ decompositions, compositions, marks }) {
    const codes = (text) => Array.from(text, (letter) => letter.codePointAt(0));
    this.parts = new Map(Object.entries(decompositions).map(([whole, parts]) => [whole.codePointAt(0), codes(parts)]));
    this.pairs = new Map(Object.entries(compositions).map(([pair, whole]) => [key(...codes(pair)), whole.codePointAt(0)]));
    this.classes = new Map();
    for (let at = 0; at < marks.length; at += 3)
      for (let code = marks[at]; code < marks[at + 1]; code += 1) this.classes.set(code, marks[at + 2]);
  }

  classOf(code) {
    return this.classes.get(code) ?? 0;
  }

  // Whether this is a code point that nothing can change; false where it might.
  isFixed(text) {
    return text.length === 1 && !this.parts.has(text[0]);
  }

  // -> {codes, changes}; what changes are is said in normalizers.js
  compose(text) {
    const codes = [], changes = [];
    let starter = -1, last = 0; // where the newest starter stands, and the class of what stands behind it
    for (const { code, change, mark } of this.decompose(text)) {
      const whole = starter >= 0 && (!last || last < mark) ? this.pair(codes[starter], code) : undefined;
      if (whole !== undefined) {
        codes[starter] = whole;
        changes[starter] += change - 1;
        continue;
      }
      codes.push(code);
      changes.push(change);
      if (!mark) starter = codes.length - 1;
      last = starter < 0 ? 0 : mark;
    }
    return { codes, changes };
  }

  // -> [{code, change, mark: combining class}], marks in canonical order
  decompose(text) {
    const found = [];
    let waiting = [];
    const settle = () => {
      for (const part of waiting.sort((one, other) => one.mark - other.mark)) found.push(part);
      waiting = [];
    };
    for (const whole of text)
      (this.parts.get(whole) ?? syllable(whole) ?? [whole]).forEach((code, place) => {
        const part = { code, change: place ? 1 : 0, mark: this.classOf(code) };
        if (part.mark) return void waiting.push(part);
        settle();
        found.push(part);
      });
    settle();
    return found;
  }

  pair(left, right) {
    const vowel = right - HANGUL.vowels, trailing = right - HANGUL.trailing;
    const leading = left - HANGUL.leading, before = left - HANGUL.syllables;
    if (leading >= 0 && leading < LEADING && vowel >= 0 && vowel < VOWELS)
      return HANGUL.syllables + (leading * VOWELS + vowel) * TRAILING;
    if (before >= 0 && before < SYLLABLES && before % TRAILING === 0 && trailing > 0 && trailing < TRAILING)
      return left + trailing;
    return this.pairs.get(key(left, right));
  }
}

function syllable(code) {
  const place = code - HANGUL.syllables, trailing = place % TRAILING;
  if (place < 0 || place >= SYLLABLES) return undefined;
  const open = [
    HANGUL.leading + Math.floor(place / (VOWELS * TRAILING)),
    HANGUL.vowels + (Math.floor(place / TRAILING) % VOWELS),
  ];
  return trailing ? [...open, HANGUL.trailing + trailing] : open;
}

function key(left, right) {
  return left * CODE_POINTS + right;
}
