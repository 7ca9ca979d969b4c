/**
 * The last minutes of a price as a line in a cell.
 */

import type { Token } from "../model/token.ts";
import type { Palette } from "./palette.ts";

/** The part of the past that is shown: three minutes. */
const SPAN_MS = 180_000;
/** Least time between two drawings of one line, milliseconds. */
const EVERY_MS = 500;

/** One canvas. What it shows is told in the row's text, so it is for the eye only. */
export class Sparkline {
  readonly element: HTMLCanvasElement;
  readonly #palette: Palette;
  #width = 0;
  #height = 0;
  #token: Token | null = null;
  #version = -1;
  #colours = -1;
  #drawnAt = -Infinity;

  constructor(palette: Palette) {
    this.#palette = palette;
    this.element = document.createElement("canvas");
    this.element.setAttribute("aria-hidden", "true");
  }

  /** Takes the size of its cell, CSS pixels. */
  resize(width: number, height: number): void {
    const scale = Math.min(devicePixelRatio || 1, 3);
    this.#width = width;
    this.#height = height;
    this.element.width = Math.round(width * scale);
    this.element.height = Math.round(height * scale);
    this.#drawnAt = -Infinity;
  }

  /** Draws the line of `token`, if it is another one, has moved, or the colours have. */
  paint(token: Token, now: number): void {
    const other = token !== this.#token;
    const changed = token.version !== this.#version || this.#palette.version !== this.#colours;
    if (!other && (!changed || now - this.#drawnAt < EVERY_MS)) return;
    this.#token = token;
    this.#version = token.version;
    this.#colours = this.#palette.version;
    this.#drawnAt = now;
    this.#draw(token);
  }

  #draw(token: Token): void {
    const context = this.element.getContext("2d");
    if (context === null || this.#width === 0) return;
    const scale = this.element.width / this.#width;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, this.#width, this.#height);
    const { points } = token;
    const until = points.length > 0 ? points.time(points.length - 1) : 0;
    const first = points.indexAt(until - SPAN_MS);
    let low = Infinity;
    let high = -Infinity;
    for (let index = first; index < points.length; index += 1) {
      const value = points.value(index);
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return;
    const from = points.time(first);
    // a line that is young fills the cell as it grows, but not before it has a minute
    const span = Math.max(until - from, 60_000);
    const pad = 3;
    const range = high - low;
    const x = (time: number): number => pad + ((time - until + span) / span) * (this.#width - 2 * pad);
    const y = (value: number): number =>
      range === 0 ? this.#height / 2 : pad + ((high - value) / range) * (this.#height - 2 * pad);
    context.beginPath();
    let pen = false;
    let before = 0;
    for (let index = first; index < points.length; index += 1) {
      const value = points.value(index);
      if (Number.isNaN(value)) {
        pen = false;
        continue;
      }
      if (pen) {
        // a price stays what it is until the next one
        context.lineTo(x(points.time(index)), before);
        context.lineTo(x(points.time(index)), y(value));
      } else {
        context.moveTo(x(points.time(index)), y(value));
        pen = true;
      }
      before = y(value);
    }
    context.strokeStyle = this.#palette.colour("muted");
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    context.stroke();
    if (Number.isNaN(token.price)) return;
    context.beginPath();
    context.arc(x(until), y(token.price), 2, 0, Math.PI * 2);
    context.fillStyle = this.#palette.colour(token.direction < 0 ? "down" : token.direction > 0 ? "up" : "muted");
    context.fill();
  }
}
