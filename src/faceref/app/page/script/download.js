/** Results as files, under names that tell them from their photographs. */

import { make } from "./dom.js";
import { zip } from "./zip.js";

/** @typedef {{name: string, blob: Blob}} Result */

/** @type {Record<string, string>} */
const SUFFIXES = { "image/jpeg": "jpg", "image/tiff": "tif", "image/heic": "heic" };

const MOST = 4e9; // bytes: without ZIP64 an archive has at most 2 ** 32, of which its headers take some

/** @param {Result} result */
export function downloadOne(result) {
  save(result.blob, fileNames([result])[0]);
}

/** As one archive. Throws where they are too large for that. @param {Result[]} results */
export async function downloadAll(results) {
  if (results.reduce((sum, { blob }) => sum + blob.size, 0) > MOST) {
    throw new Error("The results are more than 4 GB together, which no archive of this page holds; download them one by one.");
  }
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
