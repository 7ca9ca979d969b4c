/**
 * The window of settings. It checks what was typed and keeps nothing itself.
 */

import { address } from "../address.ts";
import { byId, text } from "../dom.ts";
import { DEFAULTS, readChannels, readSettings, type Settings } from "../settings.ts";

/** Shows settings, and gives back what was chosen. */
export class SettingsView {
  readonly #dialog = byId("settings", HTMLDialogElement);
  readonly #gateway = byId("set-gateway", HTMLInputElement);
  readonly #transport = byId("set-transport", HTMLSelectElement);
  readonly #codec = byId("set-codec", HTMLSelectElement);
  readonly #channels = byId("set-channels", HTMLInputElement);
  readonly #old = byId("set-old", HTMLSelectElement);
  readonly #theme = byId("set-theme", HTMLSelectElement);
  readonly #flash = byId("set-flash", HTMLInputElement);
  readonly #keys = byId("set-keys", HTMLInputElement);
  readonly #note = text("set-gateway-note");
  readonly #problem = text("settings-problem");
  #current: Settings = DEFAULTS;

  /** @param save - is told what was chosen */
  constructor(save: (settings: Settings) => void) {
    byId("settings-reset", HTMLButtonElement).addEventListener("click", () => this.#fill(DEFAULTS));
    byId("settings-form", HTMLFormElement).addEventListener("submit", (event) => {
      const problem = this.#check();
      this.#problem.set(problem ?? "");
      if (problem !== null) event.preventDefault();
      else save(this.#read());
    });
  }

  /**
   * Opens the window.
   *
   * @param override - the address that the page's own address asks for, which beats the setting
   */
  open(settings: Settings, override: string | null): void {
    this.#current = settings;
    this.#fill(settings);
    this.#problem.set("");
    const own = `Empty: the gateway that served this page, ${location.host}.`;
    this.#note.set(override === null ? own : `This page's address asks for ${override}; that comes first.`);
    this.#dialog.showModal();
  }

  #fill(settings: Settings): void {
    this.#gateway.value = settings.gateway;
    this.#gateway.placeholder = location.host;
    this.#transport.value = settings.transport;
    this.#codec.value = settings.codec;
    this.#channels.value = settings.channels;
    this.#old.value = String(settings.oldAfterS);
    this.#theme.value = settings.theme;
    this.#flash.checked = settings.flash;
    this.#keys.checked = settings.keys;
  }

  #check(): string | null {
    const found = address(this.#gateway.value, new URL(location.href));
    if (typeof found === "string") return `Gateway: ${found}.`;
    const channels = readChannels(this.#channels.value);
    return typeof channels === "string" ? `Price channels: ${channels}.` : null;
  }

  #read(): Settings {
    return readSettings({
      ...this.#current,
      gateway: this.#gateway.value.trim(),
      transport: this.#transport.value,
      codec: this.#codec.value,
      channels: this.#channels.value,
      oldAfterS: Number(this.#old.value),
      theme: this.#theme.value,
      flash: this.#flash.checked,
      keys: this.#keys.checked,
    });
  }
}
