/**
 * Single keys for the whole page. They can be switched off, and do nothing while something is typed or a window is open.
 */

/** What a key does. */
export type Keys = Readonly<Record<string, () => void>>;

/** Listens for `keys` as long as `wanted` says so. */
export function listen(keys: Keys, wanted: () => boolean): void {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey || event.repeat) return;
    if (!wanted() || document.querySelector("dialog[open]") !== null) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest("input, select, textarea") !== null && target !== null) return;
    const act = keys[event.key];
    if (act === undefined) return;
    event.preventDefault();
    act();
  });
}
