// The page of `destila annotate`: a passage, the questions about it, and a form for the one that is chosen. marking.js has
// the passage's text, language.js the languages; answers.js lends `element` and `unitOffsets`.
//
// The server has the questions; the page has drafts: what is in the form and not accepted yet, for each question. A draft is
// kept in the browser (localStorage) at every key, and a step is sent so that it arrives though the tab is closed
// (keepalive). So closing it loses nothing.
//
// Invariants: a step names the revision that the page knows, and what the server refuses stays in the form; what a person or
// a file wrote enters the page as text; nothing but where the page came from is ever contacted.
"use strict";

const TEXTS = {
  es: {
    tagline: "Marca preguntas y respuestas", language: "Idioma", passage: "Pasaje", passages: "Ir a un pasaje", before: "Anterior", after: "Siguiente",
    how: "Marca la respuesta con el ratón o, con T, con el teclado: las flechas mueven el cursor y Mayús + flechas marca (Ctrl: palabra a palabra). J y K: pregunta siguiente y anterior; W: una nueva; Esc: salir de la pregunta.",
    questions: "Preguntas", question: "Pregunta", hint: "¿Quién…? ¿Cuándo…?", answer: "Respuesta", none: "El pasaje no lo dice",
    accept: "Aceptar", reject: "Rechazar", undo: "Deshacer", keys: "Atajos de una sola tecla", own: "Nueva pregunta", unmarked: "sin marcar",
    open: "por revisar", accepted: "aceptada", rejected: "rechazada", draft: "a medias",
    count: "{accepted} de {goal} preguntas; {rejected} rechazadas, {open} por revisar", place: "{number}. {title} ({open} por revisar)",
    noQuestion: "Escribe la pregunta.", noAnswer: "Marca la respuesta en el pasaje, o di que no está.",
    saved: "Guardada: {question}", turnedDown: "Rechazada: {question}", undone: "Deshecho.", nothing: "No hay nada que deshacer.",
    finished: "No queda nada por revisar en este pasaje. Escribe otra pregunta, o pasa al siguiente.",
    stale: "Las preguntas han cambiado en otra pestaña o por otra persona, y se han cargado de nuevo. No se ha guardado nada encima; lo que habías escrito sigue aquí: míralo y repite.",
    offline: "No se ha guardado: destila annotate no responde. Lo que has escrito sigue aquí; arráncalo de nuevo y repite.",
    away: "destila annotate no responde. Arráncalo de nuevo y vuelve a cargar la página.",
    unreadable: "Las preguntas no se pueden leer: {problem}",
    refused: "No se ha guardado: {problem}", unwritable: "No se ha guardado, porque el archivo no se puede escribir: {problem}",
  },
  en: {
    tagline: "Mark questions and answers", language: "Language", passage: "Passage", passages: "Go to a passage", before: "Previous", after: "Next",
    how: "Mark the answer with the mouse or, with T, with the keyboard: the arrows move the caret and Shift + arrows marks (Ctrl: word by word). J and K: next and previous question; W: a new one; Esc: leave the question.",
    questions: "Questions", question: "Question", hint: "Who…? When…?", answer: "Answer", none: "The passage does not say",
    accept: "Accept", reject: "Reject", undo: "Undo", keys: "Single-key shortcuts", own: "New question", unmarked: "not marked",
    open: "to review", accepted: "accepted", rejected: "rejected", draft: "begun",
    count: "{accepted} of {goal} questions; {rejected} rejected, {open} to review", place: "{number}. {title} ({open} to review)",
    noQuestion: "Write the question.", noAnswer: "Mark the answer in the passage, or say that it is not there.",
    saved: "Saved: {question}", turnedDown: "Rejected: {question}", undone: "Undone.", nothing: "There is nothing to undo.",
    finished: "Nothing is left to review in this passage. Write another question, or go to the next.",
    stale: "The questions have changed in another tab or by another person, and were loaded again. Nothing was overwritten; what you wrote is still here: look at it, and do it again.",
    offline: "Not saved: destila annotate does not answer. What you wrote is still here; start it again, and do it again.",
    away: "destila annotate does not answer. Start it again, and load the page again.",
    unreadable: "The questions cannot be read: {problem}",
    refused: "Not saved: {problem}", unwritable: "Not saved, for the file cannot be written: {problem}",
  },
};
const SIGNS = { open: "○", accepted: "✓", rejected: "✕", draft: "✎" };
const URL_OF_STATE = "v1/annotation";

