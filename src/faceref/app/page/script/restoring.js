/** Photographs are restored: sent, followed, cancelled, and gone on with after a reload. */

import { cancel, follow, photoOf, readJob, referenceOf, submit } from "./api.js";
import { forget, show, showResult } from "./pictures.js";
import { isAbort, isAway, Problem, words } from "./problem.js";
import { remembered } from "./session.js";
import { isToDo, optionsFor, restoredFaces, whoOf } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./looking.js").Looking} Looking */
/** @typedef {import("./strength.js").Strength} Strength */
/** @typedef {import("./types.js").Photo} Photo */
/** @typedef {import("./types.js").Job} Job */

const PAUSE = 5000; // milliseconds before a server that does not answer is asked again

export class Restoring {
  /** @type {WeakMap<Photo, Promise<void>>} */
  #resuming = new WeakMap();

  /** @param {Store} store @param {Looking} looking @param {Strength} strength */
  constructor(store, looking, strength) {
    this.store = store;
    this.looking = looking;
    this.strength = strength;
  }

  /** Restore all that is new or was changed; they are sent one after the other. */
  restoreAll() {
    return this.restore(this.store.state.photos.filter(isToDo));
  }

  /** @param {Photo[]} photos */
  async restore(photos) {
    const begun = photos.map((photo) => /** @type {const} */ ([photo, this.#begin(photo)]));
    for (const [photo, signal] of begun) await this.#send(photo, signal);
  }

  /** @param {Photo} photo */
  async cancel(photo) {
    await this.#resuming.get(photo); // it may have a result to go back to
    if (!photo.file) return this.remove(photo); // it was with the server alone
    photo.asking.abort();
    this.#giveUp(photo, null);
  }

  /** @param {Photo} photo */
  remove(photo) {
    photo.asking.abort();
    for (const job of [photo.job, photo.earlier?.job]) this.#forget(job?.id);
    for (const shown of [photo.shown, photo.full, photo.cleaned, photo.exact?.shown]) forget(shown);
    this.store.change((state) => {
      const at = state.photos.indexOf(photo);
      if (at < 0) return;
      state.photos.splice(at, 1);
      if (state.current !== photo.id) return;
      state.current = (state.photos[at] ?? state.photos[at - 1])?.id ?? null;
      state.face = null;
    });
  }

  /** Be as this tab was before it was loaded again: its jobs go on, with those who were looked for, and how. */
  async resume() {
    const { jobs, who, chosen, options } = remembered();
    this.store.change((state) => Object.assign(state, { who, options, chosen: new Set(chosen) }));
    const photos = this.looking.take(jobs.map(({ name }) => ({ name, blob: null })));
    photos.forEach((photo, i) => this.#resuming.set(photo, this.#resume(photo, jobs[i])));
    await Promise.all(photos.map((photo) => this.#resuming.get(photo)));
    const last = photos.findLast(({ file, sent }) => file && sent.length);
    if (last?.job) await this.#resumeReferences(last.job.id, last.sent);
  }

  /** @param {Photo} photo @param {import("./session.js").RememberedJob} remembered */
  async #resume(photo, remembered) {
    const { id, earlier, references, byHand, allTheSame = false, strength, changed = false } = remembered;
    const waiting = { id, state: "waiting", ahead: 0, steps_done: 0, steps: null, account: null, problem: null };
    const before = earlier ? { job: { ...waiting, id: earlier }, sent: references } : null;
    const known = { state: "busy", job: waiting, earlier: before, sent: references, byHand: new Map(byHand), allTheSame, strength: new Map(strength), changed };
    this.store.change(() => Object.assign(photo, known));
    const { signal } = photo.asking;
    try {
      const job = await readJob(id);
      if (earlier) await this.#resumeEarlier(photo, earlier, signal);
      const keeping = job.state === "failed" ? photo.earlier?.job.id : id;
      photo.file = keeping ? await photoOf(keeping) : null;
      const shown = photo.file && (await show(photo.file));
      this.store.change(() => Object.assign(photo, { job, shown, problem: null }));
      void this.#follow(photo, id, signal);
    } catch (error) {
      if (signal.aborted) return;
      if (isAway(error)) return void this.#resumeLater(photo, remembered, words(error));
      this.store.change((state) => (state.message = `${photo.name}: ${words(error)}`));
      this.remove(photo);
    }
  }

  /** The result that it had stays until the job is done. @param {Photo} photo @param {string} id @param {AbortSignal} signal */
  async #resumeEarlier(photo, id, signal) {
    try {
      const job = await readJob(id);
      const exact = await showResult(id, "", signal);
      if (signal.aborted) return forget(exact.shown);
      this.store.change(() => Object.assign(photo, { account: job.account, exact, earlier: { job, sent: photo.sent } }));
    } catch (error) {
      if (isAbort(error) || isAway(error)) throw error;
      this.store.change(() => (photo.earlier = null)); // its time is over
    }
  }

  /** @param {Photo} photo @param {import("./session.js").RememberedJob} remembered @param {string} problem */
  async #resumeLater(photo, remembered, problem) {
    const { signal } = photo.asking;
    this.store.change(() => (photo.problem = problem));
    await pause();
    if (signal.aborted) return;
    await this.#resume(photo, remembered);
    const { job, file, sent } = photo;
    if (job && file && sent.length && !this.store.state.references.length) await this.#resumeReferences(job.id, sent);
  }

  /** @param {string} id @param {string[]} names */
  async #resumeReferences(id, names) {
    const files = await Promise.all(names.map((_, i) => referenceOf(id, i + 1)));
    const references = await Promise.all(files.map(async (blob, i) => ({ name: names[i], blob, shown: await show(blob) })));
    this.store.change((state) => (state.references = references));
  }

  /** What it was restored to stays until it is restored again. @param {Photo} photo @returns {AbortSignal} of all that is asked for it from now on */
  #begin(photo) {
    const { job, sent } = photo;
    photo.asking.abort();
    photo.asking = new AbortController();
    this.store.change((state) => {
      state.boxes = false;
      state.message = null; // of what was before
      const earlier = job && { job, sent };
      Object.assign(photo, { state: "busy", looking: false, job: null, earlier, begun: null, problem: null });
    });
    return photo.asking.signal;
  }

  /** @param {Photo} photo @param {AbortSignal} signal */
  async #send(photo, signal) {
    const { state } = this.store;
    if (signal.aborted || !photo.file) return;
    try {
      const shown = photo.shown ?? (await show(photo.file)); // it may not have been its turn to be looked at
      if (signal.aborted) return forget(photo.shown ? null : shown);
      this.store.change(() => (photo.shown = shown));
      const who = whoOf(state);
      const sent = who.references.length ? state.references.map(({ name }) => name) : [];
      photo.changed = false; // what changes from now on asks for another restoration
      const job = await submit(photo.file, who, optionsFor(state, photo));
      if (signal.aborted) return this.#forget(job.id); // while it was being sent
      this.store.change(() => Object.assign(photo, { job, sent }));
      void this.#follow(photo, job.id, signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(photo, words(error));
    }
  }

