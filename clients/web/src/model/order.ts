/**
 * Which tokens the table shows, and in which order.
 */

import type { Token } from "./token.ts";

/** What can be sorted by. */
export const SORT_KEYS = ["name", "price", "change", "volume", "rate", "age"] as const;

/** One of them. */
export type SortKey = (typeof SORT_KEYS)[number];

/** Key and direction. */
export interface Sort {
  readonly key: SortKey;
  readonly descending: boolean;
}

/** How a column is sorted when it is chosen: names from A, everything else with the largest first. */
export function firstSort(key: SortKey): Sort {
  return { key, descending: key !== "name" };
}

/**
 * The tokens whose name has `filter` in it, whatever the case, in order. Those that have no value for the key come last in
 * either direction; equal ones by name.
 */
export function arrange(tokens: Iterable<Token>, filter: string, sort: Sort): Token[] {
  const wanted = filter.trim().toLowerCase();
  const found: Token[] = [];
  for (const token of tokens) {
    if (wanted === "" || token.name.toLowerCase().includes(wanted)) found.push(token);
  }
  const sign = sort.descending ? -1 : 1;
  const value = VALUES[sort.key];
  return found.sort((a, b) => {
    const left = value(a);
    const right = value(b);
    if (left !== right) {
      if (left === null) return 1;
      if (right === null) return -1;
      return left < right ? -sign : sign;
    }
    return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
  });
}

const VALUES: Readonly<Record<SortKey, (token: Token) => number | string | null>> = {
  name: (token) => token.name,
  price: (token) => token.price,
  change: (token) => token.change,
  volume: (token) => token.volume,
  rate: (token) => token.rate.perSecond,
  // the age grows as the time of the last update falls
  age: (token) => -token.heardAt,
};
