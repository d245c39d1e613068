// Graphemes (UAX 29) of the Unicode that `tokenizers` knows, but for two rules that no charsmap's short key can meet:
// Hangul syllables and flags (normalizers.py sees to it).

const CR = 0x0d, LF = 0x0a, JOINER = 0x200d;

export class Graphemes {
  constructor(characters) {
    this.characters = characters;
  }

  // -> [first, end] of each, in order
  *of(codes) {
    for (let first = 0, end; first < codes.length; first = end) {
      for (end = first + 1; end < codes.length && this.joined(codes, first, end);) end += 1;
      yield [first, end];
    }
  }

  // Whether the code point at `place` goes on with the grapheme that starts at `first`.
  joined(codes, first, place) {
    const { characters } = this, { control, joining, prepend, consonant } = characters;
    const before = codes[place - 1], code = codes[place];
    if (before === CR && code === LF) return true;
    if (characters.is(before, control) || characters.is(code, control)) return false;
    if (characters.is(code, joining) || characters.is(before, prepend)) return true;
    if (characters.is(code, consonant) && this.linked(codes, first, place)) return true;
    return before === JOINER && this.pictured(codes, first, place);
  }

  // A consonant of an Indic script, linkers (and what may stand between), and another consonant.
  linked(codes, first, place) {
    const { characters } = this, { consonant, linker, between } = characters;
    let at = place - 1, links = false;
    for (; at > first && characters.is(codes[at], linker | between); at -= 1) links ||= characters.is(codes[at], linker);
    return links && characters.is(codes[at], consonant);
  }

  // A pictograph, what extends it, a joiner, and another pictograph.
  pictured(codes, first, place) {
    const { characters } = this, { pictograph, extending } = characters;
    if (!characters.is(codes[place], pictograph)) return false;
    let at = place - 2;
    while (at > first && characters.is(codes[at], extending)) at -= 1;
    return at >= first && characters.is(codes[at], pictograph);
  }
}
