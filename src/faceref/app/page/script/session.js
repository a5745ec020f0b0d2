/** The jobs of this tab, so that a reload loses none: their ids and what the photographs were called. */

const KEY = "faceref-jobs";

/** @typedef {{id: string, name: string}} Remembered */

/** @param {Remembered[]} jobs */
export function remember(jobs) {
  const text = JSON.stringify(jobs);
  if (sessionStorage.getItem(KEY) !== text) sessionStorage.setItem(KEY, text);
}

/** @returns {Remembered[]} */
export function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  } catch {
    return [];
  }
}
