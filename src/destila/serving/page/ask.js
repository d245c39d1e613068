// Who answers on the page of `destila serve`: the server, over HTTP. It reads PDF and Word files, too. See page.js for what
// the page asks of it.
//
// The server tells its limits in its description (/openapi.json) and its refusals by status; its key, if it has one, is
// kept nowhere but in the field where it was typed.
"use strict";

const BYTES = "application/octet-stream", LINES = "application/x-ndjson";
const OVER_HTTP = {
  texts: {
    es: {
      401: "Hace falta la clave de acceso de este servidor.", 408: "El texto tardó demasiado en enviarse.",
      413: "El texto es demasiado largo para este servidor.", 422: "El servidor no acepta la pregunta: {problem}",
      503: "Hay demasiadas preguntas en espera. Inténtalo de nuevo en {seconds} s.",
      504: "La respuesta tardó demasiado. Prueba con un texto más corto.", 500: "El servidor ha fallado.",
      offline: "No se puede conectar con el servidor.",
      apart: "Este servidor acota sus errores texto a texto. Deja uno solo.",
      paste: "Pega aquí un texto, o suelta un archivo .txt, .md, .html, .pdf o .docx",
      fileKind: "{name}: solo se leen archivos .txt, .md, .html, .pdf y .docx. Copia el texto y pégalo.",
      file_kind: "{name}: el contenido no es el que anuncia su nombre.",
      file_encrypted: "{name}: está protegido con contraseña. Guarda una copia sin ella.",
      file_no_text: "{name}: no contiene texto. Si sus páginas son imágenes, pásalo antes por un OCR.",
      file_broken: "{name}: está dañado y no se puede leer.",
      file_too_large: "{name}: es demasiado grande para este servidor.",
      file_too_slow: "{name}: se tarda demasiado en leer. Prueba con una parte.",
      file_missing: "{name}: este servidor no puede leer PDF ni Word. Quien lo administra debe instalar destila[documents].",
    },
    en: {
      401: "This server asks for its access key.", 408: "The text took too long to arrive.",
      413: "The text is too long for this server.", 422: "The server does not accept the question: {problem}",
      503: "Too many questions are waiting. Try again in {seconds} s.",
      504: "The answer took too long. Try a shorter text.", 500: "The server failed.",
      offline: "The server cannot be reached.",
      apart: "This server bounds its errors text by text. Leave a single one.",
      paste: "Paste a text here, or drop a .txt, .md, .html, .pdf or .docx file",
      fileKind: "{name}: only .txt, .md, .html, .pdf and .docx files are read. Copy the text and paste it.",
      file_kind: "{name}: its content is not what its name says.",
      file_encrypted: "{name}: it is protected by a password. Save a copy without it.",
      file_no_text: "{name}: it holds no text. If its pages are pictures, run it through OCR first.",
      file_broken: "{name}: it is damaged and cannot be read.",
      file_too_large: "{name}: it is too large for this server.",
      file_too_slow: "{name}: it takes too long to read. Try a part of it.",
      file_missing: "{name}: this server cannot read PDF or Word. Whoever runs it must install destila[documents].",
    },
  },

  endings: ["pdf", "docx"],
  longestFile: Infinity,
  guarded: true, // until the server says that it is not

  async start() {
    try {
      const { components, paths, security } = await (await fetch("openapi.json")).json();
      const { question, context, top_k: answers } = components.schemas.AnswerRequest.properties;
      const longest = (field) => field.oneOf.find((form) => form.maxLength).maxLength;
      const contexts = context.oneOf.find((form) => form.maxItems).maxItems;
      this.longestFile = paths["/v1/document"].post.requestBody.content[BYTES].schema.maxLength;
      this.guarded = Boolean(security);
      return { context: longest(context), contexts, question: longest(question), answers: Math.min(WANTED, answers.maximum) };
    } catch {
      return {}; // the server checks all of it again
    }
  },

  async about() {
    if (this.guarded && !$("key").value) return null;
    const headers = this.guarded ? { Authorization: `Bearer ${$("key").value}` } : {};
    const response = await fetch("info", { headers, credentials: "omit" }).catch(() => null);
    return response?.ok ? response.json().catch(() => null) : null;
  },

  async ask({ question, contexts, count }, signal, showProgress) {
    const body = JSON.stringify({ question, context: contexts, top_k: count, highlight: true });
    try {
      const { response, content } = await post("v1/answer", "application/json", body, signal, showProgress);
      const { status } = content.status ? content : response;
      if (status === 200) return found(content);
      const values = { problem: content.error?.problem, seconds: response.headers.get("Retry-After") ?? "1" };
      throw new Refusal(String(status in OVER_HTTP.texts.es ? status : 500), values);
    } finally {
      showProgress(null);
    }
  },

  async read(file, signal) {
    const name = wellFormed(file.name.slice(-200)), path = `v1/document?name=${encodeURIComponent(name)}`;
    if (file.size > this.longestFile) throw new Refusal("file_too_large", { name });
    const { response, content } = await post(path, BYTES, file, signal);
    if (response.ok) return content;
    throw new Refusal(fileRefusal(response.status, content.error?.code), { name, seconds: response.headers.get("Retry-After") ?? "1" });
  },
};

// What page.js wants of a response: the answers of one text as it gives them, those of several in its order.
function found({ results, ranked }) {
  if (results.length > 1 && !ranked) throw new Refusal("apart");
  const answers = ranked ? ranked[0] : results[0].answers.map((answer) => ({ ...answer, context: answer.text === null ? null : 0 }));
  return { answers, sentences: results.map(({ sentences }) => sentences) };
}

// The name of the message for a file that the server refused.
function fileRefusal(status, code) {
  if (`file_${code}` in OVER_HTTP.texts.es) return `file_${code}`;
  return { 401: "401", 408: "408", 413: "file_too_large", 503: "503", 504: "file_too_slow" }[status] ?? (status < 500 ? "file_broken" : "500");
}

async function post(path, type, body, signal, showProgress) {
  const headers = { "Content-Type": type, Accept: showProgress ? LINES : "application/json" };
  if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
  try {
    const response = await fetch(path, { method: "POST", headers, body, signal, credentials: "omit" });
    if (response.status === 401) askForKey();
    const isLines = response.headers.get("Content-Type")?.startsWith(LINES);
    return { response, content: isLines ? await lastLine(response, showProgress) : await response.json() };
  } catch {
    throw new Refusal("offline");
  }
}

// Lines {progress} while the text is read, then the answer or {error, status}.
async function lastLine(response, showProgress) {
  const incoming = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await incoming.read();
    if (done) throw new Error("the answer was cut short");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const content of lines.map((line) => JSON.parse(line))) {
      if (content.progress === undefined) return content;
      showProgress("searching", content.progress);
    }
  }
}

function askForKey() {
  $("guard").hidden = false;
  $("key").focus();
}

start(OVER_HTTP);
