/** The result: how strongly it is shown, downloads, and what there is to be said of it. */

import { downloadAll, downloadOne } from "../download.js";
import { find, keep, make, say } from "../dom.js";
import { words } from "../problem.js";
import { current, isRestored, restoredFaces, strengthOf } from "../store.js";
import { percent } from "../wording.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../strength.js").Strength} Strength */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Photo} Photo */

/** @param {Store} store @param {Strength} strength */
export function viewOutcome(store, strength) {
  const slider = find("#strength", HTMLInputElement);
  const reset = find("#strength-reset", HTMLButtonElement);
  slider.addEventListener("input", () => withPhoto((photo) => strength.setAll(photo, slider.valueAsNumber / 100)));
  reset.addEventListener("click", () => {
    slider.focus();
    withPhoto((photo) => strength.setAll(photo, null));
  });
  find("#download", HTMLElement).addEventListener("click", () =>
    withPhoto(async (photo) => {
      const blob = await strength.settle(photo);
      if (blob) downloadOne({ name: photo.name, blob });
    }),
  );
  find("#download-all", HTMLElement).addEventListener("click", async () => {
    const results = [];
    for (const photo of store.state.photos.filter(isRestored)) {
      const blob = await strength.settle(photo);
      if (blob) results.push({ name: photo.name, blob });
    }
    await downloadAll(results).catch((error) => store.change((state) => (state.message = words(error))));
  });

  /** @param {(photo: Photo) => unknown} use */
  function withPhoto(use) {
    const photo = current(store.state);
    if (photo) void use(photo);
  }
  store.subscribe((state) => draw(state, slider, reset));
}

/** @param {State} state @param {HTMLInputElement} slider @param {HTMLElement} reset */
function draw(state, slider, reset) {
  const photo = current(state);
  const shown = photo !== null && isRestored(photo);
  find("#outcome", HTMLElement).hidden = !shown;
  if (!shown) return;
  find("#download-all", HTMLElement).hidden = state.photos.filter(isRestored).length < 2;
  keep(find("#warnings", HTMLElement), photo.job?.account?.warnings ?? [], {
    key: (warning) => warning,
    make: (warning) => make("li", {}, warning),
  });
  const hasFaces = restoredFaces(photo).length > 0;
  find("#strength-of-all", HTMLElement).hidden = !hasFaces;
  if (!hasFaces) return;
  const asNeeded = photo.strength.size === 0;
  const said = asNeeded ? `${range(photo)}, as needed` : range(photo);
  slider.valueAsNumber = Math.round(100 * mean(restoredFaces(photo).map((face) => strengthOf(photo, face))));
  slider.setAttribute("aria-valuetext", said);
  say(find("#strength-said", HTMLElement), said);
  reset.hidden = asNeeded;
}

/** From the face of which least is shown to the one of which most is. @param {Photo} photo */
function range(photo) {
  const shown = restoredFaces(photo).map((face) => strengthOf(photo, face));
  const [least, most] = [percent(Math.min(...shown)), percent(Math.max(...shown))];
  return least === most ? most : `${least} to ${most}`;
}

/** @param {number[]} values */
function mean(values) {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}
