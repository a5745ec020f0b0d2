/** Photographs are taken in, and their faces are looked for, one photograph after the other. */

import { findFaces } from "./api.js";
import { forget, show } from "./pictures.js";
import { isAbort, Problem, words } from "./problem.js";
import { isSomebodyGiven, optionsFor, whoOf } from "./store.js";

/** @typedef {import("./store.js").Store} Store */
/** @typedef {import("./types.js").Photo} Photo */

const NOBODY = { references: [], people: [] };

export class Looking {
  #last = Promise.resolve();
  #count = 0;

  /** @param {Store} store */
  constructor(store) {
    this.store = store;
  }

  /** @param {{name: string, blob: Blob | null}[]} files @returns {Photo[]} not looked at yet */
  take(files) {
    const photos = files.map(({ name, blob }) => newPhoto(`photo-${this.#count++}`, name, blob));
    this.store.change((state) => {
      state.photos.push(...photos);
      state.current ??= photos[0]?.id ?? null;
      state.message = null;
    });
    return photos;
  }

  /** Show photographs and look for their faces. @param {{name: string, blob: Blob}[]} files @returns {Promise<Photo[]>} */
  async add(files) {
    const photos = this.take(files);
    this.store.change((state) => (state.current = photos[0]?.id ?? state.current));
    await Promise.all(photos.map((photo) => this.look(photo)));
    return photos;
  }

  /** @param {File[]} files photographs of one person */
  async addReferences(files) {
    for (const file of files) {
      try {
        const reference = { name: file.name, blob: file, shown: await show(file) };
        this.store.change((state) => state.references.push(reference));
      } catch (error) {
        this.store.change((state) => (state.message = `${file.name}: ${words(error)}`));
      }
    }
    this.lookAgain();
  }

  /** @param {number} index */
  removeReference(index) {
    this.store.change((state) => {
      for (const gone of state.references.splice(index, 1)) forget(gone.shown);
    });
    this.lookAgain();
  }

  /** Something is asked otherwise, or of others: look anew, but for what is being restored, as it was asked before. */
  lookAgain() {
    const { state } = this.store;
    for (const photo of state.photos) {
      this.store.change(() => {
        photo.changed = true;
        for (const [face, choice] of photo.byHand) if (!isPossible(state, choice)) photo.byHand.delete(face);
      });
      if (photo.state !== "busy") void this.look(photo);
    }
  }

  /** @param {Photo} photo @returns {Promise<void>} */
  look(photo) {
    photo.asking.abort();
    photo.asking = new AbortController();
    const { signal } = photo.asking;
    this.store.change(() => (photo.looking = true));
    this.#last = this.#last.then(() => this.#look(photo, signal));
    return this.#last;
  }

  /** @param {Photo} photo @param {AbortSignal} signal */
  async #look(photo, signal) {
    if (signal.aborted || !photo.file) return;
    try {
      const shown = photo.shown ?? (await show(photo.file));
      this.store.change(() => (photo.shown = shown));
      await this.#match(photo, photo.file, signal);
    } catch (error) {
      if (isAbort(error)) return;
      const refused = error instanceof Problem && error.status >= 400 && error.status < 500 && error.status !== 429;
      this.store.change(() => Object.assign(photo, { account: null, problem: words(error), refused }));
    } finally {
      if (!signal.aborted) this.store.change(() => (photo.looking = false));
    }
  }

  /** @param {Photo} photo @param {Blob} file @param {AbortSignal} signal */
  async #match(photo, file, signal) {
    const { state } = this.store;
    const options = optionsFor(state, { ...photo, byHand: new Map() });
    let problem = null;
    let account = null;
    try {
      account = await findFaces(file, whoOf(state), options, signal);
    } catch (error) {
      if (!(error instanceof Problem) || !isSomebodyGiven(state) || error.code === "photo") throw error;
      problem = words(error); // of those who are looked for: the faces are shown nevertheless, so that one can be chosen
      account = await findFaces(file, NOBODY, { ...options, guidance: undefined }, signal); // it is towards references
    }
    this.store.change(() => {
      Object.assign(photo, { account, problem, refused: false });
    });
  }
}

/** Whether a face can still be who it was said to be. @param {import("./types.js").State} state @param {import("./types.js").Choice} choice */
function isPossible(state, { become, person }) {
  if (become !== "person") return true;
  return person === null ? state.who === "references" && state.references.length > 0 : whoOf(state).people.includes(person);
}

/** @param {string} id @param {string} name @param {Blob | null} file @returns {Photo} */
function newPhoto(id, name, file) {
  return {
    id,
    name,
    file,
    shown: null,
    state: "ready",
    looking: false,
    account: null,
    byHand: new Map(),
    allTheSame: false,
    job: null,
    sent: [],
    earlier: null,
    begun: null,
    asking: new AbortController(),
    problem: null,
    refused: false,
    full: null,
    cleaned: null,
    exact: null,
    strength: new Map(),
    changed: false,
  };
}
