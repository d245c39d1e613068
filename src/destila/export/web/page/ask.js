// Who answers on a page without a server: a worker in the browser itself. See page.js for what the page asks of it.
//
// The reader is fetched once, from beside the page, and kept by the browser; after the first visit the page works
// without a network (where it came over https or from this machine: browsers keep files for no other).
"use strict";

const trustedHere = window.trustedTypes?.createPolicy("destila-worker", {
  createScriptURL: (name) => ["worker.js", "offline.js"].find((known) => known === name),
});

const IN_THE_BROWSER = {
  texts: {
    es: {
      tagline: "Pregunta a tu texto; no sale de tu navegador",
      loading: "Cargando el lector ({size}): {share}",
      unreachable: "No se puede descargar {name}. Comprueba la conexión y pregunta otra vez.",
      damaged: "{name} está incompleto o no es el de esta página. Cierra sus pestañas y ábrela de nuevo.",
      longQuestion: "La pregunta es demasiado larga ({tokens} tokens).",
      openedAsFile: "El navegador no deja que una página abierta como archivo lea los archivos de su carpeta. " +
        "Sírvela desde esa carpeta con «python3 -m http.server» y abre http://localhost:8000/.",
      fileKind: "{name}: sin servidor, esta página solo lee archivos .txt, .md y .html; con «destila serve», también PDF y Word. " +
        "Copia el texto y pégalo.",
      oldBrowser: "Este navegador es demasiado antiguo para responder por sí solo. Actualízalo.",
    },
    en: {
      tagline: "Ask your text; it stays in your browser",
      loading: "Loading the reader ({size}): {share}",
      unreachable: "{name} cannot be downloaded. Check the connection and ask again.",
      damaged: "{name} is cut short or belongs to another page. Close its tabs and open it again.",
      longQuestion: "The question is too long ({tokens} tokens).",
      openedAsFile: "The browser does not let a page that was opened as a file read the files of its folder. " +
        "Serve it from that folder with “python3 -m http.server” and open http://localhost:8000/.",
      fileKind: "{name}: without a server this page reads only .txt, .md and .html files; with “destila serve”, PDF and Word, too. " +
        "Copy the text and paste it.",
      oldBrowser: "This browser is too old to answer by itself. Update it.",
    },
  },

  async start(showProgress) {
    await this.loaded(showProgress);
    keepOffline();
    return {};
  },

  async ask(asked, signal, showProgress) {
    await this.loaded(showProgress);
    signal.throwIfAborted();
    const { answers } = await this.call({ ask: asked }, showProgress, signal);
    return { answers, sentences: null };
  },

  // The reader is loaded once; what failed is tried again with the next question.
  async loaded(showProgress) {
    if (location.protocol === "file:") throw new Refusal("openedAsFile");
    if (!window.DecompressionStream || !window.WebAssembly) throw new Refusal("oldBrowser");
    this.loading ??= this.call({ load: true }, showProgress).catch((error) => {
      this.worker.terminate();
      this.loading = this.worker = null;
      throw error;
    });
    return this.loading;
  },

  calls: new Map(),
  last: 0,

  call(content, showProgress, signal) {
    this.worker ??= this.startWorker();
    const id = (this.last += 1);
    return new Promise((resolve, reject) => {
      this.calls.set(id, { resolve, reject, showProgress });
      signal?.addEventListener("abort", () => {
        this.worker?.postMessage({ stop: id });
        this.end(id)?.reject(signal.reason);
      });
      this.worker.postMessage({ id, ...content });
    });
  },

  startWorker() {
    const name = "worker.js", worker = new Worker(trustedHere?.createScriptURL(name) ?? name, { type: "module" });
    worker.onmessage = ({ data: { id, progress, refusal, broken, ...found } }) => {
      if (progress) return this.calls.get(id)?.showProgress(progress.name, progress.done, progress.values);
      const call = this.end(id);
      if (refusal) call?.reject(new Refusal(refusal.name, refusal.values));
      else if (broken) call?.reject(new Error(broken));
      else call?.resolve(found);
    };
    worker.onerror = () => {
      for (const id of [...this.calls.keys()]) this.end(id).reject(new Refusal("unreachable", { name }));
    };
    return worker;
  },

  end(id) {
    const call = this.calls.get(id);
    this.calls.delete(id);
    call?.showProgress(null);
    return call;
  },
};

function keepOffline() {
  const name = "offline.js";
  navigator.serviceWorker?.register(trustedHere?.createScriptURL(name) ?? name).catch(() => {
    // Private windows may forbid it; then the page asks its server every time.
  });
}

start(IN_THE_BROWSER);
