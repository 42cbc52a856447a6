// The page: one source at a time (photo, video, webcam), its responses, and what is shown of them.

import { getModel, predict, setToken, Stream } from "./api.js";
import { saveCsv, saveJson, savePng } from "./download.js";
import { Bars, drawBoxes, faceId, percent, setColours, Timeline } from "./view.js";

const SHOWN_PX = 1600; // longer side of the canvas
const SENT_PX = 640; // longer side of a frame that is sent; detection looks at no more
const ROWS = 36_000; // responses kept for download: an hour at 10 a second
const SPOKEN_MS = 3000; // a screen reader announces live changes at most so often
const WINDOW_S = 30; // of the live chart
const ENDING_MS = 10_000; // at the end of a clip, its last frame waits so long for its response
const PATIENCE_MS = 1000; // a chosen face that is lost for longer is replaced by the most confident one; a track lasts as long

const $ = (id) => document.getElementById(id);
const canvas = $("canvas");
const context = canvas.getContext("2d");
const video = $("video");
const bars = new Bars($("bars"));
const timeline = new Timeline($("timeline"));
const grabbed = document.createElement("canvas");

let labels = [];
let limits = { max_body: Infinity };
let model = "";
let run = null; // the live source: {kind, stream, paused, started, grabbing, ending}
let answer = null; // the newest
let chosen = null; // id of the face whose bars and lines are shown
let chosenSeen = 0; // when it was last found
let picture = null; // the image that `answer` belongs to, to draw again: the photo, or a frame
let rows = [];
let answered = []; // times of recent responses
let spoken = 0;
let spokenText = "";
let load = 0; // counts sources: a late response to an older one is dropped

// Messages

function fail(message) {
  $("error").textContent = message;
  $("error").hidden = !message;
}

function say(message, live = false) {
  const now = performance.now();
  if (message === spokenText || (live && now - spoken < SPOKEN_MS)) return;
  [spoken, spokenText] = [now, message];
  $("status").textContent = message;
}

function summary(faces) {
  if (!faces.length) return "No face found.";
  const found = faces.map((face) => `${face.label} ${percent(face.score)}`);
  return `${faces.length === 1 ? "1 face" : `${faces.length} faces`}: ${found.slice(0, 8).join(", ")}.`;
}

function explain(error) {
  if (error.status === 401) {
    $("token-form").hidden = false;
    $("token").focus();
  }
  fail(error.message);
}

// What is shown

function chosenIndex() {
  return (answer?.faces ?? []).findIndex((face, index) => faceId(face, index) === chosen);
}

function choose(ids) {
  const now = performance.now();
  if (ids.includes(chosen)) chosenSeen = now;
  else if (!run || chosen === null || now - chosenSeen > PATIENCE_MS) [chosen, chosenSeen] = [ids[0] ?? null, now];
}

