/** The list of faces: each cut out, whom it is taken for, and how that is corrected by hand. */

import { find, keep, make, say } from "../dom.js";
import { current } from "../store.js";
import { faceSaid, OF_REFERENCES } from "../wording.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Photo} Photo */
/** @typedef {import("../types.js").Face} Face */
/** @typedef {import("../types.js").Choice} Choice */

const SIDE = 104; // pixels of a cut
const AROUND = 0.25; // of a face's width, beside it

/** @param {Store} store */
export function viewFaces(store) {
  let selected = /** @type {number | null} */ (null);
  let shown = /** @type {string | null} */ (null);
  store.subscribe((state) => {
    const photo = current(state);
    say(find("#faces-said", HTMLElement), photo ? said(photo) : "");
    keep(find("#faces", HTMLElement), photo?.account?.faces ?? [], {
      key: (face) => `${photo?.id}-${face.number}`,
      make: (face) => row(store, /** @type {Photo} */ (photo), face),
      update: (item, face) => update(item, face, /** @type {Photo} */ (photo), state),
    });
    if (shown !== state.current) find(".panel", HTMLElement).scrollTop = 0;
    else if (selected !== state.face) document.querySelector("#faces .selected")?.scrollIntoView({ block: "nearest" });
    selected = state.face;
    shown = state.current;
  });
}

/** @param {Photo} photo */
function said(photo) {
  if (photo.looking) return "Looking for faces…";
  const faces = photo.account?.faces ?? [];
  const count = faces.length;
  if (photo.state === "done" && !photo.changed && count && !faces.some((face) => face.restored)) {
    return "Nothing was restored, for the reasons below; the settings can overrule them.";
  }
  return count === 1 ? "One face was found." : count ? `${count} faces were found, numbered from the left.` : "";
}

/** @param {Store} store @param {Photo} photo @param {Face} face */
function row(store, photo, { number }) {
  const select = make("select", { "aria-label": `What becomes of face ${number}` });
  select.addEventListener("change", () => {
    store.change((state) => {
      const choice = read(select.value);
      if (choice) photo.byHand.set(number, choice);
      else photo.byHand.delete(number);
      if (choice?.person) state.chosen.add(choice.person);
      photo.changed = true;
      state.face = number;
    });
  });
  const canvas = make("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
  return make("li", {}, canvas, make("strong"), make("span", { class: "hint" }), select);
}

/** @param {HTMLElement} item @param {Face} face @param {Photo} photo @param {State} state */
function update(item, face, photo, state) {
  const { who, what } = faceSaid(face, photo);
  const [canvas, name, about, select] = item.children;
  say(name, who ? `${face.number} ${who}` : `Face ${face.number}`);
  say(about, what);
  item.classList.toggle("selected", state.face === face.number);
  if (photo.shown && !item.dataset.drawn) {
    cut(/** @type {HTMLCanvasElement} */ (canvas), face, photo.shown.image);
    item.dataset.drawn = "yes";
  }
  offer(/** @type {HTMLSelectElement} */ (select), photo.byHand.get(face.number), state);
  /** @type {HTMLSelectElement} */ (select).disabled = photo.state === "busy";
}

/** @param {HTMLSelectElement} select @param {Choice | undefined} choice @param {State} state */
function offer(select, choice, state) {
  /** @type {[string, string][]} */
  const choices = [["", "As it was recognised"]];
  if (state.who === "people") choices.push(...people(state));
  if (state.who === "references" && state.references.length) choices.push(["person:", OF_REFERENCES]);
  choices.push(["blind", "Unknown: restore without references"], ["skip", "Leave alone"]);
  keep(select, choices, {
    key: ([value]) => value,
    make: ([value, text]) => make("option", { value }, text),
  });
  select.value = choice ? (choice.become === "person" ? `person:${choice.person ?? ""}` : choice.become) : "";
}

/** @param {State} state @returns {[string, string][]} */
function people({ people }) {
  return people.map(({ name }) => [`person:${name}`, name]);
}

/** @param {string} value @returns {Choice | null} */
function read(value) {
  if (value.startsWith("person:")) return { become: "person", person: value.slice("person:".length) || null };
  return value === "blind" || value === "skip" ? { become: value, person: null } : null;
}

/** @param {HTMLCanvasElement} canvas @param {Face} face @param {HTMLImageElement} image */
function cut(canvas, { box }, image) {
  const [left, top, right, bottom] = box ?? [0, 0, image.naturalWidth, image.naturalHeight];
  const side = Math.max(right - left, bottom - top) * (1 + (box ? 2 * AROUND : 0));
  const x = (left + right - side) / 2;
  const y = (top + bottom - side) / 2;
  canvas.getContext("2d")?.drawImage(image, x, y, side, side, 0, 0, SIDE, SIDE);
}
