// The page: texts and questions about them. Loaded before it: language.js; texts.js has what it says, files.js reads
// files, documents.js keeps the texts, answers.js shows answers, sharing.js copies and saves them.
//
// It does not know who answers. ask.js, which is loaded after it, does, and calls `start` with a reader:
//
//     texts                     {es, en}: its own messages, by name
//     start(showProgress)       called once; -> limits {context, contexts, question, answers}, each of which may be missing
//     ask({question, contexts, count}, signal, showProgress)
//                               -> {answers, sentences}: answers {text, start, end, score, context, maybe probability}, best first,
//                               "no answer" with text null before all; for each context the sentences {start, end} that its answer
//                               needs, or null if nobody knows; throws a Refusal, or what aborted it; tells "searching" and how
//                               much has been read
//     about()                   -> {model, version, promises} or null: what answers, and how often it is wrong; may be missing
//     endings                   of the files that it can read besides text, Markdown and HTML; may be missing
//     read(file, signal)        -> {text, pages, note}, the first character of each page if it has pages, and whether the
//                               values of a form in it were not read; throws like ask
//
// `destila serve` asks over HTTP; a folder of `destila export --format web` has another ask.js, which asks a worker.
//
// Invariants: what a person or a reader wrote enters the page as text (textContent, createTextNode) and never as
// markup; nothing but where the page came from is ever contacted; nothing that a person wrote is stored.
"use strict";

const WANTED = 4; // answers to a question: the best and a few alternatives

const state = {
  language: "es", texts: [newText()], current: 0, turns: [], active: -1, shown: 0, fade: false, alert: null, progress: null,
  pending: null, reading: null, opening: null, limits: {}, reader: null, about: null,
};

// Why a question, or the reader as a whole, is refused: the name of one of the reader's messages, and what stands in it.
class Refusal extends Error {
  constructor(name, values = {}) {
    super(name);
    Object.assign(this, { name, values });
  }
}

// ---------------------------------------------------------------------------------------------- text
function wellFormed(text) {
  return text.toWellFormed ? text.toWellFormed() :
    text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd");
}

function codePoints(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

// The questions, whose texts are no longer the same.
function forget() {
  state.pending?.abort();
  Object.assign(state, { turns: [], active: -1 });
  setAlert(null);
  renderTexts();
  renderTurns();
}

// The text is edited: it is no longer that of a file, nor that of earlier questions.
function edited() {
  state.opening = null;
  state.pending?.abort();
  Object.assign(shownText(), { name: "", pages: [] });
  if (isAskedAbout(shownText())) return forget();
  setAlert(null);
  renderTexts();
}

function editText(editing) {
  $("source").hidden = !editing;
  $("view").hidden = editing;
  $("edit").hidden = editing;
  $("example").hidden = !editing;
  $("fading").hidden = editing || !state.turns[state.active]?.sentences;
}

// Forget the questions, keep the text.
function clearTurns() {
  Object.assign(state, { turns: [], active: -1 });
  renderTurns();
  editText(true);
  announce(say("cleared"));
  $("question").focus();
}

function setExample({ text, question }) {
  state.opening = null;
  setText(text);
  $("question").value = question;
  $("question").focus();
}

// ---------------------------------------------------------------------------------------------- files
// The first that can be read replaces the text that is shown; the others are read beside it.
async function openFiles(files) {
  const mine = (state.opening = {}), alerts = [], place = state.current;
  let show = setText;
  for (const file of files) {
    const opened = await openFile(file, show);
    if (state.opening !== mine) return; // a person did something else meanwhile
    if (opened && show === addText) switchText(place);
    if (opened) show = addText;
    if (state.alert) alerts.push(state.alert);
    setAlert(null);
  }
  if (alerts.length) setAlert(...alerts.reduce((before, { name, values }) => [name, values, alertOf(...before)], []));
}

async function openFile(file, show) {
  if (state.reader.endings?.includes(/[^.]*$/.exec(file.name)[0].toLowerCase())) return openDocument(file, show);
  const markup = /\.html?$/i.test(file.name) || file.type === "text/html";
  if (!markup && !/\.(txt|md|markdown|text)$/i.test(file.name)) return setAlert("fileKind", { name: file.name });
  let text, note;
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    ({ text, note } = decoded(bytes, markup ? declaredEncoding(bytes) : null));
    if (markup) text = textOfMarkup(text);
  } catch (error) {
    return setAlert(error instanceof Refusal ? error.name : "fileBroken", { name: file.name });
  }
  if (!text.trim()) return setAlert("fileEmpty", { name: file.name });
  show(text, file.name);
  if (note) setAlert(note, { name: file.name });
  $("question").focus();
  return true;
}

// A file that only the reader can make sense of.
async function openDocument(file, show) {
  state.pending?.abort();
  const mine = (state.pending = state.reading = new AbortController());
  setAlert(null);
  announce(say("reading"));
  showProgress("reading");
  $("open").setAttribute("aria-busy", "true");
  try {
    const { text, pages, note } = await state.reader.read(file, mine.signal);
    if (mine.signal.aborted) return; // another text was opened or written meanwhile
    show(text, file.name, pages);
    const pictures = /pages? (.+) holds? only pictures/.exec(note ?? "");
    if (note) setAlert(pictures ? "filePictures" : "fileForm", { name: file.name, pages: pictures?.[1] });
    $("question").focus();
    return true;
  } catch (error) {
    if (!mine.signal.aborted) fail(error);
  } finally {
    if (state.pending === mine) state.pending = null;
    if (state.reading === mine) {
      showProgress(null);
      $("open").removeAttribute("aria-busy");
    }
  }
}

