/** The token that a server for several people asks for; it is kept as long as the tab. */

import { find } from "./dom.js";

const KEY = "faceref-token";

/** @returns {Record<string, string>} */
export function authorization() {
  const token = sessionStorage.getItem(KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** @type {Promise<void> | null} */
let asking = null;

/**
 * Ask for it, once however many requests want it.
 * @param {string | undefined} used what the refused request had sent
 * @returns {Promise<void>}
 */
export function askForToken(used) {
  if (authorization().Authorization !== used) return Promise.resolve(); // another request has asked meanwhile
  asking ??= ask(used !== undefined).finally(() => (asking = null));
  return asking;
}

/** @param {boolean} refused whether one was given that the server does not take @returns {Promise<void>} */
function ask(refused) {
  const dialog = find("#token", HTMLDialogElement);
  const field = find("#token-value", HTMLInputElement);
  find("#token-refused", HTMLElement).hidden = !refused;
  field.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.addEventListener(
      "close",
      () => {
        sessionStorage.setItem(KEY, field.value.replace(/[^ -~]/g, "").trim()); // no header can carry what else was copied
        resolve();
      },
      { once: true },
    );
  });
}
