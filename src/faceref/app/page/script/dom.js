/** Elements: found by selector, made in one call, and kept in step with a list without losing the focus. */

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
 * @template I
 * @template {HTMLElement} E
 * @param {Element} parent
 * @param {Iterable<I>} items
 * @param {{key: (item: I) => string, make: (item: I) => E, update?: (element: E, item: I) => void}} how
 */
export function keep(parent, items, how) {
  const known = new Map([...parent.children].map((child) => [/** @type {HTMLElement} */ (child).dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = how.key(item);
    const element = /** @type {E} */ (known.get(key) ?? how.make(item));
    known.delete(key);
    element.dataset.key = key;
    how.update?.(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of known.values()) gone.remove();
}

/** @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
