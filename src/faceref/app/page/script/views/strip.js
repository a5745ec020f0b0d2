/** The photographs, if there are several, and which is shown; the page begins with a welcome where there is none. */

import { find, keep, make, say } from "../dom.js";
import { isRestored } from "../store.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../types.js").Photo} Photo */

/** @param {Store} store */
export function viewStrip(store) {
  const strip = find("#strip", HTMLElement);
  store.subscribe((state) => {
    const empty = state.photos.length === 0;
    const held = document.activeElement?.closest("#work, #start-over");
    find("#welcome", HTMLElement).hidden = !empty;
    find("#work", HTMLElement).hidden = empty;
    find("#start-over", HTMLElement).hidden = empty;
    if (empty && held) find("#welcome button", HTMLElement).focus(); // what had the focus has gone
    keep(find("#photos", HTMLElement), state.photos, {
      key: (photo) => photo.id,
      make: (photo) => item(store, photo),
      update(element, photo) {
        const [button] = element.children;
        const [image, mark] = button.children;
        const url = (photo.exact?.shown ?? photo.shown)?.url;
        if (url && image.getAttribute("src") !== url) image.setAttribute("src", url);
        /** @type {HTMLElement} */ (image).hidden = !url;
        button.setAttribute("aria-current", String(photo.id === state.current));
        button.setAttribute("aria-label", `${photo.name}: ${stateOf(photo) || "ready"}`);
        say(mark, stateOf(photo));
      },
    });
    strip.setAttribute("aria-busy", String(state.photos.some((photo) => photo.state === "busy")));
  });
}

/** @param {Store} store @param {Photo} photo */
function item(store, photo) {
  const button = make("button", { type: "button" }, make("img", { alt: "" }), make("span"));
  button.addEventListener("click", () => {
    store.change((state) => Object.assign(state, { current: photo.id, face: null }));
  });
  return make("li", {}, button);
}

/** @param {Photo} photo */
function stateOf(photo) {
  if (photo.problem) return "problem";
  if (photo.state === "busy") return photo.job?.state === "running" ? "restoring" : "waits";
  if (photo.state !== "done" || photo.changed) return "";
  return isRestored(photo) ? "done" : "as it was";
}
