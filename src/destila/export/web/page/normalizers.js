// The normalizers of `tokenizers`, with the original characters that each code point stands for: as the library counts
// them, which for a letter and its accent, say, may be the letter's place only.
import { Composition } from "./composition.js";
import { Graphemes } from "./graphemes.js";

const SHORT = 6; // bytes: longer graphemes are looked up code point by code point

// A text under way: its code points, and the first character of the original and one past the last for each.
export class Aligned {
  constructor(codes, starts, ends) {
    Object.assign(this, { codes, starts, ends });
  }

  static of(codes) {
    const places = Array.from(codes, (_, place) => place);
    return new Aligned(Array.from(codes), places, places.map((place) => place + 1));
  }

  // `changes`: of each new code point; 1: it was put in after the one before it; 0: it stands for the next old one; -n:
  // for the next, and n more went.
  changed(codes, changes) {
    let place = 0;
    const owners = changes.map((change) => {
      if (change > 0) return Math.max(place - 1, -1);
      place += 1 - change;
      return place - 1 + change;
    });
    const of = (edges) => owners.map((owner) => (owner < 0 ? 0 : edges[owner]));
    return new Aligned(codes, of(this.starts), of(this.ends));
  }

  replacing(other) {
    return new Aligned(this.codes.map(other), this.starts, this.ends);
  }

  // The new code point stands for what the first stands for.
  prepended(code) {
    if (!this.codes.length) return this;
    const twice = (edges) => [edges[0], ...edges];
    return new Aligned([code, ...this.codes], twice(this.starts), twice(this.ends));
  }

  slice(first, end) {
    return new Aligned(...[this.codes, this.starts, this.ends].map((values) => values.slice(first, end)));
  }
}

const KINDS = { Precompiled: precompiled, Composition: composed, Replace: replaced, Strip: stripped };

// A step that normalizers.py wrote down -> a function from Aligned to Aligned. `charactersOf`: makes Characters of ranges.
export function normalizer(step, charactersOf) {
  return KINDS[step.kind](step, charactersOf);
}

// ---------------------------------------------------------------------------------------------- kinds
function composed(step) {
  const composition = new Composition(step);
  return (text) => {
    const { codes, changes } = composition.compose(text.codes);
    return text.changed(codes, changes);
  };
}

// A charsmap of SentencePiece. A short grapheme becomes what its shortest beginning becomes, whatever follows in it.
function precompiled({ charsmap, classes }, charactersOf) {
  const known = new Map(Object.entries(charsmap).map(([from, to]) => [from, codePoints(to)]));
  const graphemes = new Graphemes(charactersOf(classes));
  return (text) => {
    const codes = [], changes = [];
    const put = (old, replacement) => {
      const more = replacement.length - old;
      replacement.forEach((code, place) => {
        codes.push(code);
        changes.push(place >= replacement.length - more ? 1 : 0);
      });
      if (more < 0 && changes.length) changes[changes.length - 1] += more;
    };
    for (const [first, end] of graphemes.of(text.codes)) {
      const grapheme = text.codes.slice(first, end);
      const whole = end - first > 1 && bytes(grapheme) < SHORT ? beginning(grapheme, known) : undefined;
      if (whole) put(grapheme.length, whole);
      else for (const code of grapheme) put(1, known.get(String.fromCodePoint(code)) ?? [code]);
    }
    return text.changed(codes, changes);
  };
}

function beginning(grapheme, known) {
  let name = "";
  for (const code of grapheme) {
    name += String.fromCodePoint(code);
    if (known.has(name)) return known.get(name);
  }
  return undefined;
}

function bytes(codes) {
  return codes.reduce((sum, code) => sum + (code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4), 0);
}

// `pattern`: plain text; with `least`, one code point that comes so many times or more. What is put there stands for the
// last code point that went.
function replaced({ pattern, least, content }) {
  const wanted = codePoints(pattern), put = codePoints(content);
  const repeated = (codes, first) => {
    let end = first;
    while (codes[end] === wanted[0]) end += 1;
    return end - first >= least ? end - first : 0;
  };
  const literal = (codes, first) => (wanted.every((code, place) => codes[first + place] === code) ? wanted.length : 0);
  const matched = least ? repeated : literal;
  return (text) => {
    const codes = [], owners = [];
    for (let place = 0, length; place < text.codes.length; place += length || 1) {
      length = matched(text.codes, place);
      for (const code of length ? put : [text.codes[place]]) {
        codes.push(code);
        owners.push(place + Math.max(length, 1) - 1);
      }
    }
    return new Aligned(codes, owners.map((owner) => text.starts[owner]), owners.map((owner) => text.ends[owner]));
  };
}

function stripped({ left, right, white }, charactersOf) {
  const characters = charactersOf({ white }), isWhite = (code) => characters.is(code, characters.white);
  return (text) => {
    let first = 0, end = text.codes.length;
    while (left && first < end && isWhite(text.codes[first])) first += 1;
    while (right && end > first && isWhite(text.codes[end - 1])) end -= 1;
    return text.slice(first, end);
  };
}

function codePoints(text) {
  return Array.from(text, (letter) => letter.codePointAt(0));
}
