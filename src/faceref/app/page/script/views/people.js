/** The window in which people are enrolled, seen, renamed, made one, and removed. */

import { faceOf } from "../api.js";
import { find, keep, make, say } from "../dom.js";
import { pick } from "../intake.js";
import { versionOf } from "../people.js";
import { forget, show } from "../pictures.js";
import { words } from "../problem.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../people.js").People} People */
/** @typedef {import("../types.js").Enrolled} Enrolled */
/** @typedef {import("../types.js").Reference} Reference */

/** @param {Store} store @param {People} people @returns {(files: File[]) => void} takes photographs of the new person */
export function viewPeople(store, people) {
  const dialog = find("#people", HTMLDialogElement);
  for (const button of document.querySelectorAll("#open-people, [data-open=people]")) {
    button.addEventListener("click", () => {
      people.say(null);
      dialog.showModal();
      void people.refresh();
    });
  }
  find("[data-close]", HTMLElement, dialog).addEventListener("click", () => dialog.close());
  store.subscribe((state) => {
    keep(find("#enrolled", HTMLElement), state.people, {
      key: versionOf,
      make: (person) => personItem(people, person),
      update: (item, person) => offerOthers(item, person, state.people),
    });
  });
  return newPerson(people);
}

/** The form of a new person. @param {People} people @returns {(files: File[]) => void} */
function newPerson(people) {
  const form = find("#enroll", HTMLFormElement);
  const name = find("#enroll-name", HTMLInputElement);
  /** @type {Reference[]} */
  let photos = [];
  function draw() {
    keep(find("#enroll-photos", HTMLElement), photos, {
      key: ({ shown }) => shown.url,
      make(photo) {
        const remove = make("button", { type: "button", "aria-label": `Remove ${photo.name}` }, "×");
        remove.addEventListener("click", () => {
          photos = photos.filter((one) => one !== photo);
          forget(photo.shown);
          draw();
        });
        return make("li", {}, make("img", { src: photo.shown.url, alt: photo.name }), remove);
      },
    });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!photos.length) return people.say("Add good photographs of this person first.");
    const submit = find("button[type=submit]", HTMLButtonElement, form);
    submit.disabled = true;
    const enrolled = await people.enroll(name.value, photos);
    submit.disabled = false;
    if (!enrolled) return;
    for (const { shown } of photos) forget(shown);
    photos = [];
    form.reset();
    draw();
  });
  return async (files) => {
    for (const file of files) {
      try {
        photos.push({ name: file.name, blob: file, shown: await show(file) });
      } catch (error) {
        people.say(`${file.name}: ${words(error)}`);
      }
    }
    draw();
  };
}

/** @param {People} people @param {Enrolled} person */
function personItem(people, person) {
  const { name, references } = person;
  const faces = make("ul", { class: "thumbs", "aria-label": `Faces of ${name}` });
  const count = references === 1 ? "1 photograph" : `${references} photographs`;
  return make(
    "li",
    {},
    make("div", { class: "row" }, make("strong", {}, name), make("span", { class: "hint" }, count)),
    faces,
    make("div", { class: "buttons" }, facesButton(people, person, faces), adding(people, name), ...changing(people, name)),
  );
}

/** @param {People} people @param {Enrolled} person @param {HTMLElement} faces */
function facesButton(people, { name, references }, faces) {
  const button = make("button", { type: "button" }, "Show faces");
  button.addEventListener("click", async () => {
    /** @type {HTMLElement | null} */ (button.nextElementSibling)?.focus(); // this one is gone when they are shown
    button.disabled = true;
    faces.replaceChildren();
    try {
      for (let number = 1; number <= references; number++) {
        const { url } = await show(await faceOf(name, number));
        faces.append(make("li", {}, make("img", { src: url, alt: `${name}, photograph ${number}` })));
      }
      button.remove();
    } catch (error) {
      people.say(words(error));
      button.disabled = false;
    }
  });
  return button;
}

/** @param {People} people @param {string} name */
function adding(people, name) {
  const button = make("button", { type: "button" }, "Add photographs");
  button.addEventListener("click", () =>
    pick((files) => void people.addPhotos(name, files.map((file) => ({ name: file.name, blob: file })))),
  );
  return button;
}

/** @param {People} people @param {string} name */
function changing(people, name) {
  return [...renaming(people, name), ...merging(people, name), removing(people, name)];
}

/** @param {People} people @param {string} name */
function renaming(people, name) {
  const field = make("input", { value: name, maxLength: 100, required: true, "aria-label": `New name of ${name}` });
  const form = make("form", { class: "inline", hidden: true }, field, make("button", { type: "submit" }, "Rename"));
  const button = make("button", { type: "button" }, "Rename");
  button.addEventListener("click", () => {
    button.hidden = true;
    form.hidden = false;
    field.select();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void people.rename(name, field.value);
  });
  return [button, form];
}

/** @param {People} people @param {string} name */
function merging(people, name) {
  const select = make("select", { "aria-label": `${name} is the same person as` });
  const button = make("button", { type: "button", hidden: true });
  select.addEventListener("change", () => {
    button.hidden = !select.value;
    say(button, `Make ${name} and ${select.value} one for good`);
  });
  button.addEventListener("click", () => void people.merge(name, select.value));
  return [select, button];
}

/** @param {HTMLElement} item @param {Enrolled} person @param {Enrolled[]} everybody */
function offerOthers(item, { name }, everybody) {
  const select = find("select", HTMLSelectElement, item);
  const others = everybody.map((one) => one.name).filter((other) => other !== name);
  select.hidden = others.length === 0;
  keep(select, ["", ...others], {
    key: (other) => other,
    make: (other) => make("option", { value: other }, other || "Same person as…"),
  });
}

/** It asks once more. @param {People} people @param {string} name */
function removing(people, name) {
  const button = make("button", { type: "button" }, "Remove");
  let asked = false;
  button.addEventListener("click", ({ detail }) => {
    if (detail > 1) return; // a double click is one question, and no answer
    if (asked) void people.remove(name);
    asked = true;
    say(button, `Forget ${name} for good`);
  });
  button.addEventListener("blur", () => {
    asked = false;
    say(button, "Remove");
  });
  return button;
}
