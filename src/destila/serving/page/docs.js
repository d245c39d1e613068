// The API of this server, as its own description (/openapi.json) tells it; every route can be tried in place.
//
// Invariants: what the description or the server says enters the page as text; no other address is contacted; the key
// is kept nowhere but in its field.
"use strict";

const WORDS = {
  es: {
    fields: "Campos", answers: "Respuestas", try: "Probar", send: "Enviar", key: "Clave de acceso (si hace falta)",
    required: "obligatorio", file: "Un archivo", offline: "No se puede conectar con el servidor.",
  },
  en: {
    fields: "Fields", answers: "Responses", try: "Try it", send: "Send", key: "Access key (if one is needed)",
    required: "required", file: "A file", offline: "The server cannot be reached.",
  },
};
const LIMITS = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "default"];
const EXAMPLE = { question: "¿Quién dirige la biblioteca?", context: "La dirige Carmen Ledesma desde 2009.", top_k: 2 };

const words = WORDS[(navigator.languages || [navigator.language]).some((name) => name.startsWith("es")) ? "es" : "en"];
const key = field("password", words.key);

function element(name, text, ...children) {
  const node = document.createElement(name);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

function field(type, label) {
  const node = document.createElement("input");
  Object.assign(node, { type, autocomplete: "off" });
  node.setAttribute("aria-label", label);
  if (type === "password") node.placeholder = label;
  return node;
}

// A schema in words: its type, or types, and its limits.
function kind(schema, all) {
  const forms = schema.oneOf ?? schema.anyOf;
  if (forms) return [...new Set(forms.map((form) => kind(form, all)))].join(" | ");
  if (schema.$ref) return kind(resolved(schema, all), all);
  const inner = schema.type === "array" ? `array of ${kind(schema.items, all)}` : schema.title && !schema.type ? "any" : schema.type;
  const limits = LIMITS.filter((name) => schema[name] !== undefined).map((name) => `${name} ${JSON.stringify(schema[name])}`);
  return [inner ?? "any", ...limits].join(", ");
}

function resolved(schema, all) {
  return schema?.$ref ? all.components.schemas[schema.$ref.split("/").at(-1)] : schema;
}

function fieldsOf(schema, all) {
  const list = element("dl"), { properties = {}, required = [] } = resolved(schema, all) ?? {};
  for (const [name, one] of Object.entries(properties)) {
    const must = required.includes(name) ? ` (${words.required})` : "";
    list.append(element("dt", name), element("dd", `${kind(one, all)}${must}. ${one.description ?? ""}`));
  }
  return list;
}

function section(path, method, route, all) {
  const node = element("section", "", element("h2", `${method.toUpperCase()} ${path}`), element("p", route.description ?? route.summary ?? ""));
  const [type, body] = Object.entries(route.requestBody?.content ?? {})[0] ?? [];
  const parameters = (route.parameters ?? []).map((one) => [one.name, { ...one.schema, description: one.description }]);
  const inAddress = { properties: Object.fromEntries(parameters), required: parameters.map(([name]) => name) };
  if (body || parameters.length) {
    node.append(element("h3", words.fields), fieldsOf(inAddress, all));
    if (body) node.append(element("p", type), fieldsOf(body.schema, all));
  }
  node.append(element("h3", words.answers));
  const answers = element("dl");
  for (const [status, { description }] of Object.entries(route.responses)) answers.append(element("dt", status), element("dd", description));
  node.append(answers, element("h3", words.try), trial(path, method, type));
  return node;
}

// What is to be sent, a button, and what came back.
function trial(path, method, type) {
  const form = element("form"), said = element("pre"), send = element("button", words.send);
  const text = type === "application/json" ? element("textarea") : null, file = type && !text ? field("file", words.file) : null;
  if (text) Object.assign(text, { value: JSON.stringify(EXAMPLE, null, 2), spellcheck: false, ariaLabel: `${method} ${path}` });
  said.hidden = true;
  said.setAttribute("role", "status");
  if (text) form.append(text);
  form.append(element("div", "", ...(file ? [file] : []), send));
  form.lastChild.className = "row";
  form.append(said);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = file?.files[0], address = path.slice(1) + (chosen ? `?name=${encodeURIComponent(chosen.name)}` : "");
    said.textContent = await ask(address, method, type, text ? text.value : chosen);
    said.hidden = false;
  });
  return form;
}

async function ask(address, method, type, body) {
  const headers = { ...(type && { "Content-Type": type }), ...(key.value && { Authorization: `Bearer ${key.value}` }) };
  try {
    const response = await fetch(address, { method: method.toUpperCase(), headers, body, credentials: "omit" });
    const content = await response.text(), isJson = response.headers.get("Content-Type")?.includes("json");
    return `${response.status}\n${isJson ? JSON.stringify(JSON.parse(content), null, 2) : content}`;
  } catch {
    return words.offline;
  }
}

async function start() {
  document.documentElement.lang = words === WORDS.es ? "es" : "en";
  const all = await (await fetch("openapi.json")).json(), sections = [];
  for (const [path, methods] of Object.entries(all.paths))
    for (const [method, route] of Object.entries(methods)) sections.push(section(path, method, route, all));
  document.getElementById("docs").replaceChildren(element("p", "", key), ...sections);
}

start();
