// Latency against load, up to where the server can no more: https://k6.io, which the extra `dev` brings on Linux.
//
//   destila serve --port 8080 &
//   k6 run --quiet --no-usage-report benchmarks/load.js \
//     [-e URL=http://127.0.0.1:8080] [-e RATES=5,10,20,40] [-e SECONDS=30] [-e PAUSE=5]
//
// Requests come at a constant rate whatever the answers take, as from many people who do not know of each other: each
// rate for so many seconds. Before that, every different request is sent once, alone; what is answered then is what has
// to be answered under load. One line a rate: requests for each second that were answered in time, wrong or refused ones
// (503 is the server's way to say that its queue is full), those that k6 had no free connection for, those without an
// answer when the next rate began, and milliseconds.
import { check } from "k6";
import http from "k6/http";
import { Counter, Trend } from "k6/metrics";

const SENTENCES = [
  "La biblioteca de Valdehoz abrió el 14 de mayo de 1987 en un antiguo molino junto al río Arlo.",
  "Desde 2009 la dirige Carmen Ledesma, que creó el club de lectura nocturna de los jueves.",
  "Hoy guarda 42 300 libros y una colección de 1 150 mapas donada por el navegante Tomás Urrutia.",
  "La entrada es gratuita y el horario es de martes a sábado, de 9:00 a 20:30.",
];
const QUESTIONS = ["¿Quién dirige la biblioteca?", "¿Cuándo abrió?", "¿Cuántos libros guarda?", "¿Quién donó los mapas?"];
const SIZES = [1, 1, 2, 2, 4, 4, 8, 20]; // sentences of a text: 34 tokens with the question, ... 476; 133 on average
const URL = __ENV.URL || "http://127.0.0.1:8080";
const RATES = (__ENV.RATES || "5,10,20,40").split(",").map(Number);
const SECONDS = Number(__ENV.SECONDS || 30), PAUSE = Number(__ENV.PAUSE || 5);

const took = new Trend("took", true);
const [sent, right, wrong, refused] = ["sent", "right", "wrong", "refused"].map((name) => new Counter(name));
const named = (metric, rate) => `${metric}{scenario:rate_${rate}}`; // k6 puts no other tag on dropped_iterations

export const options = {
  scenarios: Object.fromEntries(RATES.map((rate, place) => [`rate_${rate}`, {
    executor: "constant-arrival-rate", rate, duration: `${SECONDS}s`, startTime: `${place * (SECONDS + PAUSE)}s`,
    preAllocatedVUs: 10 + 2 * rate, maxVUs: 10 + 2 * rate, gracefulStop: `${PAUSE}s`,
  }])),
  summaryTrendStats: ["med", "p(95)", "p(99)", "max"],
  // k6 sums up by tag only what it has a threshold for.
  thresholds: Object.fromEntries(RATES.flatMap((rate) => [
    [named("took", rate), ["max>=0"]], [named("wrong", rate), ["count==0"]],
    ...["sent", "right", "refused", "dropped_iterations"].map((name) => [named(name, rate), ["count>=0"]]),
  ])),
};

function ask({ question, context }) {
  const headers = { "Content-Type": "application/json" };
  return http.post(`${URL}/v1/answer`, JSON.stringify({ question, context }), { headers, timeout: "30s" });
}

const answerOf = ({ body }) => JSON.stringify(JSON.parse(body).results[0].answers[0]);

export function setup() {
  return SIZES.flatMap((size) => QUESTIONS.map((question, first) => {
    const context = Array.from({ length: size }, (_, place) => SENTENCES[(first + place) % SENTENCES.length]).join(" ");
    const response = ask({ question, context });
    if (response.status !== 200) throw new Error(`${URL} answers ${response.status}: ${response.body || response.error}`);
    return { question, context, expected: answerOf(response) };
  }));
}

export default function (requests) {
  sent.add(1);
  const request = requests[Math.floor(Math.random() * requests.length)], response = ask(request);
  if (response.status === 503) return void refused.add(1);
  const same = check(response, {
    "the same answer as alone": ({ status }) => status === 200 && answerOf(response) === request.expected,
  });
  (same ? right : wrong).add(1);
  took.add(response.timings.duration);
}

export function handleSummary({ metrics }) {
  const value = (metric, rate, name) => metrics[named(metric, rate)]?.values[name] ?? 0;
  const rows = RATES.map((rate) => ({
    rate,
    answered_per_second: value("right", rate, "count") / SECONDS,
    wrong: value("wrong", rate, "count"),
    refused: value("refused", rate, "count"),
    unsent: value("dropped_iterations", rate, "count"),
    unanswered: ["right", "wrong", "refused"].reduce((rest, name) => rest - value(name, rate, "count"), value("sent", rate, "count")),
    p50_ms: value("took", rate, "med"), p95_ms: value("took", rate, "p(95)"),
    p99_ms: value("took", rate, "p(99)"), longest_ms: value("took", rate, "max"),
  }));
  const names = Object.keys(rows[0]), shown = (number) => String(Math.round(number * 10) / 10);
  const line = (cells) => cells.map((cell) => cell.padStart(21)).join("") + "\n";
  return { stdout: line(names) + rows.map((row) => line(names.map((name) => shown(row[name])))).join("") + JSON.stringify(rows) + "\n" };
}
