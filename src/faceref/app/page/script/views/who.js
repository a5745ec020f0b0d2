/** Who is looked for: the person of good photographs, people who are enrolled, or nobody. */

import { find, keep, make } from "../dom.js";
import { current } from "../store.js";
import { leftOut } from "../wording.js";

/** @typedef {import("../store.js").Store} Store */
/** @typedef {import("../looking.js").Looking} Looking */
/** @typedef {import("../people.js").People} People */
/** @typedef {import("../types.js").State} State */

/** @param {Store} store @param {Looking} looking @param {People} people */
export function viewWho(store, looking, people) {
  for (const radio of document.querySelectorAll("input[name=who]")) {
    radio.addEventListener("change", () => {
      store.change((state) => {
        state.who = /** @type {State["who"]} */ (/** @type {HTMLInputElement} */ (radio).value);
        if (state.who === "people" && !state.chosen.size) chooseAll(state);
      });
      looking.lookAgain();
    });
  }
  const form = find("#keep-person", HTMLFormElement);
  const name = find("#keep-name", HTMLInputElement);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const submit = find("button", HTMLButtonElement, form);
    submit.disabled = true;
    const enrolled = await people.enroll(name.value, store.state.references);
    submit.disabled = false;
    if (!enrolled) return;
    name.value = "";
    store.change((state) => Object.assign(state, { who: "people", chosen: new Set([enrolled.name]) }));
    looking.lookAgain();
  });

  store.subscribe((state) => {
    for (const kind of ["references", "people", "nobody"]) {
      find(`input[name=who][value=${kind}]`, HTMLInputElement).checked = state.who === kind;
      find(`#who-${kind}`, HTMLElement).hidden = state.who !== kind;
    }
    form.hidden = state.references.length === 0;
    find("#nobody-enrolled", HTMLElement).hidden = state.people.length > 0;
    drawReferences(state, looking);
    drawLeftOut(state);
    drawPeople(store, state, looking);
  });
}

/** @param {State} state */
function chooseAll(state) {
  state.chosen = new Set(state.people.slice(0, state.mostPeople).map(({ name }) => name));
}

/** @param {State} state @param {Looking} looking */
function drawReferences(state, looking) {
  keep(find("#references", HTMLElement), state.references, {
    key: (reference) => reference.shown.url,
    make(reference) {
      const remove = make("button", { type: "button", "aria-label": `Remove ${reference.name}` }, "×");
      remove.addEventListener("click", () => looking.removeReference(state.references.indexOf(reference)));
      return make("li", {}, make("img", { src: reference.shown.url, alt: reference.name }), remove);
    },
  });
}

/** Which of them could not be used for the photograph that is shown, and why. @param {State} state */
function drawLeftOut(state) {
  const photo = current(state);
  const account = photo && !photo.looking && photo.state !== "busy" ? photo.account : null; // else others may be given by now
  const names = account && account === photo?.job?.account ? photo.sent : state.references.map(({ name }) => name);
  keep(find("#left-out", HTMLElement), account?.references_left_out.map((one) => leftOut(one, names)) ?? [], {
    key: (sentence) => sentence,
    make: (sentence) => make("li", {}, sentence),
  });
}

/** @param {Store} store @param {State} state @param {Looking} looking */
function drawPeople(store, state, looking) {
  keep(find("#chosen-people", HTMLElement), state.people, {
    key: ({ name }) => name,
    make({ name }) {
      const box = make("input", { type: "checkbox" });
      box.addEventListener("change", () => {
        store.change((state) => void (box.checked ? state.chosen.add(name) : state.chosen.delete(name)));
        looking.lookAgain();
      });
      return make("li", {}, make("label", {}, box, name));
    },
    update: (item, { name }) => (find("input", HTMLInputElement, item).checked = state.chosen.has(name)),
  });
}
