// Talks to the service that the page came from, and to nothing else.

// Behind a proxy the service may lie under a path prefix: this file is PREFIX/page/api.js.
const root = new URL("../", import.meta.url);

export const address = (path) => new URL(path.slice(1), root).href;

let token = sessionStorage.getItem("fervit-token") ?? "";

export class ServiceError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export function setToken(value) {
  token = value;
  sessionStorage.setItem("fervit-token", value);
}

function headers() {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(address(path), { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new ServiceError("The service cannot be reached. Is it still running?", 0);
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = body.detail ? `: ${body.detail}` : "";
    throw new ServiceError(`${body.title ?? `The service responded with status ${answer.status}`}${detail}.`, answer.status);
  }
  return body;
}

export const getModel = () => ask("/v1/model");

export const predict = (file) =>
  ask("/v1/predict", { method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" } });

// Browsers cannot send headers with a WebSocket: the token travels as a subprotocol.
function protocols() {
  if (!token) return ["fervit"];
  const bytes = String.fromCharCode(...new TextEncoder().encode(token));
  const encoded = btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return ["fervit", `fervit.bearer.${encoded}`];
}

const CLOSED = {
  1003: "The service takes images only.",
  1008: "The stream was idle for too long.",
  1009: "A frame was too large for the service.",
  1012: "The service is restarting.",
  1013: "The service runs as many streams as it may; try again later.",
};

export class Stream {
  // onAnswer(row, sentAt, tag) for every response, in the order of the frames; onEnd(message or null) once.
  constructor(onAnswer, onEnd) {
    this.sent = new Map(); // frame number -> [time, tag]
    this.next = 0;
    this.newest = -1; // frame that was answered
    this.closing = false;
    this.socket = new WebSocket(address("/v1/stream").replace(/^http/, "ws"), protocols());
    this.socket.onmessage = (event) => {
      const row = JSON.parse(event.data);
      if (!this.sent.has(row.frame) || row.frame <= this.newest) return; // late: a newer frame has its response
      const [sentAt, tag] = this.sent.get(row.frame);
      this.newest = row.frame;
      for (const frame of this.sent.keys()) if (frame <= row.frame) this.sent.delete(frame);
      onAnswer(row, sentAt, tag);
    };
    this.socket.onclose = (event) =>
      onEnd(this.closing ? null : (CLOSED[event.code] ?? "The stream to the service broke off."));
  }

  // Two frames under way keep the service busy while a response is under way.
  get ready() {
    return this.socket.readyState === WebSocket.OPEN && this.sent.size < 2;
  }

  get idle() {
    return this.sent.size === 0;
  }

  send(blob, tag) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.sent.set(this.next++, [performance.now(), tag]);
    this.socket.send(blob);
  }

  close() {
    this.closing = true;
    this.socket.close();
  }
}
