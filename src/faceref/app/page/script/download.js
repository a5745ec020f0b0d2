/** Results as files, under names that tell them from their photographs. */

import { make } from "./dom.js";
import { zip } from "./zip.js";

/** @typedef {{name: string, blob: Blob}} Result */

/** @type {Record<string, string>} */
const SUFFIXES = { "image/jpeg": "jpg", "image/tiff": "tif", "image/heic": "heic" };

/** @param {Result} result */
export function downloadOne(result) {
  save(result.blob, fileNames([result])[0]);
}

/** @param {Result[]} results */
export async function downloadAll(results) {
  const names = fileNames(results);
  const read = results.map(async ({ blob }, i) => ({ name: names[i], data: new Uint8Array(await blob.arrayBuffer()) }));
  save(zip(await Promise.all(read), new Date()), "restored.zip");
}

/** As the command names them: NAME_restored, and a number where that would be another's. @param {Result[]} results */
function fileNames(results) {
  /** @type {Set<string>} */
  const taken = new Set();
  return results.map(({ name, blob }) => {
    const stem = `${name.replace(/\.[^.]*$/, "")}_restored`;
    const suffix = SUFFIXES[blob.type] ?? blob.type.replace("image/", "");
    let file = `${stem}.${suffix}`;
    for (let number = 2; taken.has(file.toLowerCase()); number++) file = `${stem}_${number}.${suffix}`;
    taken.add(file.toLowerCase());
    return file;
  });
}

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // when the browser has surely begun to write it
}
