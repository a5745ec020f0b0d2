/** What the page knows, and who is told when it changes. */

/** @typedef {import("./types.js").State} State */
/** @typedef {import("./types.js").Photo} Photo */

const ALL_THE_SAME = { always: true, unknown: "blind" };

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
    mostPeople: Infinity,
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
  return { ...state.options, ...(photo.allTheSame ? ALL_THE_SAME : {}), by_hand };
}

/** Whether restoring it (again) would give something new. @param {Photo} photo */
export function isToDo(photo) {
  if (photo.state === "busy" || photo.refused) return false;
  return photo.state === "ready" || photo.changed;
}

/** Whether there is another picture to show than the photograph: with a restored face, or cleaned. @param {Photo} photo */
export function isRestored(photo) {
  const isNew = restoredFaces(photo).length > 0 || Boolean(photo.job?.account?.background);
  return photo.state === "done" && photo.exact !== null && isNew;
}

/** Whether it has faces, and none of them is or would be restored. @param {Photo} photo */
export function isLeftAlone(photo) {
  const faces = photo.account?.faces ?? [];
  return !photo.looking && faces.length > 0 && faces.every((face) => isSkipped(photo, face));
}

/** @param {Photo} photo @param {import("./types.js").Face} face */
function isSkipped(photo, { number, left_alone }) {
  const choice = photo.changed ? photo.byHand.get(number) : undefined;
  return choice ? choice.become === "skip" : left_alone !== null;
}

/** @param {Photo} photo @returns {import("./types.js").Face[]} */
export function restoredFaces(photo) {
  return (photo.job?.account?.faces ?? []).filter((face) => face.restored);
}

/** How much of a restored face is shown, 0 to 1. @param {Photo} photo @param {import("./types.js").Face} face */
export function strengthOf(photo, face) {
  return photo.strength.get(face.number) ?? face.strength;
}

/** The strength as the API is asked for it: "" for as much as each face needs, S for all, or N:S,... for single faces. @param {Photo} photo */
export function strengthAsked(photo) {
  const { strength } = photo;
  const values = new Set(strength.values());
  if (values.size === 1 && restoredFaces(photo).every((face) => strength.has(face.number))) return String([...values][0]);
  return [...strength].map(([face, part]) => `${face}:${part}`).join(",");
}
