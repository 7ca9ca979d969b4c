/**
 * Signals and notifications as they come, newest first, bounded.
 */

import { number, object, string } from "./payload.ts";

/** Signals that are kept, and as many notifications. */
export const MAX_NEWS = 100;

/** A signal about a token. */
export interface Signal {
  /** When the stream stored it, milliseconds since 1970. */
  readonly time: number;
  /** `momentum`, `whale` …; not empty. */
  readonly kind: string;
  /** The token it is about. */
  readonly entity: string;
  readonly severity: "low" | "medium" | "high" | null;
  /** 0 to 100. */
  readonly score: number | null;
  readonly direction: "up" | "down" | null;
  readonly price: number | null;
}

/** A message to the user. */
export interface Notification {
  readonly time: number;
  readonly title: string;
  readonly text: string;
}

/** A bounded list, newest first. */
export class Recent<T extends { readonly time: number }> {
  #items: T[] = [];
  /** All there ever were. */
  total = 0;
  /** Counts up when one was added that is not the newest. */
  reordered = 0;

  /** Newest first. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** Adds one, at its place: last values at the begin of a subscription come in any order. */
  add(item: T): void {
    let place = 0;
    while ((this.#items[place]?.time ?? -Infinity) > item.time) place += 1;
    if (place > 0) this.reordered += 1;
    this.#items.splice(place, 0, item);
    if (this.#items.length > MAX_NEWS) this.#items.length = MAX_NEWS;
    this.total += 1;
  }

  /** Forgets everything, as when the user signs out. */
  clear(): void {
    this.#items = [];
    this.total = 0;
  }
}

/**
 * Reads a signal.
 *
 * @param key - `{type}.{entity}` of the update, for a payload that does not repeat them
 * @param ts - when the stream stored it
 */
export function readSignal(data: unknown, key: string | undefined, ts: number): Signal {
  const payload = object(data) ?? {};
  const [kind = "signal", entity = ""] = (key ?? "").split(".");
  const severity = string(payload, "severity");
  const direction = string(payload, "direction");
  return {
    time: ts,
    kind: string(payload, "signal", 40) ?? (kind || "signal"),
    entity: string(payload, "entity", 40) ?? entity,
    severity: severity === "low" || severity === "medium" || severity === "high" ? severity : null,
    score: number(payload, "score"),
    direction: direction === "up" || direction === "down" ? direction : null,
    price: number(payload, "price"),
  };
}

/** Reads a notification; one without title and text is shown as what it is. */
export function readNotification(data: unknown, ts: number): Notification {
  const payload = object(data) ?? {};
  const text = string(payload, "text", 300) ?? string(payload, "message", 300);
  return {
    time: ts,
    title: string(payload, "title", 100) ?? "notification",
    text: text ?? (typeof data === "string" ? data.slice(0, 300) : ""),
  };
}
