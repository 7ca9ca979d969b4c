/**
 * The table of tokens: a grid of which only the visible rows exist. Sorted, filtered, walked through by keyboard; one row
 * is the chosen one.
 *
 * The order is worked out anew every two seconds, but not while somebody is at it with the pointer or the keyboard: what
 * one is about to click must not run away.
 */

import { byId, make, setAttribute, text } from "../dom.ts";
import { count } from "../format.ts";
import type { Market } from "../model/market.ts";
import { arrange, firstSort, type Sort, type SortKey } from "../model/order.ts";
import type { Token } from "../model/token.ts";
import type { Frame } from "./frame.ts";
import type { Palette } from "./palette.ts";
import { Row, type RowStyle } from "./row.ts";

const REORDER_MS = 2_000;
const HOLD_MS = 5_000;
/** Rows above and below the visible ones. */
const SPARE_ROWS = 3;

const COLUMNS: readonly { key: SortKey | null; name: string; title: string }[] = [
  { key: "name", name: "Token", title: "name" },
  { key: "price", name: "Price", title: "last price" },
  { key: "change", name: "24 h", title: "change in 24 hours" },
  { key: "volume", name: "Volume", title: "value traded in 24 hours" },
  { key: "rate", name: "Upd/s", title: "updates per second" },
  { key: "age", name: "Age", title: "time since the last update" },
  { key: null, name: "3 min", title: "the last three minutes" },
];

/** The table. */
export class Table {
  readonly style: RowStyle = { oldAfterMs: 30_000, flash: true };
  #sort: Sort;
  readonly #market: Market;
  readonly #frame: Frame;
  readonly #palette: Palette;
  readonly #choose: (token: Token, open: boolean) => void;
  readonly #sorted: (sort: Sort) => void;

  readonly #grid = byId("grid", HTMLElement);
  readonly #body = byId("grid-body", HTMLElement);
  readonly #head = byId("grid-head", HTMLElement);
  readonly #filter = byId("filter", HTMLInputElement);
  readonly #empty = text("table-empty");
  readonly #count = text("table-count");
  readonly #rows: Row[] = [];

  #order: Token[] = [];
  #members = -1;
  #dirty = true;
  #orderedAt = -Infinity;
  #heldAt = -Infinity;
  /** Somebody was at the table since the last drawing. */
  #held = false;
  #height = 0;
  #rowHeight = 28;
  #headHeight = 28;
  #selected: string | null = null;
  #active: string | null = null;

