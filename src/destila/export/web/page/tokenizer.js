// Tokenizers as `tokenizers` runs them: a text -> token ids, and the characters that each token stands for.
//
//     text -> normalizers -> a model (bpe.js, unigram.js), which cuts words by itself -> ids
//
// Characters are code points everywhere. What they are is not left to the browser, whose Unicode may be newer: the export
// writes down what `tokenizers` and Python think of each (`Characters`).
//
// Invariant: the same ids and offsets as Python's, for every well-formed text. Special tokens spelled out in a text are
// plain text.
import { Bpe } from "./bpe.js";
import { Aligned, normalizer } from "./normalizers.js";
import { Unigram } from "./unigram.js";

const CODE_POINTS = 0x110000;

// What is known of every code point: a set of at most 16 bits, read off ranges [first, one past the last, first, ...].
export class Characters {
  constructor(ranges) {
    this.bits = new Uint16Array(CODE_POINTS);
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
  // Of what tables.py writes down: the normalizers' steps, and one of the two models.
  constructor({ normalizers, bpe, unigram }, characters) {
    this.steps = normalizers.map((step) => normalizer(step, (ranges) => new Characters(ranges)));
    this.model = bpe ? new Bpe(bpe, characters) : new Unigram(unigram);
  }

  // -> {ids (N), offsets (2 N)}: first character of each token, and one past its last
  encode(codes) {
    const { ids, offsets } = this.model.encode(this.steps.reduce((text, step) => step(text), Aligned.of(codes)));
    return { ids: Int32Array.from(ids), offsets: Int32Array.from(offsets) };
  }
}
