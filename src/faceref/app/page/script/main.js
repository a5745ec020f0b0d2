/** The page: its parts, and how they are put together. */

import { limits, models } from "./api.js";
import { find, say } from "./dom.js";
import { takeFiles } from "./intake.js";
import { Looking } from "./looking.js";
import { People } from "./people.js";
import { words } from "./problem.js";
import { Restoring } from "./restoring.js";
import { remember } from "./session.js";
import { current, Store } from "./store.js";
import { Strength } from "./strength.js";
import { viewAction } from "./views/action.js";
import { viewFaces } from "./views/faces.js";
import { viewOutcome } from "./views/outcome.js";
import { viewPeople } from "./views/people.js";
import { viewSettings } from "./views/settings.js";
import { viewStage } from "./views/stage.js";
import { viewStrip } from "./views/strip.js";
import { viewWho } from "./views/who.js";

const store = new Store();
const strength = new Strength(store);
const looking = new Looking(store);
const restoring = new Restoring(store, looking, strength);
const people = new People(store, looking, sayOfPeople);

viewStrip(store);
viewStage(store);
viewFaces(store, strength, restoring);
viewWho(store, looking, people);
viewSettings(store, looking);
viewOutcome(store, strength);
viewAction(store, restoring);
const enrollPhotos = viewPeople(store, people);
store.subscribe(({ message }) => sayIn("#message", message));

takeFiles({
  photos: (files) => void looking.add(files.map((file) => ({ name: file.name, blob: file }))),
  references: (files) => void looking.addReferences(files),
  enroll: enrollPhotos,
});
const tryExample = find("#try-example", HTMLButtonElement);
tryExample.addEventListener("click", async () => {
  tryExample.disabled = true; // a second click would have it twice
  await attempt(restoreExample);
  tryExample.disabled = false;
});
find("#start-over", HTMLElement).addEventListener("click", startOver);
find("#remove-photo", HTMLElement).addEventListener("click", () => {
  const photo = current(store.state);
  if (photo) restoring.remove(photo);
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") people.read().catch(() => {}); // nobody has asked for it
});
void attempt(begin);

async function begin() {
  const resuming = attempt(() => restoring.resume());
  store.subscribe(remember); // of what is resumed all is known from the start
  await resuming;
  const { people: mostPeople } = await limits();
  store.change((state) => Object.assign(state, { mostPeople }));
  await people.read();
  const names = (await models()).map(({ name, resolution }) => `${name} (${resolution} px)`);
  say(find("#model", HTMLElement), `Model: ${names.join(", ")}`);
}

/** NASA's portrait made bad, with the same portrait as its reference: examples/README.md says what that shows. */
async function restoreExample() {
  startOver(); // somebody else's references may be left
  store.change((state) => (state.who = "references"));
  await looking.addReferences([await example("reference.jpg")]);
  const photo = await example("photo.jpg");
  await looking.add([{ name: photo.name, blob: photo }]);
  await restoring.restoreAll();
}

/** @param {string} name */
async function example(name) {
  const answer = await fetch(`example/${name}`);
  return new File([await answer.blob()], name, { type: "image/jpeg" });
}

function startOver() {
  for (const photo of [...store.state.photos]) restoring.remove(photo);
  while (store.state.references.length) looking.removeReference(0);
  store.change((state) => (state.message = null));
}

/** @param {() => Promise<void>} work */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    store.change((state) => (state.message = words(error)));
  }
}

/** In the window of people if it is open, else above the page. @param {string | null} problem */
function sayOfPeople(problem) {
  if (find("#people", HTMLDialogElement).open) sayIn("#people-message", problem);
  else store.change((state) => (state.message = problem));
}

/** @param {string} selector @param {string | null} problem */
function sayIn(selector, problem) {
  const element = find(selector, HTMLElement);
  element.hidden = !problem;
  say(element, problem ?? "");
}
