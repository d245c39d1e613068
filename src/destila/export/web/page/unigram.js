// Unigram with a metaspace:
//
//     text -> segments, each from one ▁ to the next -> the cut into pieces with the highest sum of scores -> ids
//
// What no piece covers is unknown, at a price below all pieces; unknown neighbors are one token.

const SPACE = 0x20, CODE_POINTS = 0x110000, PENALTY = 10, REMEMBERED = 64;

export class Unigram {
  // `pieces`, `scores`: by id; `unknown`: an id; `space`: stands for spaces; `prefix`: one is put before the text;
  // `split`: segments start at each.
  constructor({ pieces, scores, unknown, space, prefix, split }) {
    Object.assign(this, { scores, unknown, prefix, split, space: space.codePointAt(0) });
    this.unknownScore = scores.reduce((lowest, score) => Math.min(lowest, score), Infinity) - PENALTY;
    this.children = new Map(); // (node, code point) -> node; the root is 0
    this.pieceIds = [-1]; // of the piece that ends at a node
    pieces.forEach((piece, id) => { this.pieceIds[this.grow(piece)] = id; });
  }

  grow(piece) {
    let node = 0;
    for (const letter of piece) {
      const edge = node * CODE_POINTS + letter.codePointAt(0);
      let next = this.children.get(edge);
      if (next === undefined) this.children.set(edge, (next = this.pieceIds.push(-1) - 1));
      node = next;
    }
    return node;
  }

  // A text with its alignment (normalizers.js) -> {ids, offsets}
  encode(text) {
    let marked = text.replacing((code) => (code === SPACE ? this.space : code));
    if (this.prefix && marked.codes[0] !== this.space) marked = marked.prepended(this.space);
    const { codes, starts, ends } = marked, ids = [], offsets = [], known = new Map();
    for (let first = 0; first < codes.length;) {
      let end = first + 1;
      while (end < codes.length && !(this.split && codes[end] === this.space)) end += 1;
      for (const { id, from, to } of this.remembered(codes.slice(first, end), known)) {
        ids.push(id);
        offsets.push(starts[first + from], ends[first + to - 1]);
      }
      first = end;
    }
    return { ids, offsets };
  }

  remembered(segment, known) {
    if (segment.length > REMEMBERED) return this.cut(segment);
    const name = String.fromCodePoint(...segment);
    if (!known.has(name)) known.set(name, this.cut(segment));
    return known.get(name);
  }

  // -> [{id, from, to}]; of cuts with equal sums, the one whose last piece starts first
  cut(codes) {
    const sums = new Float64Array(codes.length + 1), from = new Int32Array(codes.length + 1).fill(-1), ids = new Int32Array(codes.length + 1);
    const offer = (start, end, id, score) => {
      const sum = score + sums[start];
      if (from[end] >= 0 && !(sum > sums[end])) return;
      sums[end] = sum;
      from[end] = start;
      ids[end] = id;
    };
    for (let start = 0; start < codes.length; start += 1) {
      let single = false;
      for (let end = start, node = 0; end < codes.length;) {
        node = this.children.get(node * CODE_POINTS + codes[end]);
        if (node === undefined) break;
        end += 1;
        const id = this.pieceIds[node];
        if (id < 0) continue;
        offer(start, end, id, this.scores[id]);
        single ||= end === start + 1;
      }
      if (!single) offer(start, start + 1, this.unknown, this.unknownScore);
    }
    return this.fused(codes, from, ids);
  }

  fused(codes, from, ids) {
    const tokens = [];
    for (let to = codes.length; to > 0;) {
      let start = from[to];
      const isUnknown = ids[to] === this.unknown;
      while (isUnknown && start > 0 && ids[start] === this.unknown) start = from[start];
      tokens.push({ id: isUnknown ? this.idOf(codes, start, to) : ids[to], from: start, to });
      to = start;
    }
    return tokens.reverse();
  }

  // Unknown neighbors together may spell a piece.
  idOf(codes, start, end) {
    let node = 0;
    for (let place = start; place < end && node !== undefined; place += 1) node = this.children.get(node * CODE_POINTS + codes[place]);
    return this.pieceIds[node] >= 0 ? this.pieceIds[node] : this.unknown;
  }
}
