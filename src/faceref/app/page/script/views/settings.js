/** The settings: what is left as it is, is the server's own default and is not sent. */

import { find } from "../dom.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../looking.js").Looking} Looking */

/** @param {Store} store @param {Looking} looking */
export function viewSettings(store, looking) {
  const form = find("#options", HTMLFormElement);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    store.change((state) => (state.options = read(form)));
    looking.lookAgain();
  });
  store.subscribe(({ options }) => write(form, options));
}

/** What was set elsewhere, or before the page was loaded again. @param {HTMLFormElement} form @param {Record<string, unknown>} options */
function write(form, options) {
  for (const field of form.querySelectorAll("input")) {
    if (field.type === "checkbox") field.checked = field.name in options;
    else if (field !== document.activeElement) field.value = String(options[field.name] ?? "");
  }
}

/** @param {HTMLFormElement} form @returns {Record<string, unknown>} */
function read(form) {
  /** @type {Record<string, unknown>} */
  const options = {};
  for (const field of form.querySelectorAll("input")) {
    if (field.type === "checkbox" && field.checked) options[field.name] = field.hasAttribute("value") ? field.value : true;
    if (field.type === "number" && !Number.isNaN(field.valueAsNumber)) options[field.name] = field.valueAsNumber;
  }
  return options;
}
