// What leaves the page, by the hand of whoever reads it: an answer with its citation, and a file with everything.
"use strict";

// After these a point ends no sentence; Intl.Segmenter does not know them.
const ABBREVIATION = /(?:^|[\s(«"“])(?:\p{Lu}|Sra?|Srta|Dra?|Prof|Profa|Lic|Ing|Excm[oa]|Av|Avda|Mrs?|Ms|St|[aA]rts?|[pP]ágs?|[nN]úm|vol|[acd])\.\s*$/u;

// The sentences around the UTF-16 units [start, end) of a text, in one line.
function sentenceAround(text, start, end) {
  let first = 0, last = text.length, sentence = "";
  for (const { index, 0: gap } of text.matchAll(/\n\s*\n/g)) {
    if (index + gap.length <= start) first = index + gap.length;
    else if (index >= end) {
      last = index;
      break;
    }
  }
  const paragraph = text.slice(first, last).replace(/\s/g, " "); // a line may end within a sentence
  const pieces = window.Intl.Segmenter ? new Intl.Segmenter("es", { granularity: "sentence" }).segment(paragraph) : [{ index: 0, segment: paragraph }];
  for (const { index, segment } of pieces) {
    sentence += segment;
    const behind = first + index + segment.length;
    if (ABBREVIATION.test(sentence) && behind < last) continue;
    if (behind >= end) break;
    if (behind <= start) sentence = "";
  }
  return sentence.replace(/ +/g, " ").trim();
}

// "answer" (characters 10-24, report.pdf, page 3): the sentence around it.
function citation({ text, start, end, context }, { texts }) {
  const one = texts[context], units = unitOffsets(one.text, [start, end]), page = pageOf(one.pages, start);
  const name = texts.length > 1 ? nameOf(one) : one.name;
  const place = [name, page && say("page", { page: number(page) })].filter(Boolean).map((part) => `, ${part}`).join("");
  const sentence = sentenceAround(one.text, units.get(start), units.get(end));
  return say("cite", { answer: text.replace(/\s+/g, " "), start, end, place, sentence });
}

// Browsers have a clipboard only for pages that came over https or from this machine.
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element("textarea", "hidden", text);
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

// A question with its texts, and all answers as the reader gave them: offsets count Unicode code points, and `context` says
// which of several texts an answer is from, counted from 0.
function recordOf({ question, texts, answers, sentences }) {
  const found = { offsets: "Unicode code points", answers, sentences };
  const [first, ...others] = texts.map(({ text, name }) => ({ context: text, file: name || null }));
  return others.length ? { question, contexts: [first, ...others], ...found } : { question, ...first, ...found };
}

function save(name, content) {
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([JSON.stringify(content, null, 2)], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // some browsers read it later
}

// What can be done with the answer of a turn that is shown, or with its best.
function renderSharing(turn, place) {
  const answer = turn.answers[place === state.active ? state.shown : 0], row = element("div", "sharing");
  const add = (name, act) => {
    const button = element("button", name, say(name));
    button.type = "button";
    button.addEventListener("click", () => act(button));
    row.append(button);
  };
  if (answer.text !== null) add("copy", async (button) => {
    const done = await copy(citation(answer, turn));
    button.focus();
    announce((button.textContent = say(done ? "copied" : "notCopied")));
  });
  add("save", () => save(say("fileName"), recordOf(turn)));
  return row;
}
