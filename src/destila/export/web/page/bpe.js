// Byte-level BPE:
//
//     text -> words (the pattern of GPT-2) -> bytes -> merges, best rank first -> ids

const SPACE = 0x20, APOSTROPHE = 0x27;
const CONTRACTIONS = ["s", "t", "re", "ve", "m", "ll", "d"].map((ending) => Array.from(ending, (letter) => letter.codePointAt(0)));

export class Bpe {
  // `vocab`, `merges`: of tokenizer.json; `prefix`: a space is put before the text; `trims`: tokens do not stand for the
  // spaces at their edges, but for one that was put there.
  constructor({ vocab, merges, prefix, trims }, characters) {
    const vocabulary = new Map(Object.entries(vocab));
    Object.assign(this, { characters, prefix, trims, ranks: new Map(), merged: [] });
    this.base = 1 + Math.max(...vocabulary.values());
    this.byteIds = byteNames().map((name) => vocabulary.get(name));
    merges.forEach((merge, rank) => {
      const [left, right] = typeof merge === "string" ? merge.split(" ") : merge;
      this.ranks.set(this.pair(vocabulary.get(left), vocabulary.get(right)), rank);
      this.merged.push(vocabulary.get(left + right));
    });
  }

  // A text with its alignment (normalizers.js) -> {ids, offsets}
  encode(text) {
    const { codes, starts, ends } = this.prefix && text.codes[0] !== SPACE ? text.prepended(SPACE) : text;
    const ids = [], offsets = [], known = new Map();
    for (let first = 0; first < codes.length;) {
      const end = this.wordEnd(codes, first), { bytes, owners } = this.bytesOf(codes, first, end);
      const word = String.fromCharCode(...bytes.slice(0, 64)), short = bytes.length <= 64;
      const tokens = (short && known.get(word)) || this.merge(bytes);
      if (short) known.set(word, tokens);
      let place = 0;
      for (const { id, length } of tokens) {
        const span = [starts[owners[place]], ends[owners[place + length - 1]]];
        ids.push(id);
        offsets.push(...(this.trims ? this.trimmed(bytes.slice(place, place + length), span, !offsets.length) : span));
        place += length;
      }
      first = end;
    }
    return { ids, offsets };
  }

  // As `tokenizers` counts: every space as one character, whatever the text holds there.
  trimmed(bytes, [start, end], isFirst) {
    const solid = bytes.findIndex((byte) => byte !== SPACE), leading = solid < 0 ? bytes.length : solid;
    const trailing = bytes.length - 1 - bytes.findLastIndex((byte) => byte !== SPACE);
    const kept = this.prefix && (isFirst || start === 0) ? 1 : 0;
    const from = Math.min(start + Math.max(leading - kept, 0), end);
    return [from, trailing && end >= trailing ? Math.max(end - trailing, from) : end];
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

  // Bytes -> tokens {id, length in bytes}: again and again the neighbors of the best rank, the leftmost of these, become one.
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
      // Meanwhile other neighbors may stand there.
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
