/** What this tab has asked for, so that loading it again loses nothing of it; the pictures are with the server. */

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Choice} Choice */

/**
 * earlier: the job of the result that it had before; references: what those of the job were called.
 * @typedef {{id: string, earlier?: string | null, name: string, references: string[], byHand: [number, Choice][],
 *   allTheSame: boolean, strength: [number, number][], changed: boolean}} RememberedJob
 * @typedef {{jobs: RememberedJob[], who: State["who"], chosen: string[], options: Record<string, unknown>}} Remembered
 */

const KEY = "faceref";
/** @type {Remembered} */
const NOTHING = { jobs: [], who: "references", chosen: [], options: {} };

/** @param {State} state */
export function remember(state) {
  const { who, chosen, options } = state;
  const jobs = state.photos.flatMap(({ job, earlier, name, sent, byHand, allTheSame, strength, changed }) => {
    const last = job ? { job, sent, changed } : earlier && { ...earlier, changed: true };
    if (!last) return [];
    const known = { id: last.job.id, earlier: (job && earlier?.job.id) ?? null, references: last.sent, changed: last.changed };
    return [{ ...known, name, byHand: [...byHand], allTheSame, strength: [...strength] }];
  });
  const text = JSON.stringify({ jobs, who, chosen: [...chosen], options });
  if (sessionStorage.getItem(KEY) !== text) sessionStorage.setItem(KEY, text);
}

/** @returns {Remembered} */
export function remembered() {
  try {
    return { ...NOTHING, ...JSON.parse(sessionStorage.getItem(KEY) ?? "{}") };
  } catch {
    return NOTHING;
  }
}
