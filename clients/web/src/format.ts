/**
 * Numbers and times as text: the same width for the same kind, so that columns do not move. English, whatever the browser
 * speaks, because all of the page is.
 */

/** What stands where nothing is known. */
export const NOTHING = "–";

const MINUS = "−";
const byDecimals = new Map<number, Intl.NumberFormat>();

function fixed(decimals: number): Intl.NumberFormat {
  let format = byDecimals.get(decimals);
  if (format === undefined) {
    format = new Intl.NumberFormat("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    byDecimals.set(decimals, format);
  }
  return format;
}

/**
 * How many decimals a price of this size is shown with.
 *
 * @returns 2 to 10
 */
export function decimalsOf(price: number): number {
  const size = Math.abs(price);
  if (size >= 1_000 || size === 0) return 2;
  if (size >= 1) return 4;
  if (size >= 0.01) return 6;
  return 10;
}

/** A price: `64,250.50`, `0.0000116200`. */
export function price(value: number, decimals = decimalsOf(value)): string {
  return signed(fixed(decimals).format(value));
}

/** A change in percent with its sign: `+1.50 %`, `−0.20 %`, `0.00 %`. */
export function percent(value: number): string {
  const text = fixed(2).format(Math.abs(value));
  if (text === "0.00") return "0.00 %";
  return `${value < 0 ? MINUS : "+"}${text} %`;
}

/** A large amount with three or four digits: `1.82 M`, `945`. */
export function amount(value: number): string {
  const size = Math.abs(value);
  for (const [unit, name] of UNITS) {
    if (size >= unit * 0.9995) return `${threeDigits(value / unit)} ${name}`;
  }
  return size >= 100 || Number.isInteger(value) ? fixed(0).format(value) : fixed(2).format(value);
}

const UNITS: readonly (readonly [number, string])[] = [
  [1e12, "T"],
  [1e9, "B"],
  [1e6, "M"],
  [1e3, "K"],
];

function threeDigits(value: number): string {
  const size = Math.abs(value);
  return fixed(size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2).format(value);
}

/** A whole number: `12,034`. */
export function count(value: number): string {
  return fixed(0).format(value);
}

/** Something per second: `4,012`, `19.8`, `0.3`, `0`. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return value >= 99.95 ? fixed(0).format(value) : fixed(1).format(value);
}

/**
 * How long ago, in one number: `now`, `7 s`, `12 min`, `3 h`, `2 d`.
 *
 * @param ms - milliseconds; below one second is `now`
 */
export function age(ms: number): string {
  if (ms < 1_000) return "now";
  const seconds = Math.floor(ms / 1_000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}

/** A duration in milliseconds with at most three digits: `0.4 ms`, `12 ms`, `1.2 s`, `3 min`. */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  const sign = ms < 0 ? MINUS : "";
  if (size < 9.95) return `${sign}${Number.isInteger(size) ? size : size.toFixed(1)} ms`;
  if (size < 999.5) return `${sign}${Math.round(size)} ms`;
  if (size < 59_950) return `${sign}${(size / 1_000).toFixed(size < 9_950 ? 1 : 0)} s`;
  return `${sign}${age(size)}`;
}

/** The time of day with seconds, in the reader's zone: `14:03:09`. */
export function clock(ms: number): string {
  const date = new Date(ms);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** `extreme_greed` as people write it: `extreme greed`. */
export function words(name: string): string {
  return name.replaceAll(/[_-]+/g, " ");
}

function signed(text: string): string {
  return text.startsWith("-") ? MINUS + text.slice(1) : text;
}
