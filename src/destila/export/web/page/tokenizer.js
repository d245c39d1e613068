// Byte-level BPE as `tokenizers` does it: a text -> token ids, and the characters that each token stands for.
//
//     text -> words (the pattern of GPT-2) -> bytes -> merges, best rank first -> ids
//
// Characters are code points everywhere. Which are letters, numbers or white space is not left to the browser, whose
// Unicode may be newer: the export writes down what `tokenizers` and Python think of each (`Characters`).
//
// Invariant: the same ids as Python's, for every well-formed text. Special tokens spelled out in a text are plain text.

const CODE_POINTS = 0x110000, SPACE = 0x20, APOSTROPHE = 0x27;
const CONTRACTIONS = ["s", "t", "re", "ve", "m", "ll", "d"].map((ending) => Array.from(ending, (letter) => letter.codePointAt(0)));

// What is known of every code point: a set of bits, read off ranges [first, one past the last, first, ...].
export class Characters {
  constructor(ranges) {
    this.bits = new Uint8Array(CODE_POINTS);
    Object.keys(ranges).forEach((name, place) => {
      this[name] = 1 << place;
      for (let at = 0; at < ranges[name].length; at += 2)
        for (let code = ranges[name][at]; code < ranges[name][at + 1]; code += 1) this.bits[code] |= 1 << place;
    });
  }

  is(code, kinds) {
    return (this.bits[code] & kinds) !== 0;
  }
}

export function codesOf(text) {
  return Uint32Array.from(Array.from(text), (letter) => letter.codePointAt(0));
}

export class Tokenizer {
  // `model`: of tokenizer.json; `prefix`: a space is put before the text; `trims`: that space stands for no character.
  constructor(model, characters, { prefix, trims }) {
    const vocabulary = new Map(Object.entries(model.vocab));
    Object.assign(this, { characters, prefix, trims, ranks: new Map(), merged: [] });
    this.base = 1 + Math.max(...vocabulary.values());
    this.byteIds = byteNames().map((name) => vocabulary.get(name));
    model.merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      this.ranks.set(this.pair(vocabulary.get(left), vocabulary.get(right)), rank);
      this.merged.push(vocabulary.get(left + right));
    });
  }

  // -> {ids (N), offsets (2 N)}: first character of each token, and one past its last
  encode(codes) {
    const added = this.prefix && codes.length && codes[0] !== SPACE ? 1 : 0;
    const letters = added ? Uint32Array.from([SPACE, ...codes]) : codes;
    const ids = [], offsets = [], known = new Map();
    for (let first = 0; first < letters.length;) {
      const end = this.wordEnd(letters, first), { bytes, owners } = this.bytesOf(letters, first, end);
      const word = String.fromCharCode(...bytes.slice(0, 64)), short = bytes.length <= 64;
      const tokens = (short && known.get(word)) || this.merge(bytes);
      if (short) known.set(word, tokens);
      let place = 0;
      for (const { id, length } of tokens) {
        ids.push(id);
        offsets.push(Math.max(owners[place] - added, 0), Math.max(owners[place + length - 1] + 1 - added, 1));
        place += length;
      }
      first = end;
    }
    if (added && this.trims && ids[0] === this.byteIds[SPACE]) offsets[1] = 0;
    return { ids: Int32Array.from(ids), offsets: Int32Array.from(offsets) };
  }

  // Where the word that starts at `first` ends:
  // 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
  wordEnd(codes, first) {
    const { characters } = this, { letter, number, white } = characters;
    if (codes[first] === APOSTROPHE) {
      const ending = CONTRACTIONS.find((ending) => ending.every((code, place) => codes[first + 1 + place] === code));
      if (ending) return first + 1 + ending.length;
    }
    const start = codes[first] === SPACE && first + 1 < codes.length ? first + 1 : first;
    const kind = characters.bits[codes[start]] & (letter | number | white);
    let end = start;
    if (!(kind & white)) {
      while (end < codes.length && (characters.bits[codes[end]] & (letter | number | white)) === kind) end += 1;
      return end;
    }
    for (end = first; end < codes.length && characters.is(codes[end], white);) end += 1;
    return end < codes.length && end - first > 1 ? end - 1 : end; // the last space belongs to the word after it
  }

  // The bytes of UTF-8, and which character each comes from.
  bytesOf(codes, first, end) {
    const bytes = [], owners = [];
    for (let place = first; place < end; place += 1) {
      const code = codes[place], before = bytes.length;
      if (code < 0x80) bytes.push(code);
      else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
      else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
      for (let count = bytes.length - before; count > 0; count -= 1) owners.push(place);
    }
    return { bytes, owners };
  }

  // Bytes -> tokens {id, length in bytes}: again and again the neighbours of the best rank, the leftmost of these, become one.
  merge(bytes) {
    const count = bytes.length, ids = bytes.map((byte) => this.byteIds[byte]), lengths = new Uint32Array(count).fill(1);
    const next = Int32Array.from(bytes, (_, place) => place + 1), before = Int32Array.from(bytes, (_, place) => place - 1);
    const heap = new Heap();
    const offer = (left) => {
      const rank = left >= 0 && next[left] < count ? this.ranks.get(this.pair(ids[left], ids[next[left]])) : undefined;
      if (rank !== undefined) heap.push(rank * count + left); // the order of ranks, then of places
    };
    for (let place = 0; place + 1 < count; place += 1) offer(place);
    while (heap.size) {
      const best = heap.pop(), left = best % count, right = next[left];
      if (!lengths[left] || right >= count) continue;
      // Meanwhile other neighbours may stand there.
      if (this.ranks.get(this.pair(ids[left], ids[right])) !== (best - left) / count) continue;
      ids[left] = this.merged[(best - left) / count];
      lengths[left] += lengths[right];
      lengths[right] = 0;
      next[left] = next[right];
      if (next[left] < count) before[next[left]] = left;
      offer(before[left]);
      offer(left);
    }
    return ids.map((id, place) => ({ id, length: lengths[place] })).filter((token) => token.length);
  }

  pair(left, right) {
    return left * this.base + right;
  }
}

// The smallest number comes out first.
class Heap {
  values = [];

  get size() {
    return this.values.length;
  }

  push(value) {
    const { values } = this;
    let place = values.push(value) - 1;
    for (let parent; place && values[(parent = (place - 1) >> 1)] > value; place = parent) values[place] = values[parent];
    values[place] = value;
  }

  pop() {
    const { values } = this, smallest = values[0], last = values.pop();
    if (!values.length) return smallest;
    let place = 0;
    for (let child; (child = 2 * place + 1) < values.length; place = child) {
      if (child + 1 < values.length && values[child + 1] < values[child]) child += 1;
      if (values[child] >= last) break;
      values[place] = values[child];
    }
    values[place] = last;
    return smallest;
  }
}

// How a vocabulary spells each byte: printable ones as themselves, the others as letters from U+0100 on.
function byteNames() {
  const printable = (byte) => (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : 0x100 + others++));
}