const state = {
  language: "es", file: "", goal: 1, revision: 0, steps: 0, passages: [], questions: [],
  place: 0, id: null, // the passage shown, and the question chosen in it; null: a new one
  drafts: {}, alert: null, busy: false,
};

// ---------------------------------------------------------------------------------------------- what is chosen
const passage = () => state.passages[state.place];
const listed = () => state.questions.filter((question) => question.passage === passage()?.key);
const chosen = () => state.questions.find((question) => question.id === state.id);
const draftKey = () => state.id ?? `new ${passage()?.key}`;
const span = () => { const { start, end } = current(); return start === null ? null : { start, end }; };

// A question as the form has it: its span in UTF-16 units.
function base(question) {
  if (!question) return { question: "", start: null, end: null, none: false };
  const { start, end } = question, units = start === null ? null : unitOffsets(passage().text, [start, end]);
  return {
    question: question.question, start: units ? units.get(start) : null, end: units ? units.get(end) : null,
    none: question.answered && start === null,
  };
}

function current() {
  return state.drafts[draftKey()] ?? base(chosen());
}

function change(changes) {
  const draft = { ...current(), ...changes };
  if (JSON.stringify(draft) === JSON.stringify(base(chosen()))) delete state.drafts[draftKey()];
  else state.drafts[draftKey()] = draft;
  keep();
  renderForm();
  renderList();
}

function keep() {
  const at = { passage: passage()?.key, id: state.id };
  try { localStorage.setItem(`destila-annotate ${state.file}`, JSON.stringify({ at, drafts: state.drafts })); } catch { /* private windows */ }
}

function kept() {
  try { return JSON.parse(localStorage.getItem(`destila-annotate ${state.file}`)) ?? {}; } catch { return {}; }
}

function choose(id) {
  state.id = id;
  keep();
  redraw();
}

function goTo(place, id) {
  if (place < 0 || place >= state.passages.length) return;
  state.place = place;
  setAlert(null);
  choose(id === undefined ? nextOpen(null) : id);
}

// The first question to review after one, around the list; null: there is none.
function nextOpen(id) {
  const questions = listed(), from = questions.findIndex((question) => question.id === id) + 1;
  return [...questions.slice(from), ...questions.slice(0, from)].find((question) => question.state === "open")?.id ?? null;
}

function goBy(steps) {
  const ids = [...listed().map((question) => question.id), null], place = ids.indexOf(state.id) + steps;
  if (place >= 0 && place < ids.length) choose(ids[place]);
}

// ---------------------------------------------------------------------------------------------- the server
async function load() {
  const response = await fetch(URL_OF_STATE), found = await response.json(), [key, first] = [passage()?.key, !state.file];
  if (!response.ok) throw Object.assign(new Error("refused"), found.error);
  Object.assign(state, found);
  const { at, drafts } = first ? kept() : { at: { passage: key, id: state.id }, drafts: state.drafts };
  state.drafts = drafts ?? {};
  const place = state.passages.findIndex((each) => each.key === at?.passage);
  const open = state.passages.findIndex((each) => state.questions.some((one) => one.passage === each.key && one.state === "open"));
  state.place = Math.max(0, place >= 0 ? place : open);
  forgetSaved();
  state.id = place >= 0 && (at.id === null || state.questions.some(({ id }) => id === at.id)) ? at.id : nextOpen(null);
}

