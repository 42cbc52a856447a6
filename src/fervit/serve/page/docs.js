// Shows openapi.json; FastAPI's own page would load its scripts from elsewhere.

import { address } from "./api.js";

function make(tag, text, parent) {
  const element = document.createElement(tag);
  element.textContent = text;
  parent.append(element);
  return element;
}

function code(text, parent) {
  const block = make("pre", text, parent);
  block.tabIndex = 0; // it scrolls: the keyboard must reach it
  return block;
}

function curl(path, method, operation) {
  const content = operation.requestBody?.content ?? {};
  const lines = [`curl ${address(path)}`];
  if (operation.security) lines[0] += ' -H "Authorization: Bearer $TOKEN"';
  const form = content["multipart/form-data"];
  if (form) {
    const name = Object.keys(form.schema.properties)[0];
    const many = form.schema.properties[name].type === "array";
    lines[0] += many ? ` -F ${name}=@a.jpg -F ${name}=@b.jpg` : ` -F ${name}=@photo.jpg`;
  }
  if (content["image/jpeg"]) {
    lines.push(`curl ${address(path)} --data-binary @photo.jpg -H "Content-Type: image/jpeg"`);
  }
  if (content["application/json"]) {
    const field = Object.keys(content["application/json"].schema.properties)[0];
    const value = field === "image" ? '"BASE64"' : '["BASE64"]';
    lines.push(`curl ${address(path)} --json '{"${field}": ${value}}'`);
  }
  return lines.join("\n");
}

function example(operation, schemas) {
  const schema = operation.responses["200"]?.content?.["application/json"]?.schema;
  const name = schema?.$ref?.split("/").at(-1);
  return schemas[name]?.examples?.[0];
}

function show(path, method, operation, schemas, parent) {
  const section = make("section", "", parent);
  make("h2", `${method.toUpperCase()} ${path}`, section);
  make("p", operation.summary ?? "", section);
  code(curl(path, method, operation), section);
  for (const parameter of operation.parameters ?? []) {
    make("p", `?${parameter.name}: ${parameter.description ?? ""}`, section);
  }
  const body = example(operation, schemas);
  if (body) {
    make("h3", "Answer", section);
    code(JSON.stringify(body, null, 2), section);
  }
  const table = make("table", "", section);
  const head = make("tr", "", make("thead", "", table));
  for (const title of ["Status", "Meaning"]) make("th", title, head).scope = "col";
  const rows = make("tbody", "", table);
  for (const [status, answer] of Object.entries(operation.responses)) {
    const row = make("tr", "", rows);
    make("td", status, row);
    make("td", answer.description, row);
  }
}

const document_ = await (await fetch(address("/openapi.json"))).json();
document.getElementById("about").textContent = document_.info.description;
const main = document.getElementById("paths");
for (const [path, methods] of Object.entries(document_.paths)) {
  for (const [method, operation] of Object.entries(methods)) {
    show(path, method, operation, document_.components.schemas, main);
  }
}
const stream = make("section", "", main);
make("h2", "WS /v1/stream", stream);
make("p", "Send binary messages, one JPEG (or PNG, WebP) each; every response is the text of one JSON object: " +
  "frame (number of the message, from 0), dropped (frames that a newer one replaced before this), and " +
  "the fields of /v1/predict without model, or error. Every face has a track, a number that it keeps from " +
  "frame to frame. The newest frame wins: what arrives while a frame " +
  "is in work replaces what waits. A browser sends the token as the subprotocol fervit.bearer.BASE64URL " +
  "beside the subprotocol fervit; other clients send the Authorization header.", stream);
make("h2", "Errors", main);
make("p", "Every refusal is application/problem+json (RFC 9457).", main);
code(JSON.stringify(document_.components.schemas.ProblemRow.examples[0], null, 2), main);
