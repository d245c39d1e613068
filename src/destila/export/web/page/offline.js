// Keeps the page itself for visits without a network. The large files are kept by worker.js.
//
// All files of one version are kept together and served together, so a page never gets half of it new and half old. A
// new version changes this file (VERSION), is fetched whole, and takes over once no window shows the old one.
"use strict";

const VERSION = "";
const OURS = `destila page ${new URL(".", location.href).pathname} `, NAME = OURS + VERSION;

addEventListener("install", (event) => event.waitUntil(keep()));
addEventListener("activate", (event) => event.waitUntil(forgetOthers()));
addEventListener("fetch", (event) => {
  if (event.request.method === "GET") event.respondWith(find(event.request));
});

async function keep() {
  const { version, pages } = await (await fetch("destila.json", { cache: "no-store" })).json();
  if (version !== VERSION) throw new Error("the files of a new version are still arriving");
  const cache = await caches.open(NAME);
  await cache.addAll(["./", ...pages].map((name) => new Request(name, { cache: "reload" })));
}

async function forgetOthers() {
  for (const name of await caches.keys()) if (name.startsWith(OURS) && name !== NAME) await caches.delete(name);
}

async function find(request) {
  return (await (await caches.open(NAME)).match(request, { ignoreSearch: request.mode === "navigate" })) ?? fetch(request);
}
