/** What one does next: restore, or wait and see how long, or cancel. */

import { find, say } from "../dom.js";
import { progress } from "../restoring.js";
import { isLeftAlone, isRestored, isSomebodyGiven, isToDo, restoredFaces } from "../store.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../restoring.js").Restoring} Restoring */
/** @typedef {import("../types.js").Photo} Photo */
/** @typedef {import("../types.js").State} State */

/** @param {Store} store @param {Restoring} restoring */
export function viewAction(store, restoring) {
  const button = find("#restore", HTMLButtonElement);
  const waiting = find("#progress", HTMLElement);
  button.addEventListener("click", () => void restoring.restoreAll());
  find("#cancel", HTMLElement).addEventListener("click", () => {
    for (const photo of store.state.photos.filter(isBusy)) void restoring.cancel(photo);
  });
  store.subscribe((state) => {
    const held = document.activeElement;
    const busy = state.photos.filter(isBusy);
    const todo = state.photos.filter(isToDo);
    waiting.hidden = busy.length === 0;
    const allDone = todo.length === 0 && state.photos.some((photo) => photo.state === "done");
    find("#action", HTMLElement).hidden = allDone && busy.length === 0;
    button.hidden = busy.length > 0;
    button.disabled = todo.length === 0;
    const advised = busy.length ? "" : advice(state, todo);
    find("#advice", HTMLElement).hidden = !advised;
    say(find("#advice", HTMLElement), advised);
    say(button, label(todo));
    drawProgress(busy);
    say(find("#status", HTMLElement), status(state, busy));
    if (held === button && button.hidden) waiting.focus({ preventScroll: true }); // not on what a second Enter cancels
    if (waiting.contains(held) && waiting.hidden) nextButton(button)?.focus({ preventScroll: true });
  });
}

/** What one does when nothing is waited for any more. @param {HTMLElement} restore @returns {HTMLElement | undefined} */
function nextButton(restore) {
  const possible = [restore, find("#download", HTMLElement), find("#all-the-same", HTMLElement)];
  return possible.find((one) => one.getClientRects().length);
}

/** @param {Photo} photo */
function isBusy(photo) {
  return photo.state === "busy";
}

/** @param {Photo[]} todo */
function label(todo) {
  if (todo.length > 1) return `Restore ${todo.length} photographs`;
  return todo[0]?.state === "done" ? "Restore again" : "Restore";
}

/** @param {State} state @param {Photo[]} todo */
function advice(state, todo) {
  const restored = todo.some((photo) => photo.account?.faces.length && !isLeftAlone(photo));
  return restored && !isSomebodyGiven(state) ? "No good photographs are given: more of a face will be invented." : "";
}

/** @param {Photo[]} busy */
function drawProgress(busy) {
  if (!busy.length) return;
  const bar = find("#bar", HTMLProgressElement);
  const now = performance.now();
  const first = busy.find((photo) => photo.job?.state === "running") ?? busy[0];
  const { said, part } = progress(first, busy.length - 1, now);
  say(find("#progress-said", HTMLElement), said);
  if (part === null) bar.removeAttribute("value");
  else bar.value = part;
}

/** For who hears the page. @param {State} state @param {Photo[]} busy */
function status(state, busy) {
  if (busy.length) return busy.length === 1 ? "Restoring" : `Restoring ${busy.length} photographs`;
  if (!state.photos.some((photo) => photo.state === "done")) return "";
  const results = state.photos.filter(isRestored);
  const became = results.every((photo) => restoredFaces(photo).length) ? "restored" : "done";
  return `${results.length} of ${state.photos.length} photographs ${became}`;
}
