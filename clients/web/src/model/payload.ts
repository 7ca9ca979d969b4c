/**
 * What publishers send, read with suspicion: the gateway passes payloads through untouched, so a member may be missing or
 * of any kind. What is not usable is left out; what has no price is no price.
 */

/** A publisher's value. */
export type Payload = Readonly<Record<string, unknown>>;

/** A price as far as it is usable. */
export interface Price {
  readonly price: number;
  /** Change in 24 hours, percent. */
  readonly change: number | null;
  /** Value traded in 24 hours. */
  readonly volume: number | null;
  /** The publisher's clock, milliseconds since 1970. */
  readonly timestamp: number | null;
}

/** The object in `data`, if it is one. */
export function object(data: unknown): Payload | null {
  return typeof data === "object" && data !== null && !Array.isArray(data) ? (data as Payload) : null;
}

/** The finite number in a member. */
export function number(payload: Payload, member: string): number | null {
  const value = payload[member];
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

/** The text in a member, cut to `length` characters. */
export function string(payload: Payload, member: string, length = 80): string | null {
  const value = payload[member];
  if (typeof value !== "string" || value === "") return null;
  return value.length > length ? `${value.slice(0, length - 1)}…` : value;
}

/** The time in a member, milliseconds since 1970; `null` also for one that no calendar has. */
export function time(payload: Payload, member: string): number | null {
  const value = number(payload, member);
  return value !== null && Math.abs(value) <= 8.64e15 ? value : null;
}

/** Reads a price; `null` if there is none in it. */
export function readPrice(data: unknown): Price | null {
  const payload = object(data);
  if (payload === null) return null;
  const price = number(payload, "price");
  if (price === null) return null;
  return {
    price,
    change: number(payload, "priceChange24h"),
    volume: number(payload, "volume24h"),
    timestamp: time(payload, "timestamp"),
  };
}
