/** What is said of faces: whom they are taken for, and what becomes of them. */

import { strengthOf } from "./store.js";

/** @typedef {import("./types.js").Photo} Photo */
/** @typedef {import("./types.js").Face} Face */

export const OF_REFERENCES = "Same person";

/**
 * Whom a face is taken for ("" for nobody), how surely, and what becomes or became of it.
 * @param {Face} face @param {Photo} photo @returns {{who: string, sure: string, what: string}}
 */
export function faceSaid(face, photo) {
  const choice = photo.byHand.get(face.number);
  if (choice && photo.changed) return byHand(choice);
  const match = face.matches.find((one) => face.matched && (face.person === null || one.person === face.person));
  const who = match ? (match.person ?? OF_REFERENCES) : "";
  const sure = match ? percent(match.certainty) : "";
  return { who, sure, what: [match ? `${sure} sure` : doubt(face), became(face, photo)].filter(Boolean).join(" · ") };
}

/** @param {import("./types.js").Choice} choice */
function byHand({ become, person }) {
  const who = become === "person" ? (person ?? OF_REFERENCES) : "";
  const what = { person: "chosen by you", skip: "will be left alone", blind: "will be restored without references" };
  return { who, sure: "", what: what[become] };
}

/** Who a face might be that is surely nobody. @param {Face} face */
function doubt({ matches }) {
  const best = matches[0];
  return best && best.certainty >= 0.005
    ? `perhaps ${best.person ?? "the same person"}, ${percent(best.certainty)}`
    : "";
}

/** @param {Face} face @param {Photo} photo */
function became(face, photo) {
  if (face.left_alone) return `left alone: ${face.left_alone}`;
  if (!face.restored) return "";
  const alone = face.references.length ? "" : " without references";
  return `restored${alone}, ${percent(strengthOf(photo, face))}`;
}

/** The server knows photographs by their number. @param {{name: string, reason: string}} one @param {string[]} names */
export function leftOut({ name, reason }, names) {
  const number = Number(/^picture (\d+)$/.exec(name)?.[1]);
  return `${names[number - 1] ?? name} was left out: ${reason}.`;
}

/** @param {number} part 0 to 1 */
export function percent(part) {
  return `${Math.round(100 * part)} %`;
}
