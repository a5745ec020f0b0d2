/** Elements: found by selector, made in one call, and kept in step with a list without losing the focus. */

const CONTROLS = ":is(button, input, select):not(:disabled)";

/**
 * @template {Element} E
 * @param {string} selector
 * @param {new () => E} kind
 * @param {ParentNode} [root]
 * @returns {E}
 */
export function find(selector, kind, root = document) {
  const found = root.querySelector(selector);
  if (!(found instanceof kind)) throw new Error(`There is no ${selector}`);
  return found;
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [properties] as the element's own, `class` and `aria-*` as attributes
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class" || name.includes("-")) element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/**
 * Make the children of `parent` those of `items`, in their order: one that is there already is updated, not made anew.
 * Where the one goes that has the focus, its neighbour has it.
 * @template I
 * @template {HTMLElement} E
 * @param {Element} parent
 * @param {Iterable<I>} items
 * @param {{key: (item: I) => string, make: (item: I) => E, update?: (element: E, item: I) => void}} how
 */
export function keep(parent, items, how) {
  const wanted = [...items];
  const keys = new Set(wanted.map(how.key));
  const before = /** @type {E[]} */ ([...parent.children]);
  const held = before.findIndex((child) => child.contains(document.activeElement));
  /** @type {Map<string, E>} */
  const known = new Map();
  for (const child of before) {
    const { key = "" } = child.dataset;
    if (keys.has(key) && !known.has(key)) known.set(key, child);
    else child.remove(); // before others are moved: that would take the focus from them
  }
  let place = parent.firstElementChild;
  for (const item of wanted) {
    const key = how.key(item);
    const element = known.get(key) ?? how.make(item);
    known.delete(key);
    element.dataset.key = key;
    how.update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  if (held >= 0 && !before[held].isConnected) focusNear(parent, held);
}

/** On what is in a place of a list now, or is last, or comes after an empty list. @param {Element} list @param {number} place */
function focusNear(list, place) {
  const near = list.children[place] ?? list.lastElementChild;
  const isNext = (/** @type {Element} */ one) =>
    near ? near.contains(one) : Boolean(list.compareDocumentPosition(one) & Node.DOCUMENT_POSITION_FOLLOWING);
  const controls = /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll(CONTROLS));
  [...controls].find((one) => isNext(one) && one.getClientRects().length)?.focus();
}

/** @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
