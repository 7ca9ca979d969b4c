/**
 * Signals and notifications, for those who have signed in, in two tabs.
 */

import { byId, icon, make, text } from "../dom.ts";
import { clock, count, price, words } from "../format.ts";
import { type Notification, Recent, type Signal } from "../model/news.ts";
import type { Frame } from "./frame.ts";

/** Least time between two drawings of a list, milliseconds. */
const EVERY_MS = 500;

type Tab = "signals" | "notifications";
const TABS: readonly Tab[] = ["signals", "notifications"];

/** Shows both lists. */
export class NewsView {
  readonly signals = new Recent<Signal>();
  readonly notifications = new Recent<Notification>();
  readonly #choose: (name: string) => void;
  readonly #lists = { signals: byId("signals", HTMLElement), notifications: byId("notifications", HTMLElement) };
  readonly #badges = { signals: text("count-signals"), notifications: text("count-notifications") };
  readonly #shown = { signals: -1, notifications: -1 };
  readonly #reordered = { signals: 0, notifications: 0 };
  #paintedAt = -Infinity;
  #tab: Tab = "signals";

  /** @param choose - is told the token whose signal was clicked */
  constructor(frame: Frame, choose: (name: string) => void, signIn: () => void) {
    this.#choose = choose;
    for (const tab of TABS) {
      const button = byId(`tab-${tab}`, HTMLButtonElement);
      button.addEventListener("click", () => this.#open(tab, false));
      button.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        event.preventDefault();
        this.#open(tab === "signals" ? "notifications" : "signals", true);
      });
    }
    for (const tab of TABS) {
      const empty = byId(`${tab}-empty`, HTMLElement);
      const button = make("button", "button", "Sign in");
      button.type = "button";
      button.addEventListener("click", signIn);
      empty.append(make("p"), button);
    }
    this.explain("Sign in to see signals and your notifications.", true);
    frame.add((now) => this.#paint(now));
  }

  /** Says why a list is empty, and whether signing in helps. */
  explain(why: string, signIn: boolean): void {
    for (const tab of TABS) {
      const empty = byId(`${tab}-empty`, HTMLElement);
      const [line, button] = empty.children;
      if (line !== undefined) line.textContent = why;
      if (button instanceof HTMLElement) button.hidden = !signIn;
    }
  }

  /** Forgets everything, as when the user signs out. */
  clear(): void {
    this.signals.clear();
    this.notifications.clear();
    for (const tab of TABS) {
      this.#lists[tab].replaceChildren();
      this.#badges[tab].set("");
      this.#shown[tab] = -1;
    }
  }

  #open(tab: Tab, focus: boolean): void {
    this.#tab = tab;
    for (const each of TABS) {
      const button = byId(`tab-${each}`, HTMLButtonElement);
      button.setAttribute("aria-selected", String(each === tab));
      button.tabIndex = each === tab ? 0 : -1;
      byId(`panel-${each}`, HTMLElement).hidden = each !== tab;
      if (each === tab && focus) button.focus();
    }
    this.#paintedAt = -Infinity;
    this.#paint(performance.now());
  }

  #paint(now: number): void {
    if (now - this.#paintedAt < EVERY_MS) return;
    this.#paintedAt = now;
    for (const tab of TABS) {
      const { total } = this[tab];
      this.#badges[tab].set(total === 0 ? "" : count(total));
      byId(`${tab}-empty`, HTMLElement).hidden = total > 0;
    }
    const tab = this.#tab;
    const news = this[tab];
    const fresh = news.total - Math.max(0, this.#shown[tab]);
    if (this.#shown[tab] === news.total) return;
    const list = this.#lists[tab];
    // rows stay where they are, for whoever is at one of them, unless older ones came between
    const anew = this.#shown[tab] === -1 || this.#reordered[tab] !== news.reordered;
    this.#shown[tab] = news.total;
    this.#reordered[tab] = news.reordered;
    const added = anew ? news.items.length : fresh;
    const rows =
      tab === "signals"
        ? this.signals.items.slice(0, added).map((signal) => this.#signal(signal))
        : this.notifications.items.slice(0, added).map((notification) => notificationRow(notification));
    if (anew) list.replaceChildren(...rows);
    else list.prepend(...rows);
    while (list.children.length > news.items.length) list.lastElementChild?.remove();
  }

  #signal(signal: Signal): HTMLElement {
    const row = make("li", "item signal");
    row.append(time(signal.time));
    const severity = signal.severity ?? "low";
    const badge = make("span", `severity ${severity}`, severity);
    row.append(badge);
    if (signal.direction !== null) {
      const arrow = icon(signal.direction);
      arrow.classList.add(signal.direction);
      row.append(arrow, make("span", "hidden", signal.direction));
    }
    if (signal.price !== null) row.title = `at ${price(signal.price)}`;
    if (signal.entity !== "") {
      const token = make("button", "link", signal.entity);
      token.type = "button";
      token.addEventListener("click", () => this.#choose(signal.entity));
      row.append(token);
    }
    row.append(make("span", "kind", words(signal.kind)));
    if (signal.score !== null) {
      const score = make("span", "number score", count(signal.score));
      score.title = "score";
      row.append(score);
    }
    return row;
  }
}

function notificationRow(notification: Notification): HTMLElement {
  const row = make("li", "item notification");
  row.append(time(notification.time), make("strong", "", notification.title), make("span", "", notification.text));
  return row;
}

function time(ms: number): HTMLElement {
  const element = make("time", "", clock(ms));
  element.dateTime = new Date(ms).toISOString();
  return element;
}
