/** Before, and over it from the seam on after: blended here until the server's own picture is there. */

import { find, keep, make } from "../dom.js";
import { isRestored, restoredFaces, strengthAsked, strengthOf } from "../store.js";

/** @typedef {import("../types.js").Photo} Photo */
/** @typedef {import("../types.js").Face} Face */

const AROUND = 0.75; // of a face's box, on each side: farther than restoring changes anything

/** @param {Photo} photo */
export function drawLayers(photo) {
  const compared = isRestored(photo) && photo.exact?.shown !== null;
  const settled = photo.exact?.strength === strengthAsked(photo);
  const before = find("#before", HTMLImageElement);
  const blend = find("#blend", HTMLElement);
  const exact = find("#exact", HTMLImageElement);
  setSource(before, photo.shown?.url);
  const became = restoredFaces(photo).length ? "restored" : "cleaned";
  before.alt = compared ? `${photo.name}, before on the left and ${became} on the right` : photo.name;
  for (const id of ["#after", "#seam", "#divide"]) find(id, HTMLElement).hidden = !compared;
  setSource(exact, compared ? photo.exact?.shown?.url : undefined);
  drawBlend(blend, photo, compared);
  blend.hidden = settled;
  exact.hidden = !settled && photo.full !== null;
}

/** Fully restored faces over the photograph or what it was cleaned to, each as strongly as it is shown. @param {HTMLElement} blend @param {Photo} photo @param {boolean} compared */
function drawBlend(blend, photo, compared) {
  const { full, cleaned } = compared ? photo : { full: null, cleaned: null }; // nothing while it is restored again
  const below = cleaned ? [{ shown: cleaned, face: null, opacity: 1 }] : [];
  const above = full ? parts(photo).map((part) => ({ shown: full, ...part })) : [];
  keep(blend, [...below, ...above], {
    key: ({ shown, face }) => `${shown.url} ${face?.number}`,
    make: ({ shown }) => make("img", { src: shown.url, alt: "" }),
    update(image, { face, opacity }) {
      image.style.opacity = String(opacity);
      image.style.clipPath = face ? around(face, photo) : "none";
    },
  });
}

/** One picture for all faces where they are shown alike. @param {Photo} photo @returns {{face: Face | null, opacity: number}[]} */
function parts(photo) {
  const faces = restoredFaces(photo).map((face) => ({ face, opacity: strengthOf(photo, face) }));
  const alike = faces.every(({ opacity }) => opacity === faces[0].opacity);
  return alike ? [{ face: null, opacity: faces[0].opacity }] : faces;
}

/** @param {Face} face @param {Photo} photo */
function around({ box }, { shown }) {
  if (!box || !shown) return "none";
  const [left, top, right, bottom] = box;
  const { naturalWidth: width, naturalHeight: height } = shown.image;
  const [x, y] = [AROUND * (right - left), AROUND * (bottom - top)];
  const edges = [(top - y) / height, 1 - (right + x) / width, 1 - (bottom + y) / height, (left - x) / width];
  return `inset(${edges.map((edge) => `${100 * Math.max(0, edge)}%`).join(" ")})`;
}

/** @param {HTMLImageElement} image @param {string | undefined} url */
function setSource(image, url) {
  if (image.getAttribute("src") === (url ?? null)) return;
  if (url) image.src = url;
  else image.removeAttribute("src");
}
