/** What goes wrong, in the sentence that the command would say. */

/** @typedef {import("./types.js").Said} Said */

/** @param {Said} said @returns {string} */
export function sentence({ subject, reason, hint }) {
  const about = subject === null ? reason : `${subject} ${reason}`;
  return hint ? `${about}; ${hint}.` : `${about}.`;
}

export class Problem extends Error {
  /** @param {Said} said @param {number} status of HTTP, 0 where no server answered @param {number | null} retryAfter seconds */
  constructor(said, status, retryAfter = null) {
    super(sentence(said));
    this.code = said.code;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  /** @param {Response} answer */
  static async of(answer) {
    const wait = Number.parseInt(answer.headers.get("retry-after") ?? "", 10);
    const said = await answer.json().catch(() => null);
    const known = said && typeof said.reason === "string" ? said : byProxy(answer.status);
    return new Problem(known, answer.status, Number.isNaN(wait) ? null : wait);
  }

  static noAnswer() {
    return new Problem({ ...nothing("The server does not answer"), hint: "see whether faceref serve still runs" }, 0);
  }
}

/** @param {string} reason @returns {Said} */
function nothing(reason) {
  return { code: "http", subject: null, reason, hint: null };
}

/** What is not said in the server's words was said by something between it and the page. @param {number} status @returns {Said} */
function byProxy(status) {
  if (status !== 413) return nothing(`The answer was ${status}`);
  const reason = "This is more than the proxy before the server lets through";
  return { ...nothing(reason), hint: "give a smaller photograph, or fewer or smaller photographs of the person" };
}

/** @param {unknown} error @returns {string} */
export function words(error) {
  return error instanceof Error ? error.message : String(error);
}

const AWAY = new Set([0, 502, 503, 504]); // nobody answered, or a proxy said so in the server's place

/** @param {unknown} error @returns {error is Problem} whether it is only that the server cannot be reached, for now */
export function isAway(error) {
  return error instanceof Problem && AWAY.has(error.status);
}

/** @param {Problem} error whether it is worth waiting: what is kept has to be deleted, or is for an hour */
export function isBusy(error) {
  return error.status === 429 && error.retryAfter !== null && error.code !== "too_many_kept";
}

/** @param {unknown} error whether it is only that something was broken off on purpose */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}