// ---------------------------------------------------------------------------------------------- asking
async function ask() {
  const texts = askedTexts(), contexts = texts.map(({ text }) => text), question = wellFormed($("question").value.trim());
  if (!texts.length) return refuse("noText", "source");
  if (!question) return refuse("noQuestion", "question");
  if (isTooMuch(texts)) return;
  state.pending?.abort();
  const mine = (state.pending = new AbortController());
  $("send").setAttribute("aria-busy", "true");
  announce(say("waiting"));
  setAlert(null);
  const began = performance.now();
  try {
    const count = state.limits.answers ?? WANTED;
    const found = await state.reader.ask({ question, contexts, count }, mine.signal, showProgress);
    if (mine.signal.aborted) return; // a text was changed meanwhile
    state.turns.unshift({ question, texts, ...found, milliseconds: performance.now() - began });
    $("examples").open = false;
    learnAbout();
    showTurn(0, 0);
    announceTurn(state.turns[0]);
    if (matchMedia("(pointer: coarse)").matches) $("question").blur(); // the keyboard would hide the answer
    else $("question").select();
  } catch (error) {
    if (!mine.signal.aborted) fail(error);
  } finally {
    if (state.pending === mine) {
      state.pending = null;
      $("send").removeAttribute("aria-busy");
    }
  }
}

// Whether there are more texts than the reader takes, or one is too long; then the page says so.
function isTooMuch(texts) {
  const { context, contexts } = state.limits, long = texts.find(({ text }) => context && codePoints(text) > context);
  if (contexts && texts.length > contexts) refuse("tooMany", "question", { count: number(texts.length), most: number(contexts) });
  else if (long) {
    switchText(state.texts.indexOf(long));
    refuse("tooLong", $("edit").hidden ? "source" : "edit", { count: number(codePoints(long.text)), most: number(context) });
  } else return false;
  return true;
}

// Give up what is being read or asked.
function stop() {
  state.opening = null;
  state.pending?.abort();
  showProgress(null);
  announce(say("stopped"));
  $("question").focus();
}

function fail(error) {
  setAlert(error instanceof Refusal ? error.name : "broken", error.values);
  if (!(error instanceof Refusal)) throw error;
}

function refuse(name, focus, values) {
  setAlert(name, values);
  $(focus).focus();
}

// `before`: what was said already, and still holds.
function setAlert(name, values, before) {
  state.alert = alertOf(name, values, before);
  renderAlert();
}

function alertOf(name, values, before) {
  return name ? { name, values, before } : null;
}

function renderAlert() {
  $("alert").hidden = !state.alert;
  const words = [];
  for (let alert = state.alert; alert; alert = alert.before) words.unshift(say(alert.name, alert.values));
  $("alert").textContent = words.join(" ");
  if (state.alert) announce("");
}

// What takes long, how much of it is done (0 to 1, if that is known), and of how many bytes; without a name: nothing does.
function showProgress(name, done, { size } = {}) {
  state.progress = name && { name, done, size };
  renderProgress();
}

function renderProgress() {
  $("progress").hidden = !state.progress;
  if (!state.progress) return;
  const { name, done, size = 0 } = state.progress;
  const megabytes = number(size / 1e6, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });
  $("progress-name").textContent = say(name, { share: number(done ?? 0, { style: "percent" }), size: megabytes });
  if (done === undefined) $("progress-bar").removeAttribute("value");
  else $("progress-bar").value = done;
  $("stop").hidden = !state.pending || state.pending.signal.aborted;
}

function redraw() {
  renderTexts();
  renderTurns();
  renderAlert();
  renderProgress();
  renderAbout();
}

// ---------------------------------------------------------------------------------------------- start
function start(reader) {
  state.reader = reader;
  for (const language in TEXTS) Object.assign(TEXTS[language], reader.texts[language]);
  renderExamples();
  startLanguages();
  reader.start(showProgress).then(setLimits, fail).then(learnAbout);
  $("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("form").noValidate = true; // our own messages are announced in the language of the page
  $("source").addEventListener("input", edited);
  $("source").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("question").focus();
  });
  for (const ending of reader.endings ?? []) $("file").accept += `,.${ending}`;
  $("stop").addEventListener("click", stop);
  $("edit").addEventListener("click", () => { editText(true); $("source").focus(); });
  $("file").addEventListener("change", () => { openFiles([...$("file").files]); $("file").value = ""; });
  $("add").addEventListener("click", () => { addText(); $("source").focus(); });
  $("fade").addEventListener("change", () => { state.fade = $("fade").checked; renderText(); });
  $("example").addEventListener("click", () => setExample(EXAMPLES[0]));
  $("clear").addEventListener("click", clearTurns);
  startDropping();
}

function setLimits(limits) {
  state.limits = limits;
  if (limits.question) $("question").maxLength = limits.question;
}

async function learnAbout() {
  state.about ??= (await state.reader.about?.()) ?? null;
  renderAbout();
}

// What answers, and how often it is right where it is that sure: never a number of the page's own.
function renderAbout() {
  $("about").hidden = !state.about;
  if (!state.about) return;
  const { model, version, promises } = state.about;
  const measured = promises?.map(({ least_probability: least, wrong, questions }) =>
    say("right", { least: share(least), right: share(1 - wrong), count: number(questions) }));
  const name = model === "the bundled model" ? say("bundled") : model;
  $("about").textContent = [say("about", { name, version }), ...(measured?.length ? measured : [say("unmeasured")])].join(" ");
}

function startDropping() {
  const dropping = (on) => document.body.classList.toggle("dropping", on);
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => { if (carriesFile(event)) { event.preventDefault(); dropping(true); } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) dropping(false); });
  addEventListener("drop", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    dropping(false);
    openFiles([...event.dataTransfer.files]);
  });
}
