// The languages of a page. The page has `TEXTS` {es, en}, a `state` with the language shown, and `redraw`, which shows anew
// what is not in its markup: there data-text, data-label and data-placeholder name the text of a node.
"use strict";

const $ = (id) => document.getElementById(id);

function say(name, values = {}) {
  return TEXTS[state.language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

function number(value, options) {
  return new Intl.NumberFormat(state.language, options).format(value);
}

function share(score) {
  return score > 0 && score < 0.01 ? `< ${number(0.01, { style: "percent" })}` : number(score, { style: "percent" });
}

// Tell it to who hears the page.
function announce(text) {
  $("status").textContent = text;
}

function setLanguage(language) {
  state.language = language;
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = say(node.dataset.text);
  for (const node of document.querySelectorAll("[data-label]")) node.setAttribute("aria-label", say(node.dataset.label));
  for (const node of document.querySelectorAll("[data-placeholder]")) node.placeholder = say(node.dataset.placeholder);
  for (const button of document.querySelectorAll("[data-language]"))
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
  try { localStorage.setItem("destila-language", language); } catch { /* private windows may forbid it */ }
  redraw();
}

function preferredLanguage() {
  let kept = null;
  try { kept = localStorage.getItem("destila-language"); } catch { /* as above */ }
  if (kept in TEXTS) return kept;
  return (navigator.languages || [navigator.language]).some((name) => name.startsWith("es")) ? "es" :
    String(navigator.language).startsWith("en") ? "en" : "es";
}

function startLanguages() {
  setLanguage(preferredLanguage());
  for (const button of document.querySelectorAll("[data-language]"))
    button.addEventListener("click", () => setLanguage(button.dataset.language));
}
