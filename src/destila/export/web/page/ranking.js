// Answers of several texts on one scale, as `destila.inference.ranking` ranks them: one softmax over the spans of all texts
// and "no answer", which has the lowest logit of all.
//
// Invariants: "no answer" stands first only where every text says it; where only some do, their answers come after all
// others; two answers that say the same, or have less than `share` of the best one's probability, are not both shown.
import { logSumExp } from "./spans.js";

// `readings`: what `decode` gives for each text, in their order; -> answers with the place of their text, best first.
export function rankedTogether(readings, { count, share }) {
  const none = Math.min(...readings.map((reading) => reading.none));
  const total = logSumExp([none, ...readings.map(({ spans }) => spans)]);
  const candidates = readings.flatMap(({ answers, refused, normalizer }, context) =>
    answers.filter(({ text }) => text !== null).map((answer) => ({
      ...answer, context, refused, score: answer.score && Math.exp(Math.min(0, Math.log(answer.score) + normalizer - total)),
    })));
  const chosen = [];
  for (const one of candidates.sort((a, b) => a.refused - b.refused || b.score - a.score)) {
    const isShown = !chosen.length || one.score >= share * chosen[0].score;
    if (isShown && !chosen.some((other) => other.words === one.words)) chosen.push(one);
  }
  const nothing = { text: null, start: null, end: null, context: null, score: Math.exp(none - total) };
  const found = chosen.map(({ text, start, end, score, context }) => ({ text, start, end, score, context }));
  return (!chosen.length || chosen[0].refused ? [nothing, ...found] : found).slice(0, count);
}
