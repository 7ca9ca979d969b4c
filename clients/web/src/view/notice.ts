/**
 * A line that stays until it is dismissed: what operators tell people, and what a reader must do.
 */

import { byId, text } from "../dom.ts";
import { clock } from "../format.ts";

/** Longest line, characters: that of a gateway's notice. */
const MAX_LENGTH = 1_024;

/** Shows the last notice. */
export class NoticeView {
  readonly #bar = byId("notice", HTMLElement);
  readonly #text = text("notice-text");

  constructor() {
    byId("notice-close", HTMLButtonElement).addEventListener("click", () => {
      this.#bar.hidden = true;
    });
  }

  /** Shows `line`, instead of what was there. */
  show(line: string): void {
    this.#bar.hidden = false;
    this.#text.set(`${clock(Date.now())}  ${line.slice(0, MAX_LENGTH)}`);
  }
}
