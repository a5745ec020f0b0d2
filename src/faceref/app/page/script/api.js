/** The server's API as functions; each throws `Problem`. */

import { isAway, isBusy, Problem } from "./problem.js";
import { jsonEvents } from "./events.js";
import { askForToken, authorization } from "./token.js";

/**
 * @typedef {import("./types.js").Account} Account
 * @typedef {import("./types.js").Enrolled} Enrolled
 * @typedef {import("./types.js").Job} Job
 * @typedef {{references: Blob[], people: string[]}} Who
 * @typedef {{references_left_out: {name: string, reason: string}[], warnings: string[]}} Read
 */

const TRIES = 4; // of a request that may be sent again, where no server answers
const PAUSE = 1500; // milliseconds between them
const STREAMS = 2; // at once: browsers open six connections to a server, for all tabs together

class Slots {
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {number} free */
  constructor(free) {
    this.free = free;
  }

  /** @returns {Promise<void>} when it is one's turn */
  take() {
    if (this.free === 0) return new Promise((go) => this.#waiting.push(go));
    this.free--;
    return Promise.resolve();
  }

  give() {
    const next = this.#waiting.shift();
    if (next) next();
    else this.free++;
  }
}

const streams = new Slots(STREAMS);

/**
 * @param {Blob} photo @param {Who} who @param {object} options @param {AbortSignal} signal
 * @returns {Promise<Account>}
 */
export async function findFaces(photo, who, options, signal) {
  return json(await sendAgain("POST", "/v1/faces", { body: form(photo, who, options), signal }));
}

/**
 * Have a photograph restored; a broken connection restores it no second time. It is not broken off: once the server has
 * the photograph, only who knows the job's id can have it forgotten.
 * @param {Blob} photo @param {Who} who @param {object} options
 * @returns {Promise<Job>}
 */
export async function submit(photo, who, options) {
  const headers = { "Idempotency-Key": randomKey() };
  return json(await sendAgain("POST", "/v1/restore", { body: form(photo, who, options), headers }));
}

/** @param {string} id @returns {Promise<Job>} */
export async function readJob(id) {
  return json(await sendAgain("GET", `/v1/jobs/${id}`));
}

/**
 * The job whenever something of it changes, until it is over; few at once, the first that were asked for.
 * @param {string} id @param {AbortSignal} signal @returns {AsyncGenerator<Job>}
 */
export async function* follow(id, signal) {
  await streams.take();
  try {
    for (;;) {
      const answer = await sendAgain("GET", `/v1/jobs/${id}/events`, { signal });
      try {
        for await (const [event, said] of jsonEvents(answer)) {
          if (event === "gone") throw new Problem(said, 404);
          yield said;
          if (said.state === "done" || said.state === "failed") return;
        }
      } catch (error) {
        if (!(error instanceof TypeError)) throw error; // else the connection broke: it is followed anew
      }
    }
  } finally {
    streams.give();
  }
}

/** @param {string} id @param {string} strength see `strengthAsked` @param {AbortSignal} [signal] @returns {Promise<Blob>} */
export async function result(id, strength, signal) {
  const shown = strength && `&strength=${strength}`;
  return picture(await sendAgain("GET", `/v1/jobs/${id}/result?keep=true${shown}`, { signal }));
}

/** The same as a JPEG, which the server makes of what it has: some results are larger than it takes. @param {string} id @param {string} strength @param {AbortSignal} [signal] @returns {Promise<Blob>} */
export async function resultPreview(id, strength, signal) {
  const shown = strength && `&strength=${strength}`;
  return picture(await sendAgain("GET", `/v1/jobs/${id}/result?keep=true&preview=true${shown}`, { signal }));
}

/** @param {string} id @returns {Promise<Blob>} */
export async function photoOf(id) {
  return picture(await sendAgain("GET", `/v1/jobs/${id}/photo`));
}

/** @param {string} id @param {number} number from 1 @returns {Promise<Blob>} */
export async function referenceOf(id, number) {
  return picture(await sendAgain("GET", `/v1/jobs/${id}/references/${number}`));
}

/** @param {string} id */
export async function cancel(id) {
  await send("DELETE", `/v1/jobs/${id}`);
}

/** @param {Blob} photo one that the browser cannot show @returns {Promise<Blob>} */
export async function preview(photo) {
  const body = new FormData();
  body.append("photo", photo, "photo");
  return picture(await sendAgain("POST", "/v1/preview", { body }));
}

/** @returns {Promise<Enrolled[]>} */
export async function people() {
  return json(await send("GET", "/v1/people"));
}

/** @param {string} name @param {Blob[]} photos @returns {Promise<{name: string} & Read>} */
export async function enroll(name, photos) {
  const body = photosForm(photos);
  body.append("name", name);
  return json(await send("POST", "/v1/people", { body }));
}

/** @param {string} name @param {Blob[]} photos @returns {Promise<{new: number} & Read>} */
export async function addPhotos(name, photos) {
  return json(await send("POST", `${personPath(name)}/photos`, { body: photosForm(photos) }));
}

/** @param {string} name @param {number} number from 1 @returns {Promise<Blob>} */
export async function faceOf(name, number) {
  return (await send("GET", `${personPath(name)}/faces/${number}`)).blob();
}

/** @param {string} name @param {string} to */
export async function rename(name, to) {
  await send("PATCH", personPath(name), withJson({ name: to }));
}

/** @param {string} name @param {string} other who becomes a part of `name` */
export async function merge(name, other) {
  await send("POST", `${personPath(name)}/merge`, withJson({ other }));
}

/** @param {string} name */
export async function remove(name) {
  await send("DELETE", personPath(name));
}

/** @returns {Promise<{name: string, resolution: number, licence: string}[]>} */
export async function models() {
  return json(await send("GET", "/v1/models"));
}

/** What the server takes on at most. @returns {Promise<{people: number}>} */
export async function limits() {
  return json(await send("GET", "/v1/limits"));
}

/** @param {Blob[]} photos */
function photosForm(photos) {
  const body = new FormData();
  for (const photo of photos) body.append("photos", photo, "photo");
  return body;
}

/** @param {string} name */
function personPath(name) {
  return `/v1/people/${encodeURIComponent(name)}`;
}

/** @param {Blob} photo @param {Who} who @param {object} options */
function form(photo, who, options) {
  const body = new FormData();
  body.append("photo", photo, "photo"); // what it is called stays here
  for (const reference of who.references) body.append("references", reference, "photo");
  for (const name of who.people) body.append("people", name);
  body.append("options", JSON.stringify(options));
  return body;
}

/** @param {object} content @returns {RequestInit} */
function withJson(content) {
  return { body: JSON.stringify(content), headers: { "Content-Type": "application/json" } };
}

/** @param {Response} answer @returns {Promise<Blob>} */
function picture(answer) {
  return answer.blob().catch((error) => {
    throw error instanceof TypeError ? Problem.noAnswer() : error; // the connection broke
  });
}

/** @param {Response} answer */
function json(answer) {
  return answer.json();
}

/** @param {string} method @param {string} path @param {RequestInit} [request] @returns {Promise<Response>} */
async function send(method, path, request = {}) {
  for (;;) {
    const token = authorization();
    const headers = { ...request.headers, ...token };
    const answer = await fetch(path, { ...request, method, headers }).catch((error) => {
      throw error instanceof TypeError ? Problem.noAnswer() : error;
    });
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await Problem.of(answer);
    await askForToken(token.Authorization);
  }
}

/**
 * As `send`, again where no server answers or it is busy: for requests that have no second effect.
 * @param {string} method @param {string} path @param {RequestInit} [request] @returns {Promise<Response>}
 */
async function sendAgain(method, path, request = {}) {
  for (let left = TRIES; ; left--) {
    try {
      return await send(method, path, request);
    } catch (error) {
      if (!(error instanceof Problem) || left === 1) throw error;
      if (!isAway(error) && !isBusy(error)) throw error;
      await new Promise((resolve) => setTimeout(resolve, error.retryAfter ? 1000 * error.retryAfter : PAUSE));
      request.signal?.throwIfAborted();
    }
  }
}

function randomKey() {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
}
