// What the page itself says, in both languages, and its own examples. Loaded first; a reader adds its messages (page.js).
"use strict";

const TEXTS = {
  es: {
    tagline: "Pregunta a tu texto", language: "Idioma", text: "Texto", example: "Ejemplo", open: "Abrir archivos",
    edit: "Editar texto", source: "El texto en el que se busca la respuesta",
    paste: "Pega aquí un texto, o suelta un archivo .txt, .md o .html", question: "Pregunta",
    hint: "¿Quién…? ¿Cuándo…?", ask: "Preguntar", key: "Clave de acceso", answers: "Respuestas",
    drop: "Suelta aquí los archivos", none: "El texto no lo dice.", others: "Otras posibilidades", likely: "probablemente", possible: "quizá", doubtful: "dudoso",
    perhaps: "Quizá", confidence: "confianza", took: "Respondido en {time}", size: "{count} caracteres", certain: "casi seguro",
    show: "Mostrar en el texto", waiting: "Buscando la respuesta…", answer: "Respuesta: {answer}. Confianza: {share}.",
    loaded: "Texto cargado: {name}.", noText: "Primero pega un texto o abre un archivo.",
    noQuestion: "Escribe una pregunta.", tooLong: "El texto tiene {count} caracteres; el máximo es {most}.",
    fileKind: "{name}: solo se leen archivos .txt, .md y .html. Copia el texto y pégalo.",
    fileEmpty: "{name}: el archivo no contiene texto.", fileBroken: "{name}: no se puede leer.",
    fileNoText: "{name}: no es un archivo de texto.", fileLegacy: "{name}: no está en UTF-8; se ha leído como Windows-1252.",
    fileEncoding: "{name}: su codificación no se reconoce. Guárdalo como UTF-8.",
    fileForm: "{name}: los valores de su formulario no se han leído.",
    filePictures: "{name}: hay páginas que solo contienen imágenes y no se han leído ({pages}). Pásalo por un OCR.",
    broken: "La página ha fallado. Cárgala de nuevo.", reading: "Leyendo el archivo…", page: "página {page}",
    searching: "Leyendo el texto: {share}", stop: "Detener", stopped: "Detenido.", anyway: "Responder de todos modos",
    texts: "Textos", add: "Añadir otro", remove: "Quitar {name}", removed: "{name}: quitado.", untitled: "Texto {number}",
    tooMany: "Hay {count} textos; se puede preguntar a {most} a la vez. Quita alguno.",
    fade: "Atenuar lo que la respuesta no necesita",
    examples: "Prueba con un ejemplo", formal: "Una noticia", colloquial: "Sin tildes ni signos", technical: "Un texto técnico",
    unanswered: "Lo que el texto no dice", asked: "Preguntas: {count}", clear: "Borrar preguntas", cleared: "Preguntas borradas.",
    copy: "Copiar con cita", copied: "Copiado", notCopied: "El navegador no deja copiar", save: "Guardar", fileName: "respuesta.json",
    about: "Responde {name}, de Destila {version}. Copia sus respuestas del texto y puede equivocarse.", bundled: "el lector incluido",
    right: "Con una confianza de al menos {least} acertó en el {right} de sus respuestas a {count} preguntas de prueba.",
    unmeasured: "No se ha medido con qué frecuencia acierta.",
    cite: "«{answer}» (caracteres {start}-{end}{place}): {sentence}",
  },
  en: {
    tagline: "Ask your text", language: "Language", text: "Text", example: "Example", open: "Open files",
    edit: "Edit text", source: "The text that is searched for the answer",
    paste: "Paste a text here, or drop a .txt, .md or .html file", question: "Question",
    hint: "Who…? When…?", ask: "Ask", key: "Access key", answers: "Answers",
    drop: "Drop the files here", none: "The text does not say.", others: "Other possibilities", likely: "probably", possible: "perhaps", doubtful: "doubtful",
    perhaps: "Perhaps", confidence: "confidence", took: "Answered in {time}", size: "{count} characters", certain: "almost certain",
    show: "Show in the text", waiting: "Looking for the answer…", answer: "Answer: {answer}. Confidence: {share}.",
    loaded: "Text loaded: {name}.", noText: "First paste a text or open a file.",
    noQuestion: "Write a question.", tooLong: "The text has {count} characters; at most {most} are allowed.",
    fileKind: "{name}: only .txt, .md and .html files are read. Copy the text and paste it.",
    fileEmpty: "{name}: the file holds no text.", fileBroken: "{name}: cannot be read.",
    fileNoText: "{name}: is no text file.", fileLegacy: "{name}: is not UTF-8 and was read as Windows-1252.",
    fileEncoding: "{name}: its encoding is not known. Save it as UTF-8.",
    fileForm: "{name}: the values of its form were not read.",
    filePictures: "{name}: some pages hold only pictures and were not read ({pages}). Run it through OCR.",
    broken: "The page failed. Load it again.", reading: "Reading the file…", page: "page {page}",
    searching: "Reading the text: {share}", stop: "Stop", stopped: "Stopped.", anyway: "Answer anyway",
    texts: "Texts", add: "Add another", remove: "Remove {name}", removed: "{name}: removed.", untitled: "Text {number}",
    tooMany: "There are {count} texts; {most} can be asked at once. Remove some.",
    fade: "Fade what the answer does not need",
    examples: "Try an example (in Spanish)", formal: "News", colloquial: "No accents, no question marks", technical: "A technical text",
    unanswered: "What the text does not say", asked: "Questions: {count}", clear: "Clear questions", cleared: "Questions cleared.",
    copy: "Copy with citation", copied: "Copied", notCopied: "The browser does not let it copy", save: "Save", fileName: "answer.json",
    about: "{name}, of Destila {version}, answers. It copies its answers from the text and may be wrong.", bundled: "The bundled reader",
    right: "With a confidence of at least {least}, {right} of its answers to {count} test questions were right.",
    unmeasured: "How often it is right was not measured.",
    cite: "“{answer}” (characters {start}-{end}{place}): {sentence}",
  },
};
// One register each. The names are those of messages; the texts and questions are in Spanish, which the reader is for.
const EXAMPLES = [
  {
    name: "formal",
    text: `El Ayuntamiento de Villarejo aprobó el lunes, por once votos contra seis, la reforma del mercado municipal. ` +
      `Las obras costarán 2,4 millones de euros y empezarán en septiembre.\n\n` +
      `La concejala de Comercio, Marta Olmedo, aseguró que los 38 puestos seguirán abiertos en una carpa durante los ` +
      `catorce meses que durará la reforma.`,
    question: "¿Cuánto costarán las obras del mercado municipal?",
  },
  {
    name: "colloquial",
    text: `Aviso a los vecinos: el viernes 12 se corta el agua de 9 a 13 h porque cambian la bomba del sótano. ` +
      `Si alguien necesita las llaves del cuarto de contadores, las tiene Paco, el del 3.º B.\n\n` +
      `El ascensor seguirá parado hasta que llegue la pieza, que viene de Zaragoza.`,
    question: "oye quien tiene las llaves del cuarto de contadores",
  },
  {
    name: "technical",
    text: `El controlador lee la temperatura del reactor cada 250 ms con un sensor Pt100 y la compara con la consigna. ` +
      `Si supera los 85 °C durante más de tres lecturas seguidas, cierra la válvula V-204 y activa la alarma. ` +
      `Tras un corte de tensión, el último estado se recupera de la memoria EEPROM.`,
    question: "¿Cada cuánto se lee la temperatura del reactor?",
  },
  {
    name: "unanswered",
    text: `La biblioteca de Valdehoz abrió sus puertas el 14 de mayo de 1987 en un antiguo molino de harina junto al río Arlo. ` +
      `La arquitecta Irene Sandoval conservó la rueda de piedra y la convirtió en la mesa central de la sala de lectura.\n\n` +
      `Desde 2009 la dirige Carmen Ledesma, que creó el club de lectura nocturna de los jueves. Hoy guarda 42 300 libros, ` +
      `entre ellos una colección de 1 150 mapas donada por el navegante Tomás Urrutia. La entrada es gratuita y el horario ` +
      `es de martes a sábado, de 9:00 a 20:30.`,
    question: "¿Cuánto cuesta el carné de socio?",
  },
];
