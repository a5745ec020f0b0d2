/** The people who are enrolled: read, changed, and said where that fails. */

import * as api from "./api.js";
import { words } from "./problem.js";

/** @typedef {import("./store.js").Store} Store */

export class People {
  /** @param {Store} store @param {(problem: string | null) => void} say what goes wrong */
  constructor(store, say) {
    this.store = store;
    this.say = say;
  }

  /** @returns {Promise<void>} */
  async read() {
    const people = await api.people();
    this.store.change((state) => {
      state.people = people;
      const names = new Set(people.map(({ name }) => name));
      state.chosen = new Set([...state.chosen].filter((name) => names.has(name)));
    });
  }

  /** @param {string} name @param {{name: string, blob: Blob}[]} photos */
  async enroll(name, photos) {
    const enrolled = await this.#change(() => api.enroll(name, blobs(photos)));
    this.#sayWhatWasLeftOut(enrolled, photos);
    return enrolled;
  }

  /** @param {string} name @param {{name: string, blob: Blob}[]} photos */
  async addPhotos(name, photos) {
    this.#sayWhatWasLeftOut(await this.#change(() => api.addPhotos(name, blobs(photos))), photos);
  }

  /** @param {string} name @param {string} to */
  rename(name, to) {
    return this.#change(() => api.rename(name, to));
  }

  /** @param {string} name @param {string} into */
  merge(name, into) {
    return this.#change(() => api.merge(into, name));
  }

  /** @param {string} name */
  remove(name) {
    return this.#change(() => api.remove(name));
  }

  /** @param {import("./api.js").Read | null} read @param {{name: string}[]} photos */
  #sayWhatWasLeftOut(read, photos) {
    const said = [...(read?.references_left_out ?? []).map((one) => leftOut(one, photos)), ...(read?.warnings ?? [])];
    if (said.length) this.say(said.join(" "));
  }

  /** @template T @param {() => Promise<T>} work @returns {Promise<T | null>} null where it failed, which is said */
  async #change(work) {
    this.say(null);
    try {
      const changed = await work();
      await this.read();
      return changed;
    } catch (error) {
      this.say(words(error));
      return null;
    }
  }
}

/** @param {{blob: Blob}[]} photos */
function blobs(photos) {
  return photos.map(({ blob }) => blob);
}

/** The server knows photographs by their number. @param {{name: string, reason: string}} one @param {{name: string}[]} photos */
function leftOut({ name, reason }, photos) {
  const number = Number(/^picture (\d+)$/.exec(name)?.[1]);
  return `${photos[number - 1]?.name ?? name} was left out: ${reason}.`;
}
