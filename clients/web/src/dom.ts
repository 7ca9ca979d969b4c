/**
 * The little that is needed of a framework: find an element of the page, make one, and write to it only what changed.
 * Nothing here takes markup, so nothing that a publisher sends can become any.
 */

/**
 * The element of the page with this id.
 *
 * @throws Error if the page has none, or one of another kind: the page and the program do not belong together
 */
export function byId<T extends Element>(id: string, kind: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof kind)) throw new Error(`the page has no ${kind.name} "${id}"`);
  return found;
}

/** Makes an element with classes, separated by spaces, and a text. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  classes = "",
  text = "",
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (classes !== "") element.className = classes;
  if (text !== "") element.textContent = text;
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** Makes one of the page's icons, for the eye only: a text says the same beside it. */
export function icon(name: string): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Shows another of the page's icons. */
export function setIcon(svg: SVGSVGElement, name: string): void {
  const use = svg.firstElementChild;
  const href = `#icon-${name}`;
  if (use !== null && use.getAttribute("href") !== href) use.setAttribute("href", href);
}

/** An element whose text is written only when it is another one: reading it back would cost more than a comparison. */
export class Text {
  readonly element: HTMLElement;
  #text: string;

  constructor(element: HTMLElement) {
    this.element = element;
    this.#text = element.textContent ?? "";
  }

  /** Writes `text` if it is not there yet; says whether it was written. */
  set(text: string): boolean {
    if (text === this.#text) return false;
    this.#text = text;
    this.element.textContent = text;
    return true;
  }
}

/** The text of the page's element with this id. */
export function text(id: string): Text {
  return new Text(byId(id, HTMLElement));
}

/** Sets or removes an attribute, only when that changes something. */
export function setAttribute(element: Element, name: string, value: string | null): void {
  if (element.getAttribute(name) === value) return;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, value);
}
