/** Pictures of any format as something that the browser can show. */

import { preview } from "./api.js";

/** @typedef {import("./types.js").Shown} Shown */

/**
 * By the browser itself, or by the server where it cannot (HEIC, TIFF). Throws the server's `Problem` for no picture.
 * @param {Blob} blob @returns {Promise<Shown>}
 */
export async function show(blob) {
  try {
    return await load(blob);
  } catch {
    return load(await preview(blob));
  }
}

/** @param {Shown | null} shown */
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
