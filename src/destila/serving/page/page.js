// The page: a text and questions about it. Loaded before it: language.js, files.js, which reads files, and answers.js.
//
// It does not know who answers. ask.js, which is loaded after it, does, and calls `start` with a reader:
//
//     texts                     {es, en}: its own messages, by name
//     start(showProgress)       called once; -> limits {context, question, answers}, each of which may be missing
//     ask({question, context, count}, signal, showProgress)
//                               -> answers {text, start, end, score, maybe probability}, best first, "no answer" with text null before all;
//                               throws a Refusal, or what aborted it; tells "searching" and how much has been read
//     endings                   of the files that it can read besides text, Markdown and HTML; may be missing
//     read(file, signal)        -> {text, pages, note}, the first character of each page if it has pages, and whether the
//                               values of a form in it were not read; throws like ask
//
// `destila serve` asks over HTTP; a folder of `destila export --format web` has another ask.js, which asks a worker.
//
// Invariants: what a person or a reader wrote enters the page as text (textContent, createTextNode) and never as
// markup; nothing but where the page came from is ever contacted; nothing that a person wrote is stored.
"use strict";

const TEXTS = {
  es: {
    tagline: "Pregunta a tu texto", language: "Idioma", text: "Texto", example: "Ejemplo", open: "Abrir archivo",
    edit: "Editar texto", source: "El texto en el que se busca la respuesta",
    paste: "Pega aquí un texto, o suelta un archivo .txt, .md o .html", question: "Pregunta",
    hint: "¿Quién…? ¿Cuándo…?", ask: "Preguntar", key: "Clave de acceso", answers: "Respuestas",
    drop: "Suelta aquí el archivo", none: "El texto no lo dice.", others: "Otras posibilidades", likely: "probablemente", possible: "quizá", doubtful: "dudoso",
    perhaps: "Quizá", confidence: "confianza", took: "Respondido en {time}", size: "{count} caracteres", certain: "casi seguro",
    show: "Mostrar en el texto", waiting: "Buscando la respuesta…", answer: "Respuesta: {answer}. Confianza: {share}.",
    loaded: "Texto cargado: {name}.", noText: "Primero pega un texto o abre un archivo.",
    noQuestion: "Escribe una pregunta.", tooLong: "El texto tiene {count} caracteres; el máximo es {most}.",
    fileKind: "{name}: solo se leen archivos .txt, .md y .html. Copia el texto y pégalo.",
    fileEmpty: "{name}: el archivo no contiene texto.", fileBroken: "{name}: no se puede leer.",
    fileNoText: "{name}: no es un archivo de texto.", fileLegacy: "{name}: no está en UTF-8; se ha leído como Windows-1252.",
    fileEncoding: "{name}: su codificación no se reconoce. Guárdalo como UTF-8.",
    fileForm: "{name}: los valores de su formulario no se han leído.",
    broken: "La página ha fallado. Cárgala de nuevo.", reading: "Leyendo el archivo…", page: "página {page}",
    searching: "Leyendo el texto: {share}", stop: "Detener", stopped: "Detenido.", anyway: "Responder de todos modos",
    oneFile: "Solo se ha abierto {name}: se lee un archivo cada vez, y has soltado {count}.",
    otherFiles: "Se lee un archivo cada vez, y has soltado {count}: los demás no se han abierto.",
  },
  en: {
    tagline: "Ask your text", language: "Language", text: "Text", example: "Example", open: "Open file",
    edit: "Edit text", source: "The text that is searched for the answer",
    paste: "Paste a text here, or drop a .txt, .md or .html file", question: "Question",
    hint: "Who…? When…?", ask: "Ask", key: "Access key", answers: "Answers",
    drop: "Drop the file here", none: "The text does not say.", others: "Other possibilities", likely: "probably", possible: "perhaps", doubtful: "doubtful",
    perhaps: "Perhaps", confidence: "confidence", took: "Answered in {time}", size: "{count} characters", certain: "almost certain",
    show: "Show in the text", waiting: "Looking for the answer…", answer: "Answer: {answer}. Confidence: {share}.",
    loaded: "Text loaded: {name}.", noText: "First paste a text or open a file.",
    noQuestion: "Write a question.", tooLong: "The text has {count} characters; at most {most} are allowed.",
    fileKind: "{name}: only .txt, .md and .html files are read. Copy the text and paste it.",
    fileEmpty: "{name}: the file holds no text.", fileBroken: "{name}: cannot be read.",
    fileNoText: "{name}: is no text file.", fileLegacy: "{name}: is not UTF-8 and was read as Windows-1252.",
    fileEncoding: "{name}: its encoding is not known. Save it as UTF-8.",
    fileForm: "{name}: the values of its form were not read.",
    broken: "The page failed. Load it again.", reading: "Reading the file…", page: "page {page}",
    searching: "Reading the text: {share}", stop: "Stop", stopped: "Stopped.", anyway: "Answer anyway",
    oneFile: "Only {name} was opened: one file is read at a time, and you dropped {count}.",
    otherFiles: "One file is read at a time, and you dropped {count}: the others were not opened.",
  },
};
const EXAMPLE = {
  text: `La biblioteca de Valdehoz abrió sus puertas el 14 de mayo de 1987 en un antiguo molino de harina junto al río Arlo. ` +
    `La arquitecta Irene Sandoval conservó la rueda de piedra y la convirtió en la mesa central de la sala de lectura.\n\n` +
    `Desde 2009 la dirige Carmen Ledesma, que creó el club de lectura nocturna de los jueves. Hoy guarda 42 300 libros, ` +
    `entre ellos una colección de 1 150 mapas donada por el navegante Tomás Urrutia. La entrada es gratuita y el horario ` +
    `es de martes a sábado, de 9:00 a 20:30.`,
  question: "¿Quién conservó la rueda de piedra?",
};
const WANTED = 4; // answers to a question: the best and a few alternatives