// A new question whose acceptance arrived, though the answer did not, is no draft any more.
function forgetSaved() {
  const there = (key, draft) => state.questions.some((one) => `new ${one.passage}` === key && one.question === draft.question.trim());
  for (const [key, draft] of Object.entries(state.drafts)) if (there(key, draft)) delete state.drafts[key];
}

async function step(action, fields = {}) {
  if (state.busy) return false;
  state.busy = true;
  setAlert(null);
  try {
    const body = JSON.stringify({ revision: state.revision, action, ...fields });
    const response = await fetch(URL_OF_STATE, { method: "POST", keepalive: true, headers: { "Content-Type": "application/json" }, body });
    const content = await response.json();
    if (response.ok) return Object.assign(state, content);
    const { code, problem } = content.error;
    if (code === "stale") await load();
    setAlert(code && code in TEXTS.es ? code : "refused", { problem });
  } catch {
    setAlert("offline");
  } finally {
    state.busy = false;
    redraw();
  }
  return false;
}

async function accept() {
  const draft = current(), key = draftKey(), text = passage().text, [id, question] = [state.id, draft.question.trim()];
  if (chosen()?.state === "accepted" && !state.drafts[key]) return choose(nextOpen(id)); // nothing has changed
  if (!question) return refuse("noQuestion", "question");
  if (!draft.none && draft.start === null) return refuse("noAnswer", "view");
  const marked = draft.none ? {} : { start: toPoints(text, draft.start), end: toPoints(text, draft.end), text: text.slice(draft.start, draft.end) };
  if (await step("accept", { id, passage: passage().key, question, ...marked })) decided(key, id, "saved", question);
}

async function reject() {
  const key = draftKey(), [id, { question }] = [state.id, current()];
  if (id === null || chosen().state === "rejected") { // nothing but a draft
    delete state.drafts[key];
    return choose(id);
  }
  if (await step("reject", { id })) decided(key, id, "turnedDown", question);
}

function decided(key, id, name, question) {
  delete state.drafts[key];
  const next = nextOpen(id);
  announce([say(name, { question }), ...(next ? [] : [say("finished")])].join(" "));
  choose(next);
}

async function undo() {
  if (!(await step("undo"))) return;
  const changed = state.questions.find((question) => question.id === state.changed);
  if (changed) state.place = state.passages.findIndex((each) => each.key === changed.passage);
  announce(say(state.changed ? "undone" : "nothing"));
  choose(changed?.id ?? nextOpen(null));
}

// ---------------------------------------------------------------------------------------------- what is seen
function redraw() {
  if (!passage()) return;
  showPassage(passage().text);
  renderPassages();
  renderList();
  renderForm();
  renderAlert();
  scrollList();
  highlight(span());
}

function renderPassages() {
  const options = state.passages.map((each, place) => {
    const open = state.questions.filter((question) => question.passage === each.key && question.state === "open").length;
    return new Option(say("place", { number: number(place + 1), title: each.title, open: number(open) }), place, false, place === state.place);
  });
  $("passages").replaceChildren(...options);
  $("before").disabled = state.place === 0;
  $("after").disabled = state.place === state.passages.length - 1;
  const count = (name) => state.questions.filter((question) => question.state === name).length, accepted = count("accepted");
  const values = { accepted: number(accepted), goal: number(state.goal), rejected: number(count("rejected")), open: number(count("open")) };
  $("count").textContent = say("count", values);
  $("reached").max = state.goal;
  $("reached").value = Math.min(accepted, state.goal);
}

function renderList() {
  const held = document.activeElement?.dataset?.id;
  $("list").replaceChildren(...[...listed(), { id: null, question: say("own"), state: "open" }].map(renderItem));
  if (held !== undefined) [...$("list").querySelectorAll("button")].find((button) => button.dataset.id === held)?.focus();
}

