// Hands the results over as files, made in the browser.

import { faceId } from "./view.js";

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function saveJson(record) {
  save(new Blob([JSON.stringify(record, null, 1)], { type: "application/json" }), "fervit.json");
}

export function saveCsv(record) {
  const head = ["time_s", "face", "x1", "y1", "x2", "y2", "face_score", "label", "score", ...record.labels];
  const lines = record.rows.flatMap((row) =>
    row.faces.map((face, index) =>
      [row.time_s, faceId(face, index), ...face.box, face.face_score, face.label, face.score,
        ...record.labels.map((label) => face.probs[label])].join(","),
    ),
  );
  save(new Blob([[head.join(","), ...lines, ""].join("\n")], { type: "text/csv" }), "fervit.csv");
}

export function savePng(canvas) {
  canvas.toBlob((blob) => blob && save(blob, "fervit.png"), "image/png");
}
