/**
 * The journal as a list.
 */

import { byId, icon, make } from "../dom.ts";
import { clock } from "../format.ts";
import type { Entry, Journal } from "../model/journal.ts";
import type { Frame } from "./frame.ts";

/** What an entry's mark is called, for those who do not see it. */
const NAMES = { good: "good", info: "", warn: "warning", bad: "problem" } as const;

/** Shows the last events, newest first. */
export class EventsView {
  readonly #list = byId("events", HTMLElement);
  readonly #journal: Journal;
  #version = -1;

  constructor(frame: Frame, journal: Journal) {
    this.#journal = journal;
    frame.add(() => this.#paint());
  }

  #paint(): void {
    if (this.#version === this.#journal.version) return;
    this.#version = this.#journal.version;
    this.#list.replaceChildren(...this.#journal.entries.slice(0, 100).map(row));
  }
}

function row(entry: Entry): HTMLElement {
  const item = make("li", `item event ${entry.weight}`);
  const name = NAMES[entry.weight];
  item.append(make("time", "", clock(entry.time)), icon(entry.weight));
  if (name !== "") item.append(make("span", "hidden", `${name}: `));
  item.append(make("span", "", entry.text));
  if (entry.times > 1) item.append(make("span", "times", `× ${entry.times}`));
  return item;
}
