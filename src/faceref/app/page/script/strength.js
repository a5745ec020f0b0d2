/** How much of the restored faces is shown: blended at once here, then composed by the server as it is downloaded. */

import { forget, showResult } from "./pictures.js";
import { isAbort, words } from "./problem.js";
import { restoredFaces, strengthAsked } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Photo} Photo */

const REST = 300; // milliseconds that the slider is left alone before the server is asked

export class Strength {
  /** @type {Map<Photo, AbortController>} */
  #asking = new Map();

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
  }

  /** Of all faces. @param {Photo} photo @param {number | null} strength 0 to 1; null: as much as each face needs */
  setAll(photo, strength) {
    const faces = strength === null ? [] : restoredFaces(photo);
    return this.#set(photo, new Map(faces.map(({ number }) => [number, /** @type {number} */ (strength)])));
  }

  /** @param {Photo} photo @param {number} face its number @param {number} strength 0 to 1 */
  setOne(photo, face, strength) {
    return this.#set(photo, new Map(photo.strength).set(face, strength));
  }

  /** @param {Photo} photo @param {Map<number, number>} strength */
  async #set(photo, strength) {
    this.#asking.get(photo)?.abort();
    const asking = new AbortController();
    this.#asking.set(photo, asking);
    this.store.change(() => (photo.strength = strength));
    await new Promise((resolve) => setTimeout(resolve, REST));
    if (!asking.signal.aborted) await this.settle(photo, asking.signal);
  }

  /**
   * The picture as it is downloaded, at the strength that is set.
   * @param {Photo} photo @param {AbortSignal} [signal] @returns {Promise<Blob | null>} null where that failed, which is said
   */
  async settle(photo, signal) {
    const { job, exact } = photo;
    const strength = strengthAsked(photo);
    if (exact && exact.strength === strength) return exact.blob;
    if (!job) return null;
    try {
      const result = await showResult(job.id, strength, signal);
      if (photo.job?.id !== job.id) forget(result.shown); // it was restored again meanwhile: that has another picture
      else
        this.store.change(() => {
          forget(photo.exact?.shown);
          photo.exact = result;
        });
      return result.blob;
    } catch (error) {
      if (!isAbort(error) && photo.job?.id === job.id) this.store.change((state) => (state.message = `${photo.name}: ${words(error)}`));
      return null;
    }
  }
}
