/** Pictures of any format as something that the browser can show. */

import { preview, result, resultPreview } from "./api.js";
import { isAbort, isAway, words } from "./problem.js";

/** @typedef {import("./types.js").Shown} Shown */
/** @typedef {import("./types.js").Result} Result */

const EXIF = 0x45584946; // WebP's chunk of that name
const ORIENTATION = 0x0112; // EXIF's tag

/**
 * By the browser itself, or by the server where it cannot (HEIC, TIFF) or would show it lying (WebP). Throws the
 * server's `Problem` for no picture.
 * @param {Blob} blob @param {() => Promise<Blob>} [asJpeg] the server's preview of it @returns {Promise<Shown>}
 */
export async function show(blob, asJpeg = () => preview(blob)) {
  try {
    if (!(await isTurnedWebp(blob))) return await load(blob);
  } catch {
    // no picture for a browser
  }
  return load(await asJpeg());
}

/**
 * A result, also where nothing can show it: it is there to be downloaded. Throws where the server cannot be reached.
 * @param {string} id of its job @param {string} strength see `strengthAsked` @param {AbortSignal} [signal] @returns {Promise<Result>}
 */
export async function showResult(id, strength, signal) {
  const blob = await result(id, strength, signal);
  try {
    return { blob, strength, shown: await show(blob, () => resultPreview(id, strength, signal)), unshown: null };
  } catch (error) {
    if (isAbort(error) || isAway(error)) throw error;
    return { blob, strength, shown: null, unshown: `The result can be downloaded, but not shown here: ${words(error)}` };
  }
}

/** @param {Shown | null} [shown] */
export function forget(shown) {
  if (shown) URL.revokeObjectURL(shown.url);
}

/** @param {Blob} blob @returns {Promise<Shown>} */
async function load(blob) {
  const url = URL.createObjectURL(blob);
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch (error) {
    URL.revokeObjectURL(url);
    throw error;
  }
  return { url, image };
}

/** Whether it is a WebP whose EXIF says that it is to be turned, which not all browsers do. @param {Blob} blob */
async function isTurnedWebp(blob) {
  const head = await blob.slice(0, 12).text();
  if (!head.startsWith("RIFF") || !head.endsWith("WEBP")) return false;
  const file = new DataView(await blob.arrayBuffer());
  for (let at = 12; at + 8 <= file.byteLength; ) {
    const size = file.getUint32(at + 4, true);
    if (file.getUint32(at) === EXIF) return orientation(new DataView(file.buffer, at + 8, size)) > 1;
    at += 8 + size + (size % 2);
  }
  return false;
}

/** EXIF's, from 1, which is upright. @param {DataView} exif */
function orientation(exif) {
  const little = exif.getUint16(0) === 0x4949;
  const start = exif.getUint32(4, little);
  for (let number = 0; number < exif.getUint16(start, little); number++) {
    const field = start + 2 + 12 * number;
    if (exif.getUint16(field, little) === ORIENTATION) return exif.getUint16(field + 8, little);
  }
  return 1;
}
