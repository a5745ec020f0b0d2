/** The people who are enrolled: read, changed, and said where that fails. */

import * as api from "./api.js";
import { words } from "./problem.js";
import { whoOf } from "./store.js";
import { leftOut } from "./wording.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./looking.js").Looking} Looking */

export class People {
  /** @param {Store} store @param {Looking} looking @param {(problem: string | null) => void} say what goes wrong */
  constructor(store, looking, say) {
    this.store = store;
    this.looking = looking;
    this.say = say;
  }

  /** Who is enrolled now: another tab and the command change that, too. @returns {Promise<void>} */
  async read() {
    const people = await api.people();
    const { chosen, people: known } = this.store.state;
    const [before, now] = [known, people].map((some) => new Map(some.map((one) => [one.name, versionOf(one)])));
    const isOther = (/** @type {string} */ name) => before.has(name) && before.get(name) !== now.get(name);
    const isStale = whoOf(this.store.state).people.some((name) => !now.has(name) || isOther(name));
    const left = new Set([...chosen].filter((name) => now.has(name)));
    this.store.change((state) => Object.assign(state, { people, chosen: left }));
    if (isStale) this.looking.lookAgain();
  }

  /** As `read`; says where that fails. */
  async refresh() {
    try {
      await this.read();
    } catch (error) {
      this.say(words(error));
    }
  }

  /** @param {string} name @param {{name: string, blob: Blob}[]} photos */
  async enroll(name, photos) {
    const enrolled = await this.#change(() => api.enroll(name, blobs(photos)));
    this.#sayWhatWasLeftOut(enrolled, photos);
    return enrolled;
  }

  /** @param {string} name @param {{name: string, blob: Blob}[]} photos */
  async addPhotos(name, photos) {
    const added = await this.#change(() => api.addPhotos(name, blobs(photos)));
    this.#sayWhatWasLeftOut(added, photos);
  }

  /** @param {string} name @param {string} to */
  rename(name, to) {
    return this.#change(async () => {
      await api.rename(name, to);
      const now = to.normalize("NFC").trim().replace(/\s+/g, " ");
      this.#callOtherwise(name, now);
      this.#lookAgainFor(now);
    });
  }

  /** @param {string} name @param {string} into */
  merge(name, into) {
    return this.#change(async () => {
      await api.merge(into, name);
      this.#callOtherwise(name, into);
      this.#lookAgainFor(into);
    });
  }

  /** @param {string} name */
  remove(name) {
    return this.#change(() => api.remove(name));
  }

  /** Who was looked for by a name is so by the new one. @param {string} name @param {string} to */
  #callOtherwise(name, to) {
    const { chosen, photos } = this.store.state;
    if (!chosen.delete(name)) return; // nor is a face said to be somebody who is not looked for
    chosen.add(to);
    for (const { byHand } of photos)
      for (const [face, choice] of byHand) if (choice.person === name) byHand.set(face, { ...choice, person: to });
  }

  /** Somebody is called otherwise, or known by other photographs. @param {string} name */
  #lookAgainFor(name) {
    if (whoOf(this.store.state).people.includes(name)) this.looking.lookAgain();
  }

  /** @param {import("./api.js").Read | null} read @param {{name: string}[]} photos */
  #sayWhatWasLeftOut(read, photos) {
    const names = photos.map(({ name }) => name);
    const said = [...(read?.references_left_out ?? []).map((one) => leftOut(one, names)), ...(read?.warnings ?? [])];
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

/** What changes whenever somebody is known by other photographs. @param {import("./types.js").Enrolled} person */
export function versionOf({ name, references, enrolled }) {
  return `${name} ${references} ${enrolled}`;
}

/** @param {{blob: Blob}[]} photos */
function blobs(photos) {
  return photos.map(({ blob }) => blob);
}
