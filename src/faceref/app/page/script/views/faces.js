/** The list of faces: each cut out, whom it is taken for, how strongly it is shown; both are set by hand here. */

import { find, keep, make, say } from "../dom.js";
import { current, isLeftAlone, isRestored, restoredFaces, strengthOf } from "../store.js";
import { faceSaid, OF_REFERENCES, percent } from "../wording.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../strength.js").Strength} Strength */
/** @typedef {import("../restoring.js").Restoring} Restoring */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Photo} Photo */
/** @typedef {import("../types.js").Face} Face */
/** @typedef {import("../types.js").Choice} Choice */

const SIDE = 104; // pixels of a cut
const AROUND = 0.25; // of a face's width, beside it

/** @param {Store} store @param {Strength} strength @param {Restoring} restoring */
export function viewFaces(store, strength, restoring) {
  const allTheSame = find("#all-the-same", HTMLElement);
  allTheSame.addEventListener("click", () => {
    const photo = current(store.state);
    if (!photo) return;
    store.change(() => (photo.allTheSame = true));
    void restoring.restore([photo]);
  });
  let selected = /** @type {number | null} */ (null);
  let shown = /** @type {string | null} */ (null);
  store.subscribe((state) => {
    const photo = current(state);
    say(find("#faces-said", HTMLElement), photo ? said(photo) : "");
    allTheSame.hidden = !photo || photo.state === "busy" || !isLeftAlone(photo);
    keep(find("#faces", HTMLElement), photo?.account?.faces ?? [], {
      key: (face) => `${photo?.id}-${face.number}`,
      make: (face) => row(store, strength, restoring, /** @type {Photo} */ (photo), face),
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
  const none = photo.account ? "No face was found." : "";
  const found = count === 1 ? "One face was found." : count ? `${count} faces were found, numbered from the left.` : none;
  if (!isLeftAlone(photo)) return found;
  return photo.state === "done" && !photo.changed ? "Nothing was restored, for the reasons below." : `${found} None would be restored, for the reasons below.`;
}

/** @param {Store} store @param {Strength} strength @param {Restoring} restoring @param {Photo} photo @param {Face} face */
function row(store, strength, restoring, photo, { number }) {
  const look = () => store.change((state) => (state.face = number));
  const slider = make("input", { type: "range", max: "100", "aria-label": `Strength of face ${number}` });
  slider.addEventListener("input", () => {
    look();
    void strength.setOne(photo, number, slider.valueAsNumber / 100);
  });
  const select = make("select", { "aria-label": `What becomes of face ${number}` });
  select.addEventListener("change", () => {
    store.change((state) => {
      const choice = read(select.value);
      if (choice) photo.byHand.set(number, choice);
      else photo.byHand.delete(number);
      photo.changed = true;
      state.face = number;
      if (!choice?.person || state.chosen.has(choice.person)) return;
      state.chosen.add(choice.person);
      restoring.looking.lookAgain(); // as if they had been ticked
    });
  });
  const canvas = make("canvas", { width: SIDE, height: SIDE });
  const button = make("button", { type: "button", class: "cut", "aria-label": `Look at face ${number}` }, canvas);
  button.addEventListener("click", look);
  return make("li", {}, button, make("strong"), make("span", { class: "hint" }), slider, select);
}

/** @param {HTMLElement} item @param {Face} face @param {Photo} photo @param {State} state */
function update(item, face, photo, state) {
  const { who, what } = faceSaid(face, photo);
  const [button, name, about, slider, select] = item.children;
  say(name, who ? `${face.number} ${who}` : `Face ${face.number}`);
  say(about, what);
  item.classList.toggle("selected", state.face === face.number);
  if (photo.shown && !item.dataset.drawn) {
    cut(/** @type {HTMLCanvasElement} */ (button.firstElementChild), face, photo.shown.image);
    item.dataset.drawn = "yes";
  }
  drawStrength(/** @type {HTMLInputElement} */ (slider), face, photo);
  offer(/** @type {HTMLSelectElement} */ (select), photo.byHand.get(face.number), state);
  /** @type {HTMLSelectElement} */ (select).disabled = photo.state === "busy";
}

/** One face alone has the slider of the result. @param {HTMLInputElement} slider @param {Face} face @param {Photo} photo */
function drawStrength(slider, face, photo) {
  slider.hidden = !isRestored(photo) || !face.restored || restoredFaces(photo).length < 2;
  if (slider.hidden) return;
  slider.valueAsNumber = Math.round(100 * strengthOf(photo, face));
  slider.setAttribute("aria-valuetext", percent(strengthOf(photo, face)));
}

/** @param {HTMLSelectElement} select @param {Choice | undefined} choice @param {State} state */
function offer(select, choice, state) {
  /** @type {[string, string][]} */
  const choices = [["", "Automatic"]];
  if (state.who === "people") choices.push(...people(state));
  if (state.who === "references" && state.references.length) choices.push(["person:", OF_REFERENCES]);
  choices.push(["blind", "Somebody else: restore without references"], ["skip", "Leave alone"]);
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
