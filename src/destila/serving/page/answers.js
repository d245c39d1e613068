// Shows answers: their places in the text, and a list of the questions so far. The state is page.js's.
//
// A reader counts characters in code points and JavaScript in UTF-16 units: `unitOffsets` is the one place where that is
// mended.
"use strict";

// Sorted code point offsets -> UTF-16 offsets, in one walk over the text.
function unitOffsets(text, offsets) {
  const units = new Map();
  let point = 0, unit = 0;
  for (const offset of [...offsets].sort((a, b) => a - b)) {
    for (; point < offset; point += 1) unit += text.codePointAt(unit) > 0xffff ? 2 : 1;
    units.set(offset, unit);
  }
  return units;
}

// The page, counted from 1, that a character stands on; 0 if there are no pages.
function pageOf(pages, offset) {
  return pages.filter((start) => start <= offset).length;
}

// In which of several texts an answer stands, and on which page, as far as there are such.
function placeOf({ context, start }, { texts }) {
  const page = pageOf(texts[context].pages, start);
  return [texts.length > 1 && nameOf(texts[context]), page && say("page", { page: number(page) })].filter(Boolean);
}

function announceTurn(turn) {
  const [best] = turn.answers;
  announce(best.text === null ? say("none") : say("answer", { answer: best.text, share: [share(chance(best)), sureness(best)].filter(Boolean).join(", ") }));
}

// How sure to be of an answer, in words that mean its probability; none where the reader is not calibrated.
function sureness(answer) {
  if (typeof answer.probability !== "number") return "";
  const [name] = [["certain", 0.9], ["likely", 0.6], ["possible", 0.3], ["doubtful", 0]].find(([, least]) => answer.probability >= least);
  return say(name);
}

function chance(answer) {
  return answer.probability ?? answer.score;
}

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Show an answer in its text; where there is none, the text that is shown stays.
function showTurn(turn, answer) {
  Object.assign(state, { active: turn, shown: answer });
  keepText(); // it may have been added since then
  const { texts, answers } = state.turns[turn], text = texts[answers[answer].context] ?? shownText();
  state.current = state.texts.indexOf(texts.includes(text) ? text : texts[0]);
  renderTurns();
  showText();
}

function renderText() {
  const { answers, sentences, texts } = state.turns[state.active], one = shownText(), place = texts.indexOf(one);
  const spans = answers.map((answer, rank) => ({ ...answer, rank })).filter(({ text, context }) => text !== null && context === place);
  const needed = state.fade && sentences?.[place], parts = document.createDocumentFragment();
  const units = unitOffsets(one.text, [...spans, ...(needed || [])].flatMap(({ start, end }) => [start, end]));
  const kept = needed ? needed.map(({ start, end }) => [units.get(start), units.get(end)]) : [[0, one.text.length]];
  const piece = (start, end) => faded(one.text, start, end, kept);
  let end = 0, shown = null;
  for (const answer of spans.sort((a, b) => a.start - b.start)) {
    parts.append(...piece(end, units.get(answer.start)));
    const mark = element("mark", answer.rank === 0 ? "best" : "", answer.text);
    if (answer.rank === state.shown) shown = mark;
    parts.append(mark);
    end = units.get(answer.end);
  }
  parts.append(...piece(end, one.text.length));
  $("view").replaceChildren(parts);
  editText(false);
  shown?.classList.add("shown");
  if (shown) $("view").scrollTop = shown.offsetTop - $("view").clientHeight / 2;
}

// The pieces of text.slice(start, end): what stands in none of the spans `kept`, which are in order, is faded.
function faded(text, start, end, kept) {
  const parts = [];
  const add = (until, isKept) => {
    if (until <= start) return;
    const words = text.slice(start, until);
    parts.push(isKept ? words : element("span", "faded", words));
    start = until;
  };
  for (const [first, last] of kept) {
    add(Math.min(first, end), false);
    add(Math.min(last, end), true);
  }
  add(end, false);
  return parts;
}

function renderTurns() {
  $("past").hidden = !state.turns.length;
  $("asked").textContent = say("asked", { count: number(state.turns.length) });
  $("history").replaceChildren(...state.turns.map(renderTurn));
}

function renderTurn(turn, place) {
  const item = element("li", place === state.active ? "turn active" : "turn");
  item.append(renderQuestion(turn, place));
  const [best, ...others] = turn.answers;
  if (best.text === null) item.append(element("p", "none", say("none")));
  else item.append(renderAnswers([best], place, 0, "first"));
  if (others.length) {
    const more = element("div", "others");
    more.append(element("p", "quiet", say(best.text === null ? "perhaps" : "others")), renderAnswers(others, place, 1, ""));
    if (best.text === null) more.append(renderAnyway(turn, place));
    item.append(more);
  }
  const time = `${number(turn.milliseconds, { maximumFractionDigits: 0 })} ms`;
  item.append(element("p", "quiet took", say("took", { time })), renderSharing(turn, place));
  return item;
}

// Shows the answers again, and puts the question where it can be changed.
function renderQuestion(turn, place) {
  const heading = element("h3"), button = element("button", "asked", turn.question);
  button.type = "button";
  button.addEventListener("click", () => {
    $("question").value = turn.question;
    showTurn(place, 0);
    announceTurn(turn);
    document.querySelectorAll(".turn .asked")[place].focus({ preventScroll: true });
  });
  heading.append(button);
  return heading;
}

function renderExamples() {
  $("example-list").replaceChildren(...EXAMPLES.map((example) => {
    const item = element("li"), button = element("button", "sample"), name = element("span", "quiet"), question = element("span", "", example.question);
    button.type = "button";
    name.dataset.text = example.name;
    question.lang = "es";
    button.append(name, question);
    button.addEventListener("click", () => { setExample(example); ask(); });
    item.append(button);
    return item;
  }));
}

// Behind a refusal stand the answers that would have been given: the same, with the same scores, without it.
function renderAnyway(turn, place) {
  const button = element("button", "anyway", say("anyway"));
  button.type = "button";
  button.addEventListener("click", () => {
    turn.answers = turn.answers.slice(1);
    showTurn(place, 0);
    announceTurn(turn);
    document.querySelectorAll(".turn")[place].querySelector(".answer").focus({ preventScroll: true });
  });
  return button;
}

function renderAnswers(answers, turn, firstRank, className) {
  const list = element("ol", className);
  list.append(...answers.map((answer, place) => renderAnswer(answer, turn, firstRank + place)));
  return list;
}

function renderAnswer(answer, turn, rank) {
  const button = element("button", "answer"), meter = element("meter");
  button.type = "button";
  button.title = say("show");
  meter.value = chance(answer);
  meter.setAttribute("aria-hidden", "true");
  const percent = element("span", "share", share(chance(answer)));
  percent.append(element("span", "hidden", ` ${say("confidence")}`));
  button.append(element("span", "words", answer.text.replace(/\s+/g, " ")), meter, percent);
  if (sureness(answer)) button.append(element("span", "quiet sure", sureness(answer)));
  const place = placeOf(answer, state.turns[turn]);
  if (place.length) button.append(element("span", "quiet place", place.join(", ")));
  button.addEventListener("click", () => {
    showTurn(turn, rank);
    const drawnAnew = document.querySelectorAll(".turn")[turn].querySelector(`[data-rank="${rank}"]`);
    drawnAnew.focus({ preventScroll: true });
    $("view").scrollIntoView({ block: "nearest" });
  });
  button.dataset.rank = rank;
  const item = element("li");
  item.append(button);
  return item;
}
