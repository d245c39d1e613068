"use strict";
// The browser of errors: without this script all of them are listed, folded.
(() => {
  const PAGE = 25;
  const list = document.getElementById("mistakes");
  const form = document.getElementById("filters");
  const more = document.getElementById("more");
  const status = document.getElementById("found");

  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }
  if (!form) return;

  // Search does not ask for accents or capitals: "cuando" finds "Cuándo".
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  const number = (value) => value.toLocaleString("en-US");
  const items = Array.from(list.children, (item) => ({ item, text: plain(item.textContent) }));
  const field = (id) => document.getElementById(id);
  const total = Number(status.dataset.total);
  let limit = PAGE;

  function matching() {
    const words = plain(field("search").value).split(/\s+/).filter(Boolean);
    const kind = field("kind").value;
    const versus = field("versus") ? field("versus").value : "";
    return items.filter(({ item, text }) =>
      (!kind || item.dataset.kind === kind) && (!versus || item.dataset.versus === versus) &&
      words.every((word) => text.includes(word)));
  }

  function show() {
    const found = matching();
    const visible = new Set(found.slice(0, limit).map(({ item }) => item));
    for (const { item } of items) item.hidden = !visible.has(item);
    more.hidden = found.length <= visible.size;
    more.textContent = `Show ${Math.min(PAGE, found.length - visible.size)} more`;
    const cut = items.length < total ? `; the page holds the first ${number(items.length)} of ${number(total)}` : ` of ${number(total)}`;
    status.textContent = `${number(found.length)} match, ${number(visible.size)} shown${cut}.`;
  }

  function restart() { limit = PAGE; show(); }

  // A link to one error shows it, whatever the filters say.
  function follow() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target || target.parentElement !== list) return;
    target.hidden = false;
    target.querySelector("details").open = true;
    target.scrollIntoView();
  }

  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", restart);
  form.addEventListener("reset", () => setTimeout(restart));
  more.addEventListener("click", () => {
    const first = matching()[limit];
    limit += PAGE;
    show();
    if (first) first.item.querySelector("summary").focus();
  });
  addEventListener("hashchange", follow);
  show();
  follow();
})();
