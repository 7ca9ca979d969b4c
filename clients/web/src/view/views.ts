/**
 * On a narrow screen one part of the page at a time; the bar at the bottom chooses which.
 */

import { byId, setAttribute } from "../dom.ts";

/** A part of the page. */
export type ViewName = "prices" | "chart" | "feed" | "news";

/** Which part is shown. On a wide screen all of them are, whatever this says. */
export class Views {
  readonly #buttons = [...byId("views", HTMLElement).querySelectorAll("button")];

  constructor() {
    for (const button of this.#buttons) {
      button.addEventListener("click", () => this.open((button.dataset.to ?? "prices") as ViewName));
    }
  }

  /** Shows a part. */
  open(view: ViewName): void {
    setAttribute(document.documentElement, "data-view", view);
    for (const button of this.#buttons) {
      setAttribute(button, "aria-current", button.dataset.to === view ? "page" : null);
    }
  }
}