  /** Until it is over, however often the server cannot be reached: there it goes on. @param {Photo} photo @param {string} id @param {AbortSignal} signal */
  async #follow(photo, id, signal) {
    for (;;) {
      try {
        for await (const job of follow(id, signal)) {
          this.store.change(() => {
            Object.assign(photo, { job, problem: null });
            if (job.steps !== null) photo.begun ??= performance.now();
          });
          if (job.problem) throw new Problem(job.problem, 422);
          if (job.account) await this.#finish(photo, job, signal);
        }
        return;
      } catch (error) {
        if (signal.aborted || isAbort(error)) return;
        if (!isAway(error)) return this.#fail(photo, words(error));
        this.store.change(() => (photo.problem = words(error)));
        await pause();
        if (signal.aborted) return;
      }
    }
  }

  /** @param {Photo} photo @param {Job} job @param {AbortSignal} signal */
  async #finish(photo, job, signal) {
    const exact = await showResult(job.id, "", signal);
    if (signal.aborted) return forget(exact.shown);
    for (const shown of [photo.full, photo.cleaned, photo.exact?.shown]) forget(shown);
    this.#forget(photo.earlier?.job.id);
    this.store.change(() => {
      const none = { earlier: null, full: null, cleaned: null, problem: null };
      Object.assign(photo, { state: "done", account: job.account, exact, ...none });
    });
    const numbers = new Set(restoredFaces(photo).map(({ number }) => number));
    const strength = new Map([...photo.strength].filter(([face]) => numbers.has(face)));
    this.store.change(() => (photo.strength = strength)); // as it was set for the result before
    if (!numbers.size) return; // there is nothing to set the strength of
    const { shown: full } = await showResult(job.id, "1", signal);
    let cleaned = null;
    try {
      if (job.account?.background) cleaned = (await showResult(job.id, "0", signal)).shown;
      signal.throwIfAborted();
    } catch (error) {
      [full, cleaned].forEach(forget); // nobody is going to see them
      throw error;
    }
    this.store.change(() => Object.assign(photo, { full, cleaned }));
    await this.strength.settle(photo, signal);
  }

  /** @param {Photo} photo @param {string} problem */
  #fail(photo, problem) {
    if (photo.state === "done") return this.store.change(() => (photo.problem = problem)); // what is shown stays
    this.#giveUp(photo, problem);
  }

  /** Be as it was before it was sent. @param {Photo} photo @param {string | null} problem */
  #giveUp(photo, problem) {
    const { job, earlier, file, account, changed } = photo;
    this.#forget(job?.id);
    const result = earlier && { state: "done", ...earlier, changed: true };
    const lost = !file && { refused: true, problem: `${problem} Give ${photo.name} once more to try again.` };
    const ready = { state: "ready", job: null, problem };
    this.store.change(() => Object.assign(photo, { ...ready, ...result, ...lost, earlier: null }));
    if (file && (!account || changed)) void this.#look(photo, problem); // for what was changed while it was busy, too
  }

  /** What went wrong is still said when its faces were found. @param {Photo} photo @param {string | null} problem */
  async #look(photo, problem) {
    await this.looking.look(photo);
    if (photo.state !== "busy" && problem) this.store.change(() => (photo.problem ??= problem));
  }

  /** Nothing of a job stays on the server, as soon as that can be reached. @param {string | null | undefined} id */
  async #forget(id) {
    while (id) {
      try {
        return await cancel(id);
      } catch (error) {
        if (!isAway(error)) return; // it is gone already
        await pause();
      }
    }
  }
}

