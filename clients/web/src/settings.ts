/**
 * What the reader chose, remembered in this browser. Never the token.
 *
 * What is found in the browser's storage is not trusted: a value that is none of the possible ones is the default.
 */

import type { TransportName } from "@odin/client";
import { SORT_KEYS, type Sort } from "./model/order.ts";

/** Everything that is remembered. */
export interface Settings {
  /** Address of the gateway; empty: the one that served the page. */
  readonly gateway: string;
  readonly transport: "auto" | TransportName;
  readonly codec: "json" | "msgpack";
  /** Channels or a pattern, separated by commas. */
  readonly channels: string;
  /** A price is old after so many seconds; 0: never. */
  readonly oldAfterS: number;
  readonly theme: "auto" | "light" | "dark";
  readonly flash: boolean;
  /** Whether single keys do something. */
  readonly keys: boolean;
  readonly sort: Sort;
  /** The part of the chart's past that is shown, minutes. */
  readonly chartMinutes: number;
  /** The chosen token; empty: the first one. */
  readonly token: string;
}

/** What holds until something is chosen. */
export const DEFAULTS: Settings = {
  gateway: "",
  transport: "auto",
  codec: "json",
  channels: "price:*",
  oldAfterS: 30,
  theme: "auto",
  flash: true,
  keys: true,
  sort: { key: "volume", descending: true },
  chartMinutes: 5,
  token: "",
};

/** What may be chosen. */
export const TRANSPORT_CHOICES = ["auto", "websocket", "events", "poll"] as const;
export const CODEC_CHOICES = ["json", "msgpack"] as const;
export const THEME_CHOICES = ["auto", "light", "dark"] as const;
export const OLD_CHOICES = [10, 30, 60, 300, 0] as const;
export const CHART_CHOICES = [1, 5, 15] as const;

/** Channels that the page subscribes to for prices, at most. */
export const MAX_CHANNELS = 200;
const CHANNEL = /^[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9_-]{1,64}){0,2}:(\*|[A-Za-z0-9_-]{1,64})$/;

const KEY = "odin.settings";

/** Where settings are kept; the part of `Storage` that is used. */
export interface Shelf {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** Reads what was chosen; the defaults if nothing was, or if the browser does not tell. */
export function load(shelf: Shelf | null): Settings {
  try {
    return readSettings(JSON.parse(shelf?.getItem(KEY) ?? "null"));
  } catch {
    return DEFAULTS;
  }
}

/** Keeps what was chosen; a browser that keeps nothing is no trouble. */
export function save(shelf: Shelf | null, settings: Settings): void {
  try {
    shelf?.setItem(KEY, JSON.stringify(settings));
  } catch {
    // full, or forbidden: the choice holds for as long as the page is open
  }
}

/** The browser's storage, if it lets us. */
export function shelf(): Shelf | null {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** Takes from `value` what settings can be, and the defaults for the rest. */
export function readSettings(value: unknown): Settings {
  const found: Record<string, unknown> = typeof value === "object" && value !== null ? { ...value } : {};
  const sort: Record<string, unknown> = typeof found.sort === "object" && found.sort !== null ? { ...found.sort } : {};
  const channels = text(found.channels, DEFAULTS.channels, 2_000);
  return {
    gateway: text(found.gateway, DEFAULTS.gateway, 500),
    transport: oneOf(found.transport, TRANSPORT_CHOICES, DEFAULTS.transport),
    codec: oneOf(found.codec, CODEC_CHOICES, DEFAULTS.codec),
    channels: typeof readChannels(channels) === "string" ? DEFAULTS.channels : channels,
    oldAfterS: oneOf(found.oldAfterS, OLD_CHOICES, DEFAULTS.oldAfterS),
    theme: oneOf(found.theme, THEME_CHOICES, DEFAULTS.theme),
    flash: typeof found.flash === "boolean" ? found.flash : DEFAULTS.flash,
    keys: typeof found.keys === "boolean" ? found.keys : DEFAULTS.keys,
    sort: {
      key: oneOf(sort.key, SORT_KEYS, DEFAULTS.sort.key),
      descending: typeof sort.descending === "boolean" ? sort.descending : DEFAULTS.sort.descending,
    },
    chartMinutes: oneOf(found.chartMinutes, CHART_CHOICES, DEFAULTS.chartMinutes),
    token: text(found.token, DEFAULTS.token, 64),
  };
}

/** The channels in a line of text, or what is wrong with it. */
export function readChannels(line: string): readonly string[] | string {
  const names = [...new Set(line.split(/[\s,]+/).filter((name) => name !== ""))];
  if (names.length === 0) return "name at least one channel";
  if (names.length > MAX_CHANNELS) return `at most ${MAX_CHANNELS} channels`;
  const wrong = names.find((name) => !CHANNEL.test(name) || name.length > 128);
  return wrong === undefined ? names : `"${wrong.slice(0, 80)}" is no channel of prices, as price:BTC or price:*`;
}

function oneOf<T>(value: unknown, choices: readonly T[], otherwise: T): T {
  return choices.includes(value as T) ? (value as T) : otherwise;
}

function text(value: unknown, otherwise: string, length: number): string {
  return typeof value === "string" && value.length <= length ? value : otherwise;
}
