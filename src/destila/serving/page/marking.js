// The passage, in which a person marks the answer with mouse, finger or keyboard.
//
// It is an editable region in which nothing can be edited: so the browser itself gives it a caret, selects with Shift and
// the arrows, with double clicks and with handles for fingers, and reads it aloud. What is selected there is the answer. A
// highlight goes on showing it when the focus is elsewhere.
//
// Invariant: the region holds the passage's text as it came, in one node. Offsets are UTF-16 units of it here, and code
// points on the server: `toPoints` and answers.js's `unitOffsets` go between the two.
"use strict";

// `marked` is told of every span {start, end} that is selected; `span` says which is the answer now, if any.
function startMarking(marked, span) {
  const view = $("view");
  for (const name of ["beforeinput", "dragstart", "drop"]) view.addEventListener(name, (event) => event.preventDefault());
  view.addEventListener("input", () => showPassage(view.dataset.text)); // what an input method wrote all the same
  view.addEventListener("focus", () => select(span()));
  document.addEventListener("selectionchange", () => {
    const selected = selectedSpan();
    if (selected) marked(selected);
  });
}

function showPassage(text) {
  const view = $("view");
  if (view.textContent === text && view.childNodes.length === 1) return;
  view.replaceChildren(document.createTextNode(text));
  view.dataset.text = text;
  view.scrollTop = 0;
}

function selectedSpan() {
  const selection = getSelection(), view = $("view");
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0), before = document.createRange();
  if (!view.contains(range.startContainer) || !view.contains(range.endContainer)) return null;
  before.selectNodeContents(view);
  before.setEnd(range.startContainer, range.startOffset);
  const start = before.toString().length;
  return tidy(view.textContent, start, start + range.toString().length);
}

// A span without white space at its edges that cuts no character in two; null if nothing is left.
function tidy(text, start, end) {
  const isLow = (place) => /[\udc00-\udfff]/.test(text.charAt(place));
  if (isLow(start)) start -= 1;
  if (isLow(end)) end += 1;
  while (start < end && /\s/.test(text[start])) start += 1;
  while (start < end && /\s/.test(text[end - 1])) end -= 1;
  return start < end ? { start, end } : null;
}

// Select a span, so that Shift and the arrows go on from it; without one, put the caret where it was, or at the beginning.
function select(span) {
  const selection = getSelection(), node = $("view").firstChild;
  if (span) selection.setBaseAndExtent(node, span.start, node, span.end);
  else if (!$("view").contains(selection.anchorNode)) selection.collapse(node, 0);
  else selection.collapseToStart();
}

// Show a span, in sight; what else was selected in the passage no longer is.
function highlight(span) {
  const view = $("view"), range = document.createRange();
  if (document.activeElement === view) select(span);
  else if (view.contains(getSelection().anchorNode)) getSelection().removeAllRanges();
  CSS.highlights?.delete("answer");
  if (!span) return;
  range.setStart(view.firstChild, span.start);
  range.setEnd(view.firstChild, span.end);
  CSS.highlights?.set("answer", new Highlight(range));
  const place = range.getBoundingClientRect(), frame = view.getBoundingClientRect();
  if (place.top < frame.top || place.bottom > frame.bottom) view.scrollTop += place.top - frame.top - frame.height / 3;
}

function toPoints(text, unit) {
  return [...text.slice(0, unit)].length;
}
