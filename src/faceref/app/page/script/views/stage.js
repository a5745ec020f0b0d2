/** The picture: its faces, before and after; as large as the room, at full size, or near a face. */

import { find, keep, make, say } from "../dom.js";
import { current, isRestored } from "../store.js";
import { faceSaid } from "../wording.js";
import { drawLayers } from "./layers.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Photo} Photo */
/** @typedef {import("../types.js").Face} Face */

const NEAR = 0.3; // of the room's width is a face that one looks at from near

/** @param {Store} store */
export function viewStage(store) {
  const stage = find("#stage", HTMLElement);
  const frame = find("#frame", HTMLElement);
  const divide = find("#divide", HTMLInputElement);
  const seam = find("#seam", HTMLElement);
  const toggles = new Map(Object.entries({ full: "#toggle-size", near: "#toggle-near" }));
  let size = "fit";
  let divided = ""; // the picture whose seam was placed
  let near = ""; // the face that was scrolled to

  divide.addEventListener("input", drawSeam);
  seam.addEventListener("pointerdown", ({ pointerId }) => seam.setPointerCapture(pointerId));
  seam.addEventListener("pointermove", (event) => seam.hasPointerCapture(event.pointerId) && divideAt(event));
  frame.addEventListener("click", (event) => event.target instanceof HTMLImageElement && divideAt(event));
  for (const [kind, id] of toggles) {
    find(id, HTMLElement).addEventListener("click", () => {
      size = size === kind ? "fit" : kind;
      draw(store.state);
      scrollToFace();
    });
  }
  find("#toggle-faces", HTMLElement).addEventListener("click", () => store.change((state) => (state.boxes = !state.boxes)));
  new ResizeObserver(() => draw(store.state)).observe(stage);

  function drawSeam() {
    frame.style.setProperty("--at", `${divide.value}%`);
  }

  /** Where the slider is out of the way, so that touch moves the picture. @param {MouseEvent} event */
  function divideAt({ clientX }) {
    const { left, width } = frame.getBoundingClientRect();
    divide.valueAsNumber = Math.round((100 * (clientX - left)) / width);
    drawSeam();
  }

  function scrollToFace() {
    const photo = current(store.state);
    if (!photo?.shown) return;
    const [left, top, right, bottom] = seenFace(photo, store.state.face);
    const scale = frame.offsetWidth / photo.shown.image.naturalWidth;
    const x = frame.offsetLeft + (scale * (left + right)) / 2;
    const y = frame.offsetTop + (scale * (top + bottom)) / 2;
    stage.scrollTo(x - stage.clientWidth / 2, y - stage.clientHeight / 2);
  }

  /** @param {State} state */
  function draw(state) {
    const photo = current(state);
    frame.hidden = !photo?.shown;
    say(find("#caption", HTMLElement), photo ? caption(photo, scaleOf(size, photo, state.face, stage)) : "");
    const problem = photo?.problem ?? photo?.exact?.unshown;
    find("#problem", HTMLElement).hidden = !problem;
    say(find("#problem", HTMLElement), problem ?? "");
    for (const [kind, id] of toggles) {
      find(id, HTMLElement).hidden = !photo?.shown;
      find(id, HTMLElement).setAttribute("aria-pressed", String(size === kind));
    }
    find("#toggle-faces", HTMLElement).hidden = !photo?.shown || !isRestored(photo);
    if (!photo?.shown) return;
    const { naturalWidth: width, naturalHeight: height } = photo.shown.image;
    stage.style.setProperty("--ratio", `${width} / ${height}`);
    const scale = scaleOf(size, photo, state.face, stage) / devicePixelRatio;
    frame.style.width = `${width * scale}px`;
    frame.style.height = `${height * scale}px`;
    stage.classList.toggle("wider", width * scale > stage.clientWidth);
    drawLayers(photo);
    if (isRestored(photo) && divided !== `${photo.job?.id} ${state.face}`) {
      divided = `${photo.job?.id} ${state.face}`;
      divide.valueAsNumber = middleOf(seenFace(photo, state.face), photo);
      drawSeam();
    }
    drawBoxes(store, state, photo);
    if (photo.account && near !== `${photo.id} ${state.face}`) {
      near = `${photo.id} ${state.face}`;
      scrollToFace();
    }
  }
  store.subscribe(draw);
}

