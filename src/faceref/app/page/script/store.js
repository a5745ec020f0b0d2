/** What the page knows, and who is told when it changes. */

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Photo} Photo */

export class Store {
  /** @type {State} */
  state = {
    photos: [],
    current: null,
    face: null,
    boxes: false,
    who: "references",
    references: [],
    chosen: new Set(),
    people: [],
    options: {},
    message: null,
  };
  /** @type {((state: State) => void)[]} */
  #views = [];
  #due = false;

  /** @param {(state: State) => void} view draws what has changed; it is called at once, too */
  subscribe(view) {
    this.#views.push(view);
    view(this.state);
  }

  /** Change something, and have it drawn, once for all that changes together. @param {(state: State) => void} edit */
  change(edit) {
    edit(this.state);
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      for (const view of this.#views) view(this.state);
    });
  }
}

/** @param {State} state @returns {Photo | null} */
export function current(state) {
  return state.photos.find((photo) => photo.id === state.current) ?? null;
}

/** Whoever is looked for, as the API is told. @param {State} state */
export function whoOf(state) {
  return {
    references: state.who === "references" ? state.references.map((one) => one.blob) : [],
    people: state.who === "people" ? [...state.chosen] : [],
  };
}

/** Whether somebody is looked for. @param {State} state */
export function isSomebodyGiven(state) {
  const { references, people } = whoOf(state);
  return references.length + people.length > 0;
}

/** @param {State} state @param {Photo} photo @returns {object} */
export function optionsFor(state, photo) {
  const by_hand = [...photo.byHand].map(([face, choice]) => ({ face, ...choice }));
  return { ...state.options, by_hand };
}

/** Whether restoring it (again) would give something new. @param {Photo} photo */
export function isToDo(photo) {
  if (photo.state === "busy" || (photo.account === null && photo.problem !== null)) return false;
  return photo.state === "ready" || photo.changed;
}

/** Whether there is a result with a restored face to show. @param {Photo} photo */
export function isRestored(photo) {
  return photo.state === "done" && photo.exact !== null && photo.job?.account?.faces.some((face) => face.restored) === true;
}

/** How much of the restored faces is shown where each is shown as much as it needs: the mean. @param {Photo} photo */
export function neededStrength(photo) {
  const shown = (photo.job?.account?.faces ?? []).filter((face) => face.restored).map((face) => face.strength);
  return shown.length ? shown.reduce((sum, one) => sum + one, 0) / shown.length : 1;
}