function fit(width, height, most) {
  const scale = Math.min(1, most / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

function resize(width, height) {
  const [w, h] = fit(width, height, SHOWN_PX);
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
}

function draw() {
  const live = run && !run.paused && !run.ending; // else image and bars must be of one frame
  const source = live ? video : picture;
  if (!source) return;
  $("hint").hidden = true;
  resize(source.videoWidth || source.width, source.videoHeight || source.height);
  context.drawImage(source, 0, 0, canvas.width, canvas.height);
  if (answer?.faces) drawBoxes(context, answer, chosenIndex());
}

function choices(ids) {
  const select = $("choice");
  $("choice-row").hidden = ids.length < 2;
  const names = ids.toSorted((a, b) => a - b).map(String);
  // An open list would close when it is replaced.
  if (names.join() !== Array.from(select.options, (option) => option.value).join()) {
    select.replaceChildren(...names.map((name) => new Option(name, name)));
  }
  select.value = String(chosen);
}

function show() {
  const faces = answer?.faces ?? [];
  const ids = faces.map(faceId);
  choose(ids);
  choices(ids);
  bars.show(faces[chosenIndex()]);
  $("faces").textContent = answer ? String(faces.length) : "–";
  canvas.setAttribute("aria-label", answer ? summary(faces) : "No image yet");
  for (const id of ["json", "csv", "png"]) $(id).disabled = !rows.length;
}

function showTimeline() {
  timeline.draw(chosen, video.duration);
  $("timeline").setAttribute("aria-label", timeline.describe(chosen));
}

function note(row, time_s, latency_ms) {
  answer = row;
  rows.push({ time_s: Number(time_s.toFixed(3)), width: row.width, height: row.height, faces: row.faces });
  if (rows.length > ROWS) rows.shift();
  $("latency").textContent = `${Math.round(latency_ms)} ms`;
  show();
}

function reset() {
  load += 1;
  run?.stream.close();
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.pause();
  video.srcObject = null;
  video.removeAttribute("src");
  run = picture = answer = chosen = null;
  rows = [];
  answered = [];
  spokenText = "";
  fail("");
  $("hint").hidden = false;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const id of ["pause", "stop", "timeline-box"]) $(id).hidden = true;
  $("webcam").hidden = false;
  $("pause").setAttribute("aria-pressed", "false");
  for (const id of ["fps", "latency"]) $(id).textContent = "–";
  show();
}

// Photo

async function openPhoto(file) {
  reset();
  const mine = load;
  if (file.size > limits.max_body) {
    const [has, most] = [file.size, limits.max_body].map((bytes) => (bytes / 1e6).toFixed(1));
    fail(`The photo has ${has} MB; this service takes at most ${most} MB. Choose a smaller one.`);
    return;
  }
  say("Looking…");
  const started = performance.now();
  try {
    const [bitmap, row] = await Promise.all([createImageBitmap(file).catch(() => null), predict(file)]);
    if (mine !== load) return;
    picture = bitmap;
    note(row, 0, performance.now() - started);
    draw();
    say(summary(row.faces) + (row.truncated ? ` ${row.faces_found} were found in all.` : ""));
  } catch (error) {
    if (mine !== load) return;
    say("");
    explain(error);
  }
}

// Video and webcam

function openStream(kind) {
  const mine = load;
  const stream = new Stream(
    (row, sentAt, frame) => mine === load && onAnswer(row, sentAt, frame),
    (message) => {
      if (mine !== load || !message) return;
      stopRun();
      fail(message);
    },
  );
  run = { kind, stream, paused: false, grabbing: false, ending: 0, lastSent: false, started: performance.now() };
  timeline.reset(labels, kind === "webcam" ? WINDOW_S : 0);
  for (const id of ["pause", "stop", "timeline-box"]) $(id).hidden = false;
  $("webcam").hidden = kind === "webcam";
  requestAnimationFrame(loop);
}

function onAnswer(row, sentAt, { time_s, still }) {
  if (!run) return;
  if (row.error) {
    if (row.error.status !== 503) fail(`${row.error.title}: ${row.error.detail}.`);
    return;
  }
  const now = performance.now();
  answered = [...answered.filter((time) => time > now - 2000), now];
  const span = (now - answered[0]) / 1000;
  $("fps").textContent = answered.length > 2 ? `${((answered.length - 1) / span).toFixed(1)} fps` : "–";
  picture = still;
  note(row, time_s, now - sentAt);
  if (run.paused || run.ending) draw();
  timeline.add(time_s, row.faces);
  showTimeline();
  say(summary(row.faces), true);
}

function loop() {
  if (!run) return;
  if (run.ending) finish();
  else if (!run.paused && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
    draw();
    if (run.stream.ready && !run.grabbing && !video.paused) grab();
  }
  requestAnimationFrame(loop);
}

// The end of a clip: its last frame is sent, and the run ends with the response to it.
function finish() {
  if (run.grabbing) return;
  if (!run.lastSent && run.stream.ready) {
    run.lastSent = true;
    grab();
  } else if ((run.lastSent && run.stream.idle) || performance.now() - run.ending > ENDING_MS) {
    stopRun();
  }
}

function grab() {
  const mine = run;
  mine.grabbing = true;
  const still = copyOf(video, video.videoWidth, video.videoHeight); // it is shown when its response is, and stays
  [grabbed.width, grabbed.height] = fit(still.width, still.height, SENT_PX);
  grabbed.getContext("2d").drawImage(still, 0, 0, grabbed.width, grabbed.height);
  const time_s = mine.kind === "webcam" ? (performance.now() - mine.started) / 1000 : video.currentTime;
  grabbed.toBlob((blob) => {
    mine.grabbing = false;
    if (blob && run === mine) mine.stream.send(blob, { time_s, still });
  }, "image/jpeg", 0.85);
}

function copyOf(source, width, height) {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = fit(width, height, SHOWN_PX);
  copy.getContext("2d").drawImage(source, 0, 0, copy.width, copy.height);
  return copy;
}

async function openVideo(file) {
  reset();
  video.src = URL.createObjectURL(file);
  const mine = load;
  try {
    await video.play(); // a hidden video stays paused otherwise
  } catch {
    if (mine === load) fail("This browser cannot play the video. MP4 (H.264) and WebM work nearly everywhere.");
    return;
  }
  say("Watching the video…");
  openStream("video");
}

async function openWebcam() {
  reset();
  const mine = load;
  if (!navigator.mediaDevices) {
    fail("The webcam needs a safe connection: open this page by https, or as localhost.");
    return;
  }
  try {
    const media = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
    if (mine !== load) {
      media.getTracks().forEach((track) => track.stop());
      return;
    }
    video.srcObject = media;
    await video.play();
  } catch (error) {
    const denied = error.name === "NotAllowedError";
    fail(denied ? "The browser may not use the webcam: allow it for this page." : "No webcam could be opened.");
    return;
  }
  say("The webcam runs.");
  openStream("webcam");
  $("pause").focus();
}

function pause(paused) {
  if (!run) return;
  run.paused = paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  if (paused) video.pause();
  else video.play();
  draw();
  if (paused) say("Paused.");
}

function stopRun() {
  const [keptRows, keptAnswer, keptChosen, keptPicture] = [rows, answer, chosen, picture];
  const hadFocus = document.activeElement === $("stop") || document.activeElement === $("pause");
  reset();
  $("timeline-box").hidden = !keptRows.length;
  rows = keptRows; // still to be downloaded
  answer = keptAnswer;
  chosen = keptChosen;
  picture = keptPicture;
  show();
  draw();
  say("Stopped.");
  if (hadFocus) $("webcam").focus();
}

// Wiring

function open(file) {
  if (!file) return;
  if (file.type.startsWith("video/")) openVideo(file);
  else openPhoto(file);
}

async function start() {
  try {
    const about = await getModel();
    ({ limits } = about);
    labels = about.spec.labels;
    model = about.id;
    $("model").textContent = model;
    $("token-form").hidden = true;
    setColours(about.colours, () => {
      bars.setLabels(labels);
      show();
      if (!$("timeline-box").hidden) showTimeline();
    });
    bars.setLabels(labels);
    fail("");
  } catch (error) {
    explain(error);
  }
}

const record = () => ({ model, labels, rows });
$("file").addEventListener("change", (event) => {
  open(event.target.files[0]);
  event.target.value = ""; // the same file may be chosen again
});
$("webcam").addEventListener("click", openWebcam);
$("pause").addEventListener("click", () => pause(!run?.paused));
$("stop").addEventListener("click", stopRun);
$("json").addEventListener("click", () => saveJson(record()));
$("csv").addEventListener("click", () => saveCsv(record()));
$("png").addEventListener("click", () => savePng(canvas));
$("choice").addEventListener("change", (event) => {
  [chosen, chosenSeen] = [Number(event.target.value), performance.now()];
  show();
  draw();
  if (!$("timeline-box").hidden) showTimeline();
});
video.addEventListener("ended", () => {
  if (run?.kind !== "video" || run.ending) return;
  run.ending = performance.now();
  draw();
});
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value.trim());
  start();
});

const drop = document.documentElement;
drop.addEventListener("dragover", (event) => {
  event.preventDefault();
  $("drop").classList.add("over");
});
drop.addEventListener("dragleave", () => $("drop").classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  open(event.dataTransfer.files[0]);
});

start();
