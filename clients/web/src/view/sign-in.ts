/**
 * The window in which a token is entered. The token goes to whoever opened it and is nowhere else: the field is emptied at
 * once, and nothing of it is stored or logged.
 */

import { byId, text } from "../dom.ts";
import type { Address } from "../address.ts";

/** What the window says about the user at present. */
export interface SignInState {
  /** The user, if the gateway has taken a token. */
  readonly user: string | null;
  /** When the token expires, milliseconds since 1970. */
  readonly expiresAt: number | null;
  /** There is a token, taken or not. */
  readonly token: boolean;
}

/** Takes a token, or signs out. */
export class SignInView {
  readonly #dialog = byId("sign-in", HTMLDialogElement);
  readonly #token = byId("token", HTMLInputElement);
  readonly #state = text("sign-in-state");
  readonly #note = text("token-note");
  readonly #problem = text("sign-in-problem");
  readonly #out = byId("sign-out", HTMLButtonElement);

  /** @param enter - is given the token, or `null` to sign out */
  constructor(enter: (token: string | null) => void) {
    byId("sign-in-form", HTMLFormElement).addEventListener("submit", (event) => {
      const token = this.#token.value.trim();
      const problem = check(token);
      this.#problem.set(problem ?? "");
      if (problem !== null) {
        event.preventDefault();
        return;
      }
      this.#token.value = "";
      enter(token);
    });
    this.#dialog.addEventListener("close", () => {
      this.#token.value = "";
    });
    this.#out.addEventListener("click", () => {
      this.#dialog.close();
      enter(null);
    });
  }

  /** Opens the window. */
  open(state: SignInState, gateway: Address): void {
    const until = state.expiresAt === null ? "" : `, until ${new Date(state.expiresAt).toLocaleString("en-GB")}`;
    this.#state.set(state.user === null ? "Nobody is signed in." : `Signed in as ${state.user}${until}.`);
    this.#out.hidden = !state.token;
    const where = gateway.foreign ? `${gateway.host}, which is not where this page came from` : gateway.host;
    this.#note.set(`Sent to ${where}. Kept in memory until the page is closed, never stored.`);
    this.#problem.set("");
    this.#dialog.showModal();
  }
}

/** What is wrong with a token before anybody is asked. */
function check(token: string): string | null {
  if (token === "") return "Enter a token.";
  // a token is a JWT, an API key or a session's name: none of them has spaces or anything beyond ASCII
  return /^[\x21-\x7e]+$/.test(token) ? null : "A token has no spaces and only ASCII characters.";
}
