// Who answers on the page of `destila serve`: the server, over HTTP. See page.js for what the page asks of it.
//
// The server tells its limits in its description (/openapi.json) and its refusals by status; its key, if it has one, is
// kept nowhere but in the field where it was typed.
"use strict";

const OVER_HTTP = {
  texts: {
    es: {
      401: "Hace falta la clave de acceso de este servidor.", 408: "El texto tardó demasiado en enviarse.",
      413: "El texto es demasiado largo para este servidor.", 422: "El servidor no acepta la pregunta: {problem}",
      503: "Hay demasiadas preguntas en espera. Inténtalo de nuevo en {seconds} s.",
      504: "La respuesta tardó demasiado. Prueba con un texto más corto.", 500: "El servidor ha fallado.",
      offline: "No se puede conectar con el servidor.",
    },
    en: {
      401: "This server asks for its access key.", 408: "The text took too long to arrive.",
      413: "The text is too long for this server.", 422: "The server does not accept the question: {problem}",
      503: "Too many questions are waiting. Try again in {seconds} s.",
      504: "The answer took too long. Try a shorter text.", 500: "The server failed.",
      offline: "The server cannot be reached.",
    },
  },

  async start() {
    try {
      const description = await (await fetch("openapi.json")).json();
      const { question, context, top_k: answers } = description.components.schemas.AnswerRequest.properties;
      const longest = (field) => field.oneOf.find((form) => form.maxLength).maxLength;
      return { context: longest(context), question: longest(question), answers: Math.min(WANTED, answers.maximum) };
    } catch {
      return {}; // the server checks all of it again
    }
  },

  async ask({ question, context, count }, signal) {
    const headers = { "Content-Type": "application/json" };
    if ($("key").value) headers.Authorization = `Bearer ${$("key").value}`;
    const body = JSON.stringify({ question, context, top_k: count });
    let response, content;
    try {
      response = await fetch("v1/answer", { method: "POST", headers, body, signal, credentials: "omit" });
      content = await response.json();
    } catch {
      throw new Refusal("offline");
    }
    if (response.ok) return content.results[0].answers;
    if (response.status === 401) askForKey();
    const status = response.status in OVER_HTTP.texts.es ? response.status : 500;
    throw new Refusal(String(status), { problem: content.error?.problem, seconds: response.headers.get("Retry-After") ?? "1" });
  },
};

function askForKey() {
  $("guard").hidden = false;
  $("key").focus();
}

start(OVER_HTTP);
