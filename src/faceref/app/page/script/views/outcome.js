/** The result: how strongly it is shown, downloads, and what there is to be said of it. */

import { downloadAll, downloadOne } from "../download.js";
import { find, keep, make, say } from "../dom.js";
import { current, isRestored, neededStrength } from "../store.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../strength.js").Strength} Strength */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Photo} Photo */

/** @param {Store} store @param {Strength} strength */
export function viewOutcome(store, strength) {
  const slider = find("#strength", HTMLInputElement);
  const reset = find("#strength-reset", HTMLButtonElement);
  slider.addEventListener("input", () => withPhoto((photo) => strength.set(photo, slider.valueAsNumber / 100)));
  reset.addEventListener("click", () => {
    slider.focus();
    withPhoto((photo) => strength.set(photo, null));
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
    await downloadAll(results);
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
  const percent = Math.round(100 * (photo.strength ?? neededStrength(photo)));
  slider.valueAsNumber = percent;
  slider.setAttribute("aria-valuetext", photo.strength === null ? "as much as each face needs" : `${percent} %`);
  say(find("#strength-said", HTMLElement), photo.strength === null ? `${percent} %, as needed` : `${percent} %`);
  reset.hidden = photo.strength === null;
  find("#download-all", HTMLElement).hidden = state.photos.filter(isRestored).length < 2;
  keep(find("#warnings", HTMLElement), photo.job?.account?.warnings ?? [], {
    key: (warning) => warning,
    make: (warning) => make("li", {}, warning),
  });
}
