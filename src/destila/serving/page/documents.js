// The texts that are asked about together: which there are, which is shown, and a row of buttons with a name each. The
// state is page.js's.
//
// Invariants: there is always one; what was written into a text stays when another is shown; a text that was asked about
// takes the questions with it when it is edited or removed, as their answers would point elsewhere.
"use strict";

// `text`: exactly what was opened; `pages`: the first character of each page of a file that has pages.
function newText(text = "", name = "", pages = []) {
  return { text, name, pages };
}

function shownText() {
  return state.texts[state.current];
}

// What the text says that is shown: as it was opened, as long as nobody edits it. A text field has its own line ends.
function sourceText() {
  const written = $("source").value, { text } = shownText();
  return written === text.replace(/\r\n?/g, "\n") ? text : wellFormed(written);
}

// Keep what was written into the text that is shown.
function keepText() {
  shownText().text = sourceText();
}

function isAskedAbout(one) {
  return state.turns.some(({ texts }) => texts.includes(one));
}

// The texts that say something.
function askedTexts() {
  keepText();
  return state.texts.filter(({ text }) => text.trim());
}

// How people tell a text from the others.
function nameOf(one) {
  return one.name || say("untitled", { number: number(state.texts.indexOf(one) + 1) });
}

function setText(text, name = "", pages = []) {
  state.texts[state.current] = newText(wellFormed(text), name, pages);
  $("source").value = shownText().text;
  forget();
  editText(true);
  if (name) announce(say("loaded", { name }));
}

// Another text beside those that there are; an empty one is filled instead.
function addText(text = "", name = "", pages = []) {
  if (sourceText().trim()) {
    keepText();
    state.current = state.texts.push(newText(wellFormed(text), name, pages)) - 1;
  } else {
    state.texts[state.current] = newText(wellFormed(text), name, pages);
  }
  showText();
  if (name) announce(say("loaded", { name }));
}

function removeText(place) {
  keepText();
  const [gone] = state.texts.splice(place, 1);
  if (state.current > place || state.current === state.texts.length) state.current -= 1;
  if (isAskedAbout(gone)) Object.assign(state, { turns: [], active: -1 });
  state.pending?.abort();
  showText();
  renderTurns();
}

function switchText(place) {
  keepText();
  state.current = place;
  showText();
}

// Show the text that is the current one: with the answers that the last question found in it, or to be edited.
function showText() {
  $("source").value = shownText().text;
  const isAsked = state.turns[state.active]?.texts.includes(shownText());
  if (isAsked) renderText();
  else editText(true);
  renderTexts();
}

function renderTexts() {
  const count = codePoints(sourceText());
  $("name").textContent = $("name").title = state.texts.length > 1 ? "" : shownText().name;
  $("size").textContent = count ? say("size", { count: number(count) }) : "";
  $("texts").hidden = state.texts.length < 2;
  $("texts").replaceChildren(...state.texts.map(renderTab));
}

function renderTab(one, place) {
  const tab = element("span", "tab"), show = element("button", "show", nameOf(one)), remove = element("button", "remove", "×");
  show.type = remove.type = "button";
  show.title = nameOf(one);
  show.setAttribute("aria-pressed", String(place === state.current));
  remove.setAttribute("aria-label", say("remove", { name: nameOf(one) }));
  show.addEventListener("click", () => {
    switchText(place);
    $("texts").querySelectorAll(".show")[place].focus();
  });
  remove.addEventListener("click", () => {
    removeText(place);
    announce(say("removed", { name: show.textContent }));
    $("source").focus();
  });
  tab.append(show, remove);
  return tab;
}
