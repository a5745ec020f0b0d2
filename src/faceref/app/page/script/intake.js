/** How files come in: chosen, dropped (folders, too), pasted. Where they belong: `data-choose` and `data-drop`. */

import { find } from "./dom.js";

const PICTURES = /\.(avif|bmp|hei[cf]|hif|jfif|jp(e|e?g)|png|tiff?|webp)$/i; // of a folder all else is passed over

/** @param {Record<string, (files: File[]) => void>} into by the names in `data-choose` and `data-drop` */
export function takeFiles(into) {
  for (const button of document.querySelectorAll("[data-choose]")) {
    const wanted = into[button.getAttribute("data-choose") ?? ""];
    button.addEventListener("click", () => pick(wanted));
  }
  for (const place of document.querySelectorAll("[data-drop]")) {
    acceptDrops(/** @type {HTMLElement} */ (place), into[place.getAttribute("data-drop") ?? ""]);
  }
  document.addEventListener("paste", (event) => {
    const dialog = document.querySelector("dialog[open]");
    const place = dialog ? dialog.querySelector("[data-drop]")?.getAttribute("data-drop") : "photos";
    if (place) give(into[place], event.clipboardData?.files);
  });
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

/** @param {HTMLElement} place @param {(files: File[]) => void} taken */
function acceptDrops(place, taken) {
  place.addEventListener("dragover", () => place.classList.add("dropping"));
  place.addEventListener("dragleave", () => place.classList.remove("dropping"));
  place.addEventListener("drop", async (event) => {
    place.classList.remove("dropping");
    if (event.dataTransfer) give(taken, await dropped(event.dataTransfer));
  });
}

/** The files, and the pictures of folders. @param {DataTransfer} data @returns {Promise<File[]>} */
async function dropped({ items, files }) {
  const given = [...files]; // before anything is waited for: then the event is over, and they are gone
  const entries = [...items].flatMap((item) => item.webkitGetAsEntry() ?? []);
  if (!entries.some((entry) => entry.isDirectory)) return given;
  const inside = await Promise.all(entries.filter((entry) => entry.isDirectory).map(picturesIn));
  return [...given.filter((_, i) => !entries[i]?.isDirectory), ...inside.flat()];
}

/** In the order of their names. @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function picturesIn(entry) {
  if (entry.isFile) {
    const file = /** @type {FileSystemFileEntry} */ (entry);
    return PICTURES.test(file.name) ? [await new Promise((done, failed) => file.file(done, failed))] : [];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  /** @type {FileSystemEntry[]} */
  const inside = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)); // at most 100 at once
    if (!some.length) break;
    inside.push(...some);
  }
  inside.sort((one, other) => one.name.localeCompare(other.name, undefined, { numeric: true }));
  return (await Promise.all(inside.map(picturesIn))).flat();
}

/** @param {(files: File[]) => void} taken @param {FileList | File[] | null | undefined} files */
function give(taken, files) {
  if (files?.length) taken([...files]);
}
