/**
 * The colours of the style sheet, for what is drawn on a canvas.
 */

const NAMES = ["text", "muted", "line", "up", "down", "accent", "accent-soft", "surface", "hatch"] as const;

/** A colour that canvases use. */
export type ColourName = (typeof NAMES)[number];

/** The colours in force. They change with the theme, and `version` counts up then. */
export class Palette {
  version = 0;
  #colours = new Map<ColourName, string>();

  constructor() {
    this.read();
  }

  /** Reads the style sheet again: the theme has changed. */
  read(): void {
    const style = getComputedStyle(document.documentElement);
    for (const name of NAMES) this.#colours.set(name, style.getPropertyValue(`--${name}`).trim());
    this.version += 1;
  }

  /** A colour as CSS writes it. */
  colour(name: ColourName): string {
    return this.#colours.get(name) ?? "";
  }
}