/** Pixels of the screen for a pixel of the picture. @param {string} size @param {Photo} photo @param {number | null} face @param {HTMLElement} stage */
function scaleOf(size, photo, face, stage) {
  if (size === "full") return 1;
  if (size === "fit") return fit(photo, stage);
  const [left, , right] = seenFace(photo, face);
  return Math.max(fit(photo, stage), (devicePixelRatio * NEAR * stage.clientWidth) / (right - left));
}

/** The same, where all of it is seen. @param {Photo} photo @param {HTMLElement} stage */
function fit(photo, stage) {
  if (!photo.shown) return 1;
  const { naturalWidth, naturalHeight } = photo.shown.image;
  const style = getComputedStyle(stage);
  const room = (stage.clientWidth - 2 * Number.parseFloat(style.paddingLeft)) / naturalWidth;
  return devicePixelRatio * Math.min(room, (stage.clientHeight - 2 * Number.parseFloat(style.paddingTop)) / naturalHeight);
}

/** @param {Photo} photo @param {number} scale */
function caption(photo, scale) {
  if (!photo.shown) return photo.name;
  const { naturalWidth, naturalHeight } = photo.shown.image;
  return `${photo.name} · ${naturalWidth} × ${naturalHeight} · ${Math.round(100 * scale)} %`;
}

/** In hundredths of the width: there one sees a face before and after. @param {[number, number, number, number]} box @param {Photo} photo */
function middleOf([left, , right], photo) {
  return Math.round((50 * (left + right)) / (photo.shown?.image.naturalWidth ?? 1));
}

/**
 * The box of the selected face, or of the largest that is restored, or else found; the whole picture where there is none.
 * @param {Photo} photo @param {number | null} selected @returns {[number, number, number, number]}
 */
function seenFace({ account, shown }, selected) {
  const faces = (account?.faces ?? []).filter((face) => face.box);
  const box = faces.find((face) => face.number === selected)?.box;
  if (box) return box;
  const restored = faces.filter((face) => face.restored);
  const boxes = (restored.length ? restored : faces).flatMap(({ box }) => (box ? [box] : []));
  if (!boxes.length) return [0, 0, shown?.image.naturalWidth ?? 1, shown?.image.naturalHeight ?? 1];
  return boxes.reduce((best, box) => (box[2] - box[0] > best[2] - best[0] ? box : best));
}

/** @param {Store} store @param {State} state @param {Photo} photo */
function drawBoxes(store, state, photo) {
  const shown = !isRestored(photo) || state.boxes;
  find("#toggle-faces", HTMLElement).setAttribute("aria-pressed", String(state.boxes));
  const faces = (shown && photo.account?.faces.filter((face) => face.box)) || [];
  keep(find("#boxes", HTMLElement), faces, {
    key: (face) => `${photo.id}-${face.number}`,
    make: () => make("li", {}, make("button", { type: "button" }, make("span", {}, make("b"), make("small")))),
    update(item, face) {
      const button = /** @type {HTMLButtonElement} */ (item.firstElementChild);
      placeBox(button, face, photo);
      const { who, sure, what } = faceSaid(face, photo);
      say(find("b", HTMLElement, button), [face.number, who].filter(Boolean).join(" "));
      say(find("small", HTMLElement, button), sure && `, ${sure}`);
      button.setAttribute("aria-label", `Face ${face.number}: ${who || "not known"}, ${what}`);
      button.setAttribute("aria-current", String(state.face === face.number));
      button.classList.toggle("left-alone", face.left_alone !== null);
      button.classList.toggle("far", isFarRight(face, photo));
      button.onclick = () => store.change((state) => (state.face = state.face === face.number ? null : face.number));
    },
  });
}

/** Whether what is written at its left end could reach beyond the picture. @param {Face} face @param {Photo} photo */
function isFarRight({ box }, { shown }) {
  return box !== null && shown !== null && box[0] > shown.image.naturalWidth / 2;
}

/** @param {HTMLElement} element @param {Face} face @param {Photo} photo */
function placeBox(element, { box }, { shown }) {
  if (!box || !shown) return;
  const [left, top, right, bottom] = box;
  const { naturalWidth, naturalHeight } = shown.image;
  const places = { left: left / naturalWidth, width: (right - left) / naturalWidth };
  const heights = { top: top / naturalHeight, height: (bottom - top) / naturalHeight };
  for (const [name, part] of Object.entries({ ...places, ...heights })) {
    element.style.setProperty(`--${name}`, `${100 * part}%`);
  }
}