const state = {
  language: "es", opened: "", text: "", name: "", pages: [], turns: [], active: -1, shown: 0, alert: null, progress: null,
  pending: null, reading: null, limits: {}, reader: null,
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

function setText(text, name) {
  $("source").value = state.opened = wellFormed(text);
  forget();
  editText(true);
  state.name = name ?? "";
  renderSize();
  if (name) announce(say("loaded", { name }));
}

// What is asked about: the text that was opened, exactly, as long as nobody edits it. A text field has its own line ends.
function sourceText() {
  const shown = $("source").value;
  return shown === state.opened.replace(/\r\n?/g, "\n") ? state.opened : wellFormed(shown);
}

function forget() {
  state.pending?.abort();
  Object.assign(state, { text: "", name: "", pages: [], turns: [], active: -1 });
  setAlert(null);
  renderSize();
  renderTurns();
}

function editText(editing) {
  $("source").hidden = !editing;
  $("view").hidden = editing;
  $("edit").hidden = editing;
  $("example").hidden = !editing;
}

// Where the text is from, while it is as it was there, and how long it is.
function renderSize() {
  $("name").textContent = $("name").title = state.name;
  const count = codePoints(sourceText());
  $("size").textContent = count ? say("size", { count: number(count) }) : "";
}

// ---------------------------------------------------------------------------------------------- files
async function openFirst(files) {
  const opened = await openFile(files[0]), values = { name: files[0].name, count: number(files.length) };
  if (files.length > 1) setAlert(opened ? "oneFile" : "otherFiles", values, state.alert);
}

async function openFile(file) {
  if (state.reader.endings?.includes(/[^.]*$/.exec(file.name)[0].toLowerCase())) return openDocument(file);
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
  setText(text, file.name);
  if (note) setAlert(note, { name: file.name });
  $("question").focus();
  return true;
}

// A file that only the reader can make sense of.
async function openDocument(file) {
  state.pending?.abort();
  const mine = (state.pending = state.reading = new AbortController());
  setAlert(null);
  announce(say("reading"));
  showProgress("reading");
  $("open").setAttribute("aria-busy", "true");
  try {
    const { text, pages, note } = await state.reader.read(file, mine.signal);
    if (mine.signal.aborted) return; // another text was opened or written meanwhile
    setText(text, file.name);
    state.pages = pages;
    if (note) setAlert("fileForm", { name: file.name });
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
  const text = sourceText(), question = wellFormed($("question").value.trim());
  if (!text.trim()) return refuse("noText", "source");
  if (!question) return refuse("noQuestion", "question");
  const count = codePoints(text), most = state.limits.context;
  if (most && count > most) return refuse("tooLong", "edit", { count: number(count), most: number(most) });
  state.pending?.abort();
  const mine = (state.pending = new AbortController());
  $("send").setAttribute("aria-busy", "true");
  announce(say("waiting"));
  setAlert(null);
  const began = performance.now();
  try {
    const count = state.limits.answers ?? WANTED;
    const answers = await state.reader.ask({ question, context: text, count }, mine.signal, showProgress);
    if (text !== sourceText()) return; // it was changed meanwhile
    state.text = text;
    state.turns.unshift({ question, answers, milliseconds: performance.now() - began });
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

// Give up what is being read or asked.
function stop() {
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
  state.alert = name && { name, values, before };
  renderAlert();
}

function renderAlert() {
  $("alert").hidden = !state.alert;
  const words = [];
  for (let alert = state.alert; alert; alert = alert.before) words.unshift(say(alert.name, alert.values));
  $("alert").textContent = words.join(" ");
  if (state.alert) announce("");
}

// What takes long, and how much of it is done (0 to 1, if that is known); without a name: nothing does any more.
function showProgress(name, done) {
  state.progress = name && { name, done };
  renderProgress();
}

function renderProgress() {
  $("progress").hidden = !state.progress;
  if (!state.progress) return;
  const { name, done } = state.progress;
  $("progress-name").textContent = say(name, { share: number(done ?? 0, { style: "percent" }) });
  if (done === undefined) $("progress-bar").removeAttribute("value");
  else $("progress-bar").value = done;
  $("stop").hidden = !state.pending || state.pending.signal.aborted;
}

function redraw() {
  renderSize();
  renderTurns();
  renderAlert();
  renderProgress();
}

// ---------------------------------------------------------------------------------------------- start
function start(reader) {
  state.reader = reader;
  for (const language in TEXTS) Object.assign(TEXTS[language], reader.texts[language]);
  startLanguages();
  reader.start(showProgress).then(setLimits, fail);
  $("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
  $("form").noValidate = true; // our own messages are announced in the language of the page
  $("source").addEventListener("input", forget);
  $("source").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("question").focus();
  });
  for (const ending of reader.endings ?? []) $("file").accept += `,.${ending}`;
  $("stop").addEventListener("click", stop);
  $("edit").addEventListener("click", () => { editText(true); $("source").focus(); });
  $("file").addEventListener("change", () => { if ($("file").files[0]) openFile($("file").files[0]); $("file").value = ""; });
  $("example").addEventListener("click", () => {
    setText(EXAMPLE.text);
    $("question").value = EXAMPLE.question;
    $("question").focus();
  });
  startDropping();
}

function setLimits(limits) {
  state.limits = limits;
  if (limits.question) $("question").maxLength = limits.question;
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
    if (event.dataTransfer.files[0]) openFirst([...event.dataTransfer.files]);
  });
}