// Bring the chosen question into sight within the list; the page itself stays where it is.
function scrollList() {
  const list = $("list"), item = list.querySelector('[aria-current="true"]').getBoundingClientRect(), frame = list.getBoundingClientRect();
  if (item.top < frame.top) list.scrollTop -= frame.top - item.top;
  else if (item.bottom > frame.bottom) list.scrollTop += item.bottom - frame.bottom;
}

function renderItem({ id, question, state: decided }) {
  const item = element("li"), button = element("button"), draft = state.drafts[id ?? `new ${passage().key}`];
  const shown = draft ? "draft" : decided;
  button.type = "button";
  Object.assign(button.dataset, { id: String(id), state: decided });
  const sign = element("span", "sign", draft || id !== null ? SIGNS[shown] : "+");
  sign.setAttribute("aria-hidden", "true");
  button.append(sign, element("span", "words", draft?.question || question));
  if (draft || id !== null) button.append(element("span", "hidden", ` (${say(shown)})`));
  if (id === state.id) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => choose(id));
  item.append(button);
  return item;
}

function renderForm() {
  const draft = current();
  if ($("question").value !== draft.question) $("question").value = draft.question;
  $("none").checked = draft.none;
  $("answer").textContent = draft.none ? say("none") : draft.start === null ? say("unmarked") : passage().text.slice(draft.start, draft.end);
  $("undo").disabled = state.steps === 0;
}

function renderAlert() {
  $("alert").hidden = !state.alert;
  $("alert").textContent = state.alert ? say(state.alert.name, state.alert.values) : "";
}

function setAlert(name, values) {
  state.alert = name && { name, values };
  renderAlert();
}

function refuse(name, focus) {
  setAlert(name);
  $(focus).focus();
}

// ---------------------------------------------------------------------------------------------- the keyboard
const KEYS = {
  a: accept, r: reject, u: undo, e: () => $("question").focus(), t: () => $("view").focus(), n: () => setNone(!current().none),
  w: () => { choose(null); $("question").focus(); },
  j: () => goBy(1), k: () => goBy(-1), J: () => goTo(state.place + 1), K: () => goTo(state.place - 1),
};

function setNone(none) {
  change({ none, start: null, end: null });
  highlight(null);
}

function onKey(event) {
  const { key, target, shiftKey, altKey } = event, typing = target === $("question"), command = event.ctrlKey || event.metaKey;
  if (event.isComposing || altKey || event.repeat || !passage()) return;
  let action = $("keys").checked && !command && !typing && target !== $("passages") ? KEYS[shiftKey ? key.toUpperCase() : key.toLowerCase()] : null;
  if (shiftKey && !"JK".includes(key.toUpperCase())) action = null;
  if (command && !shiftKey && key.toLowerCase() === "z" && !typing) action = undo;
  if (key === "Escape" && typing) action = () => $("view").focus();
  if (key === "Enter" && target === $("view")) action = accept;
  if (!action) return;
  event.preventDefault();
  action();
}

// ---------------------------------------------------------------------------------------------- start
async function start() {
  startLanguages();
  startMarking((selected) => {
    const { start, end } = current();
    if (start === selected.start && end === selected.end) return;
    change({ ...selected, none: false });
    CSS.highlights?.delete("answer"); // the selection shows it
  }, span);
  document.addEventListener("keydown", onKey);
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (document.activeElement === $("question")) $("view").focus(); // where single keys go on
    accept();
  });
  $("question").addEventListener("input", () => change({ question: $("question").value }));
  $("none").addEventListener("change", () => setNone($("none").checked));
  $("passages").addEventListener("change", () => goTo(Number($("passages").value)));
  for (const [name, action] of Object.entries({ reject, undo, before: KEYS.K, after: KEYS.J })) $(name).addEventListener("click", action);
  try {
    await load();
  } catch (error) {
    return error.problem ? setAlert("unreadable", error) : setAlert("away");
  }
  redraw();
  $("view").focus();
}

start();
