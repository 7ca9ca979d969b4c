/**
 * Light or dark: as the system says, unless somebody chose.
 */

import { byId, setAttribute } from "../dom.ts";
import { type Settings, THEME_CHOICES } from "../settings.ts";
import type { Palette } from "./palette.ts";

type Theme = Settings["theme"];

const NAMES: Readonly<Record<Theme, string>> = { auto: "like the system", light: "light", dark: "dark" };

/** Applies the theme, and tells the canvases when colours change. */
export class ThemeView {
  readonly #palette: Palette;
  readonly #changed: () => void;
  readonly #button = byId("theme", HTMLButtonElement);

  /**
   * @param next - is called when the button is pressed
   * @param changed - is called when colours have changed
   */
  constructor(palette: Palette, next: () => void, changed: () => void) {
    this.#palette = palette;
    this.#changed = changed;
    this.#button.addEventListener("click", next);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#reread());
  }

  /** Shows `theme`. */
  apply(theme: Theme): void {
    setAttribute(document.documentElement, "data-theme", theme);
    const label = `Theme: ${NAMES[theme]}`;
    setAttribute(this.#button, "aria-label", label);
    setAttribute(this.#button, "title", label);
    this.#reread();
  }

  #reread(): void {
    this.#palette.read();
    this.#changed();
  }
}

/** The theme that the button goes to. */
export function nextTheme(theme: Theme): Theme {
  return THEME_CHOICES[(THEME_CHOICES.indexOf(theme) + 1) % THEME_CHOICES.length] ?? "auto";
}
