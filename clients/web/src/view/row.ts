/**
 * One row of the table. Rows are few and are given another token when the table scrolls; a cell is written only when its
 * text changes.
 */

import { make, setAttribute, Text } from "../dom.ts";
import { age, amount, decimalsOf, NOTHING, percent, price, rate } from "../format.ts";
import type { Token } from "../model/token.ts";
import type { Palette } from "./palette.ts";
import { Sparkline } from "./sparkline.ts";

/** How long a flash stays, and how long at least until the next one, milliseconds. */
const FLASH_MS = 350;
const FLASH_PAUSE_MS = 900;
/** How often a row that nothing happens to looks at its age, milliseconds. */
const AGE_MS = 250;

/** What rows are drawn by. */
export interface RowStyle {
  /** A price older than this is old, milliseconds; `Infinity`: never. */
  oldAfterMs: number;
  flash: boolean;
}

/** A row and the token it shows. */
export class Row {
  readonly element: HTMLElement;
  readonly spark: Sparkline;
  readonly sparkCell: HTMLElement;
  token: Token | null = null;
  /** Where it stands in the order; -1: nowhere. */
  index = -1;

  readonly #name: Text;
  readonly #arrow: Text;
  readonly #price: Text;
  readonly #change: Text;
  readonly #volume: Text;
  readonly #rate: Text;
  readonly #age: Text;
  readonly #priceCell: HTMLElement;
  #version = -1;
  #agedAt = -Infinity;
  #flashedAt = -Infinity;
  #flash = "";
  #old = false;

  constructor(id: string, palette: Palette) {
    this.element = make("div", "row");
    this.element.id = id;
    this.element.setAttribute("role", "row");
    const cell = (column: number, classes: string): HTMLElement => {
      const element = make("div", `cell ${classes}`);
      element.setAttribute("role", column === 1 ? "rowheader" : "gridcell");
      element.setAttribute("aria-colindex", String(column));
      this.element.append(element);
      return element;
    };
    this.#name = new Text(cell(1, "name"));
    this.#priceCell = cell(2, "price");
    const arrow = make("span", "arrow");
    arrow.setAttribute("aria-hidden", "true");
    const number = make("span");
    this.#priceCell.append(arrow, number);
    this.#arrow = new Text(arrow);
    this.#price = new Text(number);
    this.#change = new Text(cell(3, "change"));
    this.#volume = new Text(cell(4, "volume"));
    this.#rate = new Text(cell(5, "rate"));
    const ageCell = cell(6, "age");
    this.#age = new Text(ageCell.appendChild(make("span")));
    this.sparkCell = cell(7, "spark");
    this.spark = new Sparkline(palette);
    this.sparkCell.append(this.spark.element);
  }

  /** Shows another token, at another place. */
  bind(token: Token, index: number, top: number): void {
    if (index !== this.index) {
      this.index = index;
      this.element.style.transform = `translateY(${top}px)`;
      setAttribute(this.element, "aria-rowindex", String(index + 2));
    }
    if (token === this.token) return;
    this.token = token;
    this.#version = -1;
    this.#flashedAt = token.movedAt;
    this.#setFlash("");
    this.#name.set(token.name);
  }

  /** Marks it as the chosen one, and as the one the keyboard is at. */
  mark(selected: boolean, active: boolean): void {
    setAttribute(this.element, "aria-selected", String(selected));
    this.element.classList.toggle("active", active);
  }

  /** Brings it up to date. */
  paint(now: number, style: RowStyle): void {
    const { token } = this;
    if (token === null) return;
    const news = token.version !== this.#version;
    if (news) {
      this.#version = token.version;
      this.#paintValues(token);
    }
    if (news || now - this.#agedAt >= AGE_MS) {
      this.#agedAt = now;
      const ms = now - token.heardAt;
      this.#age.set(age(ms));
      this.#rate.set(rate(token.rate.perSecond));
      const old = ms >= style.oldAfterMs;
      if (old !== this.#old) {
        this.#old = old;
        this.element.classList.toggle("old", old);
        setAttribute(this.#age.element, "title", old ? "old" : null);
      }
    }
    this.#paintFlash(token, now, style.flash);
    this.spark.paint(token, now);
  }

  #paintValues(token: Token): void {
    this.#price.set(Number.isNaN(token.price) ? NOTHING : price(token.price, decimalsOf(token.price)));
    if (this.#arrow.set(token.direction === 0 ? "" : token.direction > 0 ? "▲" : "▼")) {
      this.#arrow.element.className = token.direction < 0 ? "arrow down" : "arrow up";
    }
    if (this.#change.set(token.change === null ? NOTHING : percent(token.change))) {
      const sign = Math.sign(token.change ?? 0);
      this.#change.element.className = `cell change${sign > 0 ? " up" : sign < 0 ? " down" : ""}`;
    }
    this.#volume.set(token.volume === null ? NOTHING : amount(token.volume));
  }

  #paintFlash(token: Token, now: number, wanted: boolean): void {
    if (this.#flash !== "" && now - this.#flashedAt >= FLASH_MS) this.#setFlash("");
    const colour = token.direction < 0 ? " flash-down" : " flash-up";
    const moved = token.movedAt > this.#flashedAt && now - token.movedAt < FLASH_MS;
    if (wanted && moved && now - this.#flashedAt >= FLASH_PAUSE_MS) {
      this.#flashedAt = now;
      this.#setFlash(colour);
    } else if (this.#flash !== "") {
      this.#setFlash(colour);
    }
  }

  #setFlash(flash: string): void {
    if (flash === this.#flash) return;
    this.#flash = flash;
    this.#priceCell.className = `cell price${flash}`;
  }
}
