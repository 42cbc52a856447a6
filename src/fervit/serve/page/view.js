// Draws: boxes and names over the image, bars, and the chart over time.

const UNKNOWN = "#a8aeb8";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = matchMedia("(prefers-color-scheme: dark)");
let colours = {}; // label -> {dark, light}: colours for these grounds, by the rule of annotated images

export function setColours(given, changed) {
  colours = given;
  dark.onchange = changed; // the other theme wants the others
}

export const colour = (label) => colours[label]?.[dark.matches ? "dark" : "light"] ?? css("--quiet"); // uncertain
export const faceId = (face, index) => face.track ?? index + 1; // a photo's faces have no track
export const percent = (p) => `${Math.round(100 * p)} %`;

export function drawBoxes(context, answer, chosen) {
  const { width, height } = context.canvas;
  const sx = width / answer.width;
  const sy = height / answer.height;
  const unit = Math.max(12, Math.min(width, height) / 28);
  context.font = `600 ${unit}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const boxes = answer.faces.map(({ box: [x1, y1, x2, y2] }) => ({
    x: x1 * sx,
    y: y1 * sy,
    w: (x2 - x1) * sx,
    h: (y2 - y1) * sy,
  }));
  boxes.forEach(({ x, y, w, h }, index) => {
    const line = Math.max(2, unit / 7) * (index === chosen ? 1.5 : 1);
    context.lineWidth = line + 2;
    context.strokeStyle = "rgb(0 0 0 / 0.6)";
    context.strokeRect(x, y, w, h);
    context.lineWidth = line;
    context.strokeStyle = colours[answer.faces[index].label]?.dark ?? UNKNOWN; // over an image, as in annotated ones
    context.strokeRect(x, y, w, h);
  });
  const taken = [...boxes];
  answer.faces.forEach((face, index) => {
    const number = answer.faces.length > 1 ? `${faceId(face, index)} ` : "";
    const text = `${number}${face.label} ${percent(face.score)}`;
    const size = { w: context.measureText(text).width + unit, h: unit * 1.6 };
    const spot = placeName(boxes[index], size, taken, context.canvas, unit / 10);
    context.fillStyle = "rgb(10 12 16 / 0.85)";
    context.fillRect(spot.x, spot.y, spot.w, spot.h);
    context.fillStyle = "#ffffff";
    context.fillText(text, spot.x + unit / 2, spot.y + unit * 0.82);
    taken.push(spot);
  });
}

// The spot at a box's edge that covers least of the boxes and names that are there; above it, where that is free.
function placeName(box, { w, h }, taken, canvas, gap) {
  const [left, right] = [box.x, box.x + box.w - w];
  const [above, below] = [box.y - h - gap, box.y + box.h + gap];
  const [beside, before] = [box.x + box.w + gap, box.x - w - gap];
  const middle = (left + right) / 2;
  const rows = [above, below].flatMap((y) => [left, right, middle].map((x) => [x, y]));
  const columns = [beside, before].flatMap((x) => [box.y, box.y + box.h - h].map((y) => [x, y]));
  let [best, least] = [null, Infinity];
  [...rows, ...columns].forEach(([x, y], rank) => {
    const spot = {
      x: Math.max(0, Math.min(x, canvas.width - w)),
      y: Math.max(0, Math.min(y, canvas.height - h)),
      w,
      h,
    };
    const covered = taken.reduce((sum, other) => sum + overlap(spot, other), 0) / (w * h);
    const cost = covered + 0.01 * rank; // the earlier spot wins a near tie
    if (cost < least) [best, least] = [spot, cost];
  });
  return best;
}

function overlap(a, b) {
  const w = Math.min(a.x + a.w, b.x + b.w) - Math.max(a.x, b.x);
  const h = Math.min(a.y + a.h, b.y + b.h) - Math.max(a.y, b.y);
  return Math.max(0, w) * Math.max(0, h);
}

export class Bars {
  constructor(list) {
    this.list = list;
    this.rows = new Map();
  }

  setLabels(labels) {
    this.list.replaceChildren();
    this.rows.clear();
    labels.forEach((label) => {
      const item = document.createElement("li");
      const [name, track, fill, value] = ["span", "div", "div", "span"].map((tag) => document.createElement(tag));
      name.textContent = label;
      name.style.setProperty("--series", colour(label)); // the chart's legend
      track.className = "track";
      track.setAttribute("aria-hidden", "true");
      fill.className = "fill";
      fill.style.width = "0";
      fill.style.background = colour(label);
      value.className = "percent";
      value.textContent = "–";
      track.append(fill);
      item.append(name, track, value);
      this.list.append(item);
      this.rows.set(label, { item, fill, value });
    });
  }

  show(face) {
    for (const [label, { item, fill, value }] of this.rows) {
      const p = face?.probs[label] ?? 0;
      fill.style.width = `${100 * p}%`;
      value.textContent = face ? percent(p) : "–";
      item.className = face?.label === label ? "top" : "";
    }
  }
}

export class Timeline {
  // points: [time in s, Map of a face's id to {label: p}]; the lines break where the face was not found.
  constructor(canvas) {
    this.canvas = canvas;
    this.points = [];
    this.labels = [];
  }

  reset(labels, window_s) {
    this.points = [];
    this.labels = labels;
    this.window = window_s; // seconds shown, or 0 for all
  }

  add(time, faces) {
    this.points.push([time, new Map(faces.map((face, index) => [faceId(face, index), face.probs]))]);
    if (this.window) while (this.points[0][0] < time - this.window) this.points.shift();
    else if (this.points.length > 4000) this.points = this.points.filter((_, index) => index % 2);
  }

  of(id) {
    return this.points.map(([time, faces]) => [time, faces.get(id)]);
  }

  draw(id, duration) {
    const points = this.of(id);
    const scale = window.devicePixelRatio || 1;
    const width = (this.canvas.width = Math.round(this.canvas.clientWidth * scale));
    const height = (this.canvas.height = Math.round(this.canvas.clientHeight * scale));
    const context = this.canvas.getContext("2d");
    const pad = { left: 42 * scale, right: 6 * scale, top: 6 * scale, bottom: 20 * scale };
    const last = this.points.at(-1)?.[0] ?? 0;
    const end = this.window ? Math.max(last, this.window) : Math.max(duration || 0, last, 1);
    const start = this.window ? end - this.window : 0;
    const x = (t) => pad.left + ((t - start) / (end - start)) * (width - pad.left - pad.right);
    const y = (p) => pad.top + (1 - p) * (height - pad.top - pad.bottom);
    context.clearRect(0, 0, width, height);
    context.font = `${11 * scale}px system-ui, sans-serif`;
    context.fillStyle = css("--quiet");
    context.strokeStyle = css("--line");
    context.lineWidth = scale;
    context.textBaseline = "middle";
    for (const p of [0, 0.5, 1]) {
      context.beginPath();
      context.moveTo(pad.left, y(p));
      context.lineTo(width - pad.right, y(p));
      context.stroke();
      context.textAlign = "right";
      context.fillText(percent(p), pad.left - 4 * scale, y(p));
    }
    context.textBaseline = "bottom";
    context.textAlign = "left";
    context.fillText(`${start.toFixed(0)} s`, pad.left, height);
    context.textAlign = "right";
    context.fillText(`${end.toFixed(0)} s`, width - pad.right, height);
    context.lineWidth = 2 * scale;
    context.lineJoin = "round";
    this.labels.forEach((label) => {
      context.strokeStyle = colour(label);
      context.beginPath();
      let open = false;
      for (const [t, probs] of points) {
        if (probs) context[open ? "lineTo" : "moveTo"](x(t), y(probs[label]));
        open = probs !== undefined;
      }
      context.stroke();
    });
  }

  describe(id) {
    const seen = this.of(id).filter(([, probs]) => probs);
    if (!seen.length) return "No values yet";
    const mean = this.labels.map((label) => [label, seen.reduce((sum, [, p]) => sum + p[label], 0) / seen.length]);
    mean.sort((a, b) => b[1] - a[1]);
    const [first, last] = [this.points[0][0], this.points.at(-1)[0]];
    const top = mean.slice(0, 3).map(([label, p]) => `${label} ${percent(p)}`).join(", ");
    return `Probabilities from ${first.toFixed(0)} to ${last.toFixed(0)} seconds; on average ${top}`;
  }
}
