/** How files come in: chosen, dropped, pasted. Where they belong stands in `data-choose` and `data-drop`. */

import { find } from "./dom.js";

/** @param {Record<string, (files: File[]) => void>} into by the names in `data-choose` and `data-drop` */
export function takeFiles(into) {
  for (const button of document.querySelectorAll("[data-choose]")) {
    const wanted = into[button.getAttribute("data-choose") ?? ""];
    button.addEventListener("click", () => pick(wanted));
  }
  for (const place of document.querySelectorAll("[data-drop]")) {
    acceptDrops(/** @type {HTMLElement} */ (place), (files) => give(into[place.getAttribute("data-drop") ?? ""], files));
  }
  document.addEventListener("paste", (event) => give(into.photos, event.clipboardData?.files));
  for (const kind of ["dragover", "drop"]) {
    document.addEventListener(kind, (event) => event.preventDefault()); // beside a place: no other page is opened
  }
}

/** Have files chosen. @param {(files: File[]) => void} taken */
export function pick(taken) {
  const picker = find("#picker", HTMLInputElement);
  picker.value = "";
  picker.onchange = () => give(taken, picker.files);
  picker.click();
}

/** @param {HTMLElement} place @param {(files: FileList | undefined) => void} taken */
function acceptDrops(place, taken) {
  place.addEventListener("dragover", () => place.classList.add("dropping"));
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", (event) => {
    place.classList.remove("dropping");
    taken(event.dataTransfer?.files);
  });
}

/** @param {(files: File[]) => void} taken @param {FileList | null | undefined} files */
function give(taken, files) {
  if (files?.length) taken([...files]);
}
