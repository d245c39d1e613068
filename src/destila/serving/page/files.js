// From the bytes of a file to its text, in the browser: plain text exactly as `destila.inference.documents` reads it, and of
// HTML what a person sees. What cannot be read is a Refusal (page.js).
//
// Invariant: nothing of a file is run, loaded or shown as markup.
"use strict";

const BLOCKS = /^(ADDRESS|ARTICLE|ASIDE|BLOCKQUOTE|BR|CAPTION|DD|DIV|DL|DT|FIGCAPTION|FIGURE|FOOTER|FORM|H[1-6]|HEADER|HR|LI|MAIN|NAV|OL|P|PRE|SECTION|TABLE|TR|UL)$/;
const CELLS = /^T[DH]$/;
const UNREAD = /^(SCRIPT|STYLE|NOSCRIPT|TEMPLATE|HEAD|SVG|MATH|IFRAME|OBJECT|CANVAS|AUDIO|VIDEO|NOFRAMES|NOEMBED|DATALIST|RP)$/;
const PREFORMATTED = /^(PRE|TEXTAREA|LISTING|XMP|PLAINTEXT)$/;
// Of plain text, as destila/inference/documents/encoding.py has them: marks of byte order, and bytes that stand in no text
// in Windows-1252, because they are control characters or mean nothing.
const BYTE_ORDERS = { "utf-8": [0xef, 0xbb, 0xbf], "utf-16le": [0xff, 0xfe], "utf-16be": [0xfe, 0xff] };
const isNoText = (byte) => byte < 9 || (byte > 13 && byte < 26) || (byte > 27 && byte < 32) || byte === 127;
const isNoLetter = (byte) => [0x81, 0x8d, 0x8f, 0x90, 0x9d].includes(byte);
// Of files that are named as text and are none: PDF, ZIP archives, old Office documents.
const NO_TEXT_STARTS = [[0x25, 0x50, 0x44, 0x46, 0x2d], [0x50, 0x4b, 3, 4], [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1]];
// What shows nothing and changes nothing, as destila/core/characters.py has it.
const UNSEEN = /[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb]/g;

// The characters of a file: by its mark of byte order, else as it declares, else UTF-8, else Windows-1252, which old Spanish
// files are in; and the name of the message that says so.
function decoded(bytes, declared) {
  const startsWith = (start) => start.every((byte, place) => bytes[place] === byte);
  if (NO_TEXT_STARTS.some(startsWith)) throw new Refusal("fileNoText");
  const marked = Object.keys(BYTE_ORDERS).find((name) => startsWith(BYTE_ORDERS[name]));
  try {
    const text = new TextDecoder(marked ?? declared ?? "utf-8", { fatal: true }).decode(bytes);
    if (text.includes("\0")) throw new Refusal("fileNoText");
    return { text };
  } catch (error) {
    if (error instanceof Refusal) throw error;
    if (marked || declared || bytes.some(isNoText)) throw new Refusal(marked || declared ? "fileEncoding" : "fileNoText");
    if (bytes.some(isNoLetter)) throw new Refusal("fileEncoding");
    return { text: new TextDecoder("windows-1252").decode(bytes), note: "fileLegacy" };
  }
}

// The encoding that a page declares, where a browser finds it: not in a comment, not in a script.
function declaredEncoding(bytes) {
  const letters = new TextDecoder("windows-1252").decode(bytes), page = parsedMarkup(letters);
  const metas = [...page.querySelectorAll("meta")].map((meta) => {
    const content = /^\s*content-type\s*$/i.test(meta.httpEquiv) ? /charset\s*=\s*["']?([^\s;"']+)/i.exec(meta.content)?.[1] : null;
    return meta.getAttribute("charset") ?? content;
  });
  const xml = /^<\?xml\s[^>]*?\bencoding\s*=\s*["']([^"'>]*)["']/.exec(letters)?.[1];
  const label = [xml, ...metas].find((name) => name?.trim());
  try {
    return label ? new TextDecoder(label).encoding.replace(/^utf-16.*/, "utf-8") : null; // it could be read in ASCII
  } catch {
    throw new Refusal("fileEncoding");
  }
}

// A parsed document is inert: it runs no script and loads nothing. Only the text of it is taken.
const inert = window.trustedTypes?.createPolicy("destila-html", { createHTML: (markup) => markup });

function parsedMarkup(markup) {
  const trusted = inert ? inert.createHTML(markup) : markup; // the one use of the only policy that the server allows
  return new DOMParser().parseFromString(trusted, "text/html");
}

function textOfMarkup(markup) {
  return textOfNodes(parsedMarkup(markup));
}

function textOfNodes(page) {
  const text = [...piecesOf(page.body, false)].join("");
  return text.replace(UNSEEN, "").replace(/ {2,}/g, " ").replace(/\s*\n\s*/g, "\n").replace(/ *\t\s*/g, "\t").trim();
}

// The text below a node, with breaks before and after everything that stands apart. Browsers bound the depth of what they parse.
function* piecesOf(node, preformatted) {
  if (node.nodeType === Node.TEXT_NODE) yield preformatted ? node.data.replace(/\r\n?/g, "\n") : node.data.replace(/\s+/g, " ");
  if (node.nodeType !== Node.ELEMENT_NODE) return;
  const style = styleOf(node), own = style["white-space"];
  if (isUnread(node, style)) return;
  const edge = BLOCKS.test(node.nodeName) ? "\n" : CELLS.test(node.nodeName) ? "\t" : "";
  const kept = own ? /^(pre|break)/.test(own) : preformatted || PREFORMATTED.test(node.nodeName);
  yield edge;
  for (const child of node.childNodes) yield* piecesOf(child, kept);
  yield edge;
}

// Whether a person sees nothing of an element, as far as its own markup says.
function isUnread(node, style) {
  const hidden = node.hasAttribute("hidden") || (node.nodeName === "DIALOG" && !node.hasAttribute("open"));
  return UNREAD.test(node.nodeName.toUpperCase()) || (style.display ?? (hidden ? "none" : "")) === "none" ||
    /^(hidden|collapse)$/.test(style.visibility) || style["content-visibility"] === "hidden";
}

// The declarations of an element's own style: the page's policy keeps the browser from reading them.
function styleOf(node) {
  const declarations = (node.getAttribute("style") ?? "").toLowerCase().split(";").map((text) => text.split(":"));
  return Object.fromEntries(declarations.map(([name, ...value]) => [name.trim(), value.join(":").replace("!important", "").trim()]));
}