  /**
   * @param choose - is told the chosen token, and whether it was chosen on purpose
   * @param sorted - is told the sort that a person chose
   */
  constructor(
    market: Market,
    frame: Frame,
    palette: Palette,
    sort: Sort,
    choose: (token: Token, open: boolean) => void,
    sorted: (sort: Sort) => void,
  ) {
    this.#market = market;
    this.#frame = frame;
    this.#palette = palette;
    this.#sort = sort;
    this.#choose = choose;
    this.#sorted = sorted;
    this.#makeHead();
    const touch = (): void => {
      this.#held = true;
    };
    this.#body.addEventListener("pointermove", touch, { passive: true });
    this.#grid.addEventListener("scroll", () => {
      touch();
      frame.request();
    }, { passive: true });
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#grid.addEventListener("focus", () => this.#activate(this.#active ?? this.#selected, false));
    this.#body.addEventListener("click", (event) => this.#click(event));
    this.#filter.addEventListener("input", () => this.refilter());
    this.#filter.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#filter.value !== "") {
        event.preventDefault();
        this.#filter.value = "";
        this.refilter();
      } else if (event.key === "ArrowDown" || event.key === "Enter") {
        event.preventDefault();
        this.#grid.focus();
      }
    });
    new ResizeObserver(() => this.#measure()).observe(this.#grid);
    frame.add((now) => this.#paint(now));
  }

  /** Puts the cursor into the filter. */
  focusFilter(): void {
    this.#filter.focus();
    this.#filter.select();
  }

  /** Shows `name` as chosen; `null`: the first one will be. */
  select(name: string | null): void {
    this.#selected = name;
    if (name === null) this.#dirty = true;
    this.#frame.request();
  }

  /** The filter's text was changed. */
  refilter(): void {
    this.#dirty = true;
    this.#grid.scrollTop = 0;
    this.#frame.request();
  }

  /** The token that stands first, if there is one. */
  get first(): Token | null {
    return this.#order[0] ?? null;
  }

  #makeHead(): void {
    for (const [at, column] of COLUMNS.entries()) {
      const cell = make("div", `cell ${CLASSES[at] ?? ""}`);
      cell.setAttribute("role", "columnheader");
      cell.setAttribute("aria-colindex", String(at + 1));
      const { key } = column;
      if (key === null) {
        cell.textContent = column.name;
      } else {
        const button = make("button", "sort", column.name);
        button.type = "button";
        button.title = `Sort by ${column.title}`;
        button.addEventListener("click", () => {
          this.#sort =
            this.#sort.key === key ? { key, descending: !this.#sort.descending } : firstSort(key);
          this.#dirty = true;
          this.#showSort();
          this.#sorted(this.#sort);
          this.#frame.request();
        });
        cell.append(button);
      }
      this.#head.append(cell);
    }
    this.#showSort();
  }

  #showSort(): void {
    for (const [at, column] of COLUMNS.entries()) {
      const cell = this.#head.children[at];
      if (cell === undefined || column.key === null) continue;
      const mine = column.key === this.#sort.key;
      setAttribute(cell, "aria-sort", mine ? (this.#sort.descending ? "descending" : "ascending") : "none");
    }
  }

  #measure(): void {
    const style = getComputedStyle(this.#grid);
    this.#rowHeight = Number.parseFloat(style.getPropertyValue("--row")) || 28;
    this.#headHeight = Number.parseFloat(style.getPropertyValue("--row-head")) || 28;
    this.#height = this.#grid.clientHeight;
    const wanted = this.#height === 0 ? 0 : Math.ceil(this.#height / this.#rowHeight) + 2 * SPARE_ROWS;
    while (this.#rows.length < wanted) this.#rows.push(new Row(`row-${this.#rows.length}`, this.#palette));
    for (const row of this.#rows.splice(wanted)) row.element.remove();
    for (const row of this.#rows) {
      row.index = -1;
      row.token = null;
      row.element.remove();
    }
    // all cells of the column are as large as the first: one look for all of them
    const [first] = this.#rows;
    if (first !== undefined) {
      this.#body.append(first.element);
      const { clientWidth, clientHeight } = first.sparkCell;
      first.element.remove();
      for (const row of this.#rows) row.spark.resize(clientWidth, clientHeight);
    }
    this.#dirty = true;
    this.#frame.request();
  }

  #arrange(now: number): void {
    if (this.#held) this.#heldAt = now;
    this.#held = false;
    const members = this.#members !== this.#market.members;
    const due = now - this.#orderedAt >= REORDER_MS && now - this.#heldAt >= HOLD_MS;
    if (!this.#dirty && !members && !due) return;
    this.#dirty = false;
    this.#members = this.#market.members;
    this.#orderedAt = now;
    const { tokens, beyond } = this.#market;
    this.#order = arrange(tokens.values(), this.#filter.value, this.#sort);
    const height = `${this.#order.length * this.#rowHeight}px`;
    if (this.#body.style.height !== height) this.#body.style.height = height;
    setAttribute(this.#grid, "aria-rowcount", String(this.#order.length + 1));
    const shown = this.#order.length === tokens.size ? count(tokens.size) : `${count(this.#order.length)} of ${count(tokens.size)}`;
    this.#count.set(tokens.size === 0 ? "" : beyond > 0 ? `${shown}, more are not shown` : shown);
    this.#empty.element.hidden = this.#order.length > 0;
    this.#empty.set(tokens.size === 0 ? "No prices yet." : "No token has this in its name.");
    if (this.#selected === null || !tokens.has(this.#selected)) {
      const [token] = this.#order;
      if (token !== undefined && this.#selected === null) this.#choose(token, false);
    }
  }

  #paint(now: number): void {
    if (this.#height === 0) return;
    this.#arrange(now);
    const size = this.#rows.length;
    if (size === 0) return;
    const top = Math.max(0, Math.floor(this.#grid.scrollTop / this.#rowHeight) - SPARE_ROWS);
    let activeId: string | null = null;
    for (let index = top; index < top + size; index += 1) {
      const row = this.#rows[index % size];
      const token = this.#order[index];
      if (row === undefined) continue;
      if (token === undefined) {
        if (row.index !== -1) row.element.remove();
        row.index = -1;
        row.token = null;
        continue;
      }
      row.bind(token, index, index * this.#rowHeight);
      if (!row.element.isConnected) this.#body.append(row.element);
      const active = token.name === this.#active;
      if (active) activeId = row.element.id;
      row.mark(token.name === this.#selected, active);
      row.paint(now, this.style);
    }
    setAttribute(this.#grid, "aria-activedescendant", activeId);
  }

  #click(event: MouseEvent): void {
    const element = event.target instanceof Element ? event.target.closest("[role=row]") : null;
    const token = this.#rows.find((row) => row.element === element)?.token;
    if (token === null || token === undefined) return;
    this.#active = token.name;
    this.#choose(token, true);
    this.#frame.request();
  }

  #key(event: KeyboardEvent): void {
    if (event.target !== this.#grid || event.altKey || event.ctrlKey || event.metaKey) return;
    const at = this.#order.findIndex((token) => token.name === this.#active);
    const page = Math.max(1, Math.floor((this.#height - this.#headHeight) / this.#rowHeight) - 1);
    const last = this.#order.length - 1;
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at === -1 ? 0 : at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: last,
    };
    const to = moves[event.key];
    if (to !== undefined) {
      event.preventDefault();
      this.#held = true;
      this.#activate(this.#order[Math.max(0, Math.min(last, to))]?.name ?? null, true);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      const token = this.#order[at];
      if (token !== undefined) this.#choose(token, true);
    }
  }

  #activate(name: string | null, scroll: boolean): void {
    const at = Math.max(0, this.#order.findIndex((token) => token.name === name));
    this.#active = this.#order[at]?.name ?? null;
    if (scroll) {
      const top = at * this.#rowHeight;
      const room = this.#height - this.#headHeight - this.#rowHeight;
      if (top < this.#grid.scrollTop) this.#grid.scrollTop = top;
      else if (top > this.#grid.scrollTop + room) this.#grid.scrollTop = top - room;
    }
    this.#frame.request();
  }
}

const CLASSES = ["name", "price", "change", "volume", "rate", "age", "spark"];