/** @returns {Promise<void>} */
function pause() {
  return new Promise((resolve) => setTimeout(resolve, PAUSE));
}

/**
 * What a job waits for, in words, and how far it is, 0 to 1; null where nobody knows.
 * @param {Photo} photo @param {number} behind  how many come after it @param {number} now @returns {{said: string, part: number | null}}
 */
export function progress(photo, behind, now) {
  const { job, begun } = photo;
  const others = behind ? `, then ${behind} more` : "";
  if (job === null) return { said: `Sending${others}`, part: null };
  if (job.state === "waiting") return { said: (job.ahead ? `Waiting for ${job.ahead} before it` : "Waiting") + others, part: null };
  if (job.steps === null || begun === null) return { said: `Looking for faces${others}`, part: null };
  const part = job.steps_done / job.steps;
  return { said: timeLeft(part, behind, now - begun) ?? `Restoring${others}`, part };
}

/** Measured: the others take as long as this one, as far as anybody knows. @param {number} part @param {number} behind @param {number} elapsed milliseconds */
function timeLeft(part, behind, elapsed) {
  if (part <= 0.05 || part >= 1) return null;
  const seconds = Math.ceil((elapsed * (1 - part + behind)) / part / 1000);
  const left = seconds < 90 ? `About ${seconds} s left` : `About ${Math.round(seconds / 60)} min left`;
  return behind ? `${left} for ${behind + 1} photographs` : left;
}
