/**
 * The page put together: what comes from the connection goes into the model, and the views show it.
 */

import type { Begin, End, Gap, OdinError, SignedIn, State, SystemNews, Update } from "@odin/client";
import { type Address, address, ownAddress } from "./address.ts";
import { Chronicle } from "./chronicle.ts";
import { byId, text } from "./dom.ts";
import { age, price, words } from "./format.ts";
import { History } from "./history.ts";
import { Link, type Listener, USER_CHANNELS } from "./link.ts";
import { Journal } from "./model/journal.ts";
import { Market } from "./model/market.ts";
import { Monotonic } from "./model/monotonic.ts";
import { readNotification, readSignal } from "./model/news.ts";
import { type Status, statusOf } from "./model/status.ts";
import { load, readChannels, save, type Settings, shelf } from "./settings.ts";
import { Chart } from "./view/chart.ts";
import { EventsView } from "./view/events.ts";
import { FeedView } from "./view/feed.ts";
import { Frame } from "./view/frame.ts";
import { listen } from "./view/keyboard.ts";
import { NewsView } from "./view/news.ts";
import { NoticeView } from "./view/notice.ts";
import { Palette } from "./view/palette.ts";
import { SettingsView } from "./view/settings.ts";
import { SignInView } from "./view/sign-in.ts";
import { StatusView } from "./view/status.ts";
import { Strip } from "./view/strip.ts";
import { Table } from "./view/table.ts";
import { nextTheme, ThemeView } from "./view/theme.ts";
import { Views } from "./view/views.ts";

/** How often what depends on the time alone is brought up to date, milliseconds. */
const TICK_MS = 250;
/** Values are taken as unchanged when they have been fresh for so long without an update, milliseconds. */
const MEND_MS = 2_000;

/** The page. */
export class App implements Listener {
  readonly #shelf = shelf();
  #settings: Settings = load(this.#shelf);
  readonly #override = new URLSearchParams(location.search).get("gateway");
  #address: Address = ownAddress(new URL(location.href));
  #token: string | null = null;
  #user: SignedIn | null = null;
  /** The gateway has taken the token on the connection there is. */
  #signedIn = false;

  readonly #market = new Market();
  readonly #journal = new Journal();
  #selected: string | null = this.#settings.token || null;
  #status: Status = statusOf(null, { pending: false, stale: null, refused: null }, false);
  #freshAt = 0;
  #secondAt = 0;

  readonly #clock = new Monotonic();
  readonly #frame = new Frame(() => this.#clock.now());
  readonly #chronicle = new Chronicle(this.#journal, () => this.#frame.request());
  readonly #palette = new Palette();
  readonly #link = new Link(this);
  readonly #views = new Views();
  readonly #statusView = new StatusView();
  readonly #strip = new Strip(this.#frame, (name) => this.#choose(name, true));
  readonly #table = new Table(
    this.#market,
    this.#frame,
    this.#palette,
    this.#settings.sort,
    (token, open) => this.#choose(token.name, open),
    (sort) => this.#keep({ ...this.#settings, sort }),
  );
  readonly #chart = new Chart(this.#frame, this.#palette, this.#settings.chartMinutes, (chartMinutes) =>
    this.#keep({ ...this.#settings, chartMinutes }),
  );
  readonly #history = new History(this.#market, () => this.#frame.request());
  readonly #notice = new NoticeView();
  readonly #feed = new FeedView();
  readonly #news = new NewsView(
    this.#frame,
    (name) => this.#choose(name, true),
    () => this.#openSignIn(),
  );
  readonly #theme = new ThemeView(
    this.#palette,
    () => this.#nextTheme(),
    () => this.#frame.request(),
  );
  readonly #settingsView = new SettingsView((settings) => this.#change(settings));
  readonly #signIn = new SignInView((token) => this.#enter(token));
  readonly #userText = text("user");

  constructor() {
    new EventsView(this.#frame, this.#journal);
    byId("toggle", HTMLButtonElement).addEventListener("click", () => this.#toggle());
    byId("open-settings", HTMLButtonElement).addEventListener("click", () => this.#openSettings());
    byId("open-sign-in", HTMLButtonElement).addEventListener("click", () => this.#openSignIn());
    byId("open-keys", HTMLButtonElement).addEventListener("click", () => byId("keys", HTMLDialogElement).showModal());
    for (const button of document.querySelectorAll<HTMLButtonElement>("[data-close]")) {
      button.addEventListener("click", () => button.closest("dialog")?.close());
    }
    listen(
      {
        "/": () => {
          this.#views.open("prices");
          this.#table.focusFilter();
        },
        c: () => this.#toggle(),
        t: () => this.#nextTheme(),
        s: () => this.#openSettings(),
        "?": () => byId("keys", HTMLDialogElement).showModal(),
      },
      () => this.#settings.keys,
    );
    document.addEventListener("securitypolicyviolation", (event) => {
      this.#chronicle.tell("bad", `the page's policy forbids ${event.blockedURI || event.violatedDirective}`);
    });
    this.#theme.apply(this.#settings.theme);
    this.#applyStyle();
    this.#table.select(this.#selected);
  }

  /** Begins: connects, and goes on for as long as the page is open. */
  start(): void {
    this.#secondAt = this.#clock.now();
    this.#connect();
    setInterval(() => this.#tick(), TICK_MS);
    document.addEventListener("visibilitychange", () => this.#tick());
    document.documentElement.classList.remove("boot");
  }

  // what the connection says

  state(state: State | null): void {
    const chosen = this.#settings.transport !== "auto";
    const before = this.#status;
    if (state?.status === "connecting") this.#signedIn = false;
    this.#status = statusOf(state, this.#link.prices, chosen);
    this.#chronicle.state(state, this.#status, before);
    if (before.fresh && !this.#status.fresh) this.#market.break();
    if (!before.fresh && this.#status.fresh) this.#freshAt = this.#clock.now();
    this.#chart.setFresh(this.#status.fresh, this.#market.heardAt || Date.now());
    this.#showStatus();
    this.#showFeed();
    this.#frame.request();
  }

  price(update: Update): void {
    this.#market.take(update, this.#clock.now(), Date.now());
    this.#frame.request();
  }

  market(update: Update): void {
    this.#strip.take(update.channel, update.data, update.snapshot ? update.ts : Date.now());
    this.#frame.request();
  }

  signal(update: Update): void {
    this.#news.signals.add(readSignal(update.data, update.key, update.ts));
    this.#frame.request();
  }

  notification(update: Update): void {
    this.#news.notifications.add(readNotification(update.data, update.ts));
    this.#frame.request();
  }

  gap(gap: Gap): void {
    this.#chronicle.gap(gap);
  }

  begin(begin: Begin): void {
    this.#explainNews(begin.channel);
    this.state(this.#link.state);
  }

  resume(begin: Begin): void {
    this.#chronicle.resume(begin);
  }

  end(end: End): void {
    this.#chronicle.end(end);
    if (end.error !== undefined && end.channel === "signals:all") {
      this.#news.explain(`No signals: ${end.error.message}.`, false);
    }
  }

  error(error: OdinError): void {
    this.#chronicle.error(error);
    if (error.channel === undefined && error.code.startsWith("auth_")) this.#refused(error);
  }

  system(news: SystemNews): void {
    if (news.status === "notice") {
      const line = news.message ?? "";
      this.#notice.show(line);
      this.#chronicle.tell("warn", `notice: ${line}`);
    } else if (news.status === "draining") {
      this.#chronicle.tell("info", "the gateway is about to leave; the connection moves to another one");
    } else if (news.status === "token_expiring") {
      this.#chronicle.tell("warn", "the token expires soon");
      this.#notice.show("Your token expires soon. Sign in with a fresh one.");
    } else {
      this.#chronicle.tell("info", words(news.status));
    }
  }

  auth(user: SignedIn): void {
    this.#user = user;
    this.#signedIn = true;
    this.#showUser();
    if (!user.refresh) this.#chronicle.tell("good", `signed in as ${user.sub}`);
    this.#news.explain("Nothing yet.", false);
  }

  // what the reader does

  #toggle(): void {
    if (this.#link.state === null) this.#connect();
    else if (this.#link.state.status === "closed") this.#link.retry();
    else this.#link.close();
  }

  #connect(): void {
    const found = address(this.#override ?? this.#settings.gateway, new URL(location.href));
    if (typeof found === "string") {
      this.#chronicle.tell("bad", `gateway: ${found}`);
    } else if (found.url !== this.#address.url) {
      this.#market.clear();
      this.#strip.clear();
      this.#chronicle.unreadable(0);
    }
    this.#address = typeof found === "string" ? ownAddress(new URL(location.href)) : found;
    this.#chronicle.begin();
    const channels = readChannels(this.#settings.channels);
    try {
      this.#link.open(this.#address.url, typeof channels === "string" ? ["price:*"] : channels, this.#settings, this.#token);
    } catch (error) {
      this.#link.close();
      this.#chronicle.tell("bad", error instanceof Error ? error.message : String(error));
    }
  }

  #enter(token: string | null): void {
    this.#token = token;
    this.#user = null;
    this.#news.clear();
    this.#news.explain(token === null ? "Sign in to see signals and your notifications." : "Signing in …", token === null);
    this.#showUser();
    this.#chronicle.tell("info", token === null ? "signed out" : "signing in");
    this.#connect();
  }

  /** Signing in did not work. A token that is none is given up, so that what everybody may see goes on. */
  #refused(error: OdinError): void {
    if (this.#signedIn || this.#token === null) return;
    const why = `Not signed in: ${error.message}.`;
    if (error.code === "auth_failed") {
      // not while the client is still telling
      setTimeout(() => this.#enter(null), 0);
      this.#notice.show(`${why} What everybody may see goes on without.`);
    } else {
      this.#notice.show(`${why} Sign out to see what everybody may see.`);
    }
  }

  #change(settings: Settings): void {
    const before = this.#settings;
    this.#keep(settings);
    this.#theme.apply(settings.theme);
    this.#applyStyle();
    const same =
      before.gateway === settings.gateway &&
      before.transport === settings.transport &&
      before.codec === settings.codec &&
      before.channels === settings.channels;
    if (same) return;
    if (before.channels !== settings.channels) this.#market.clear();
    this.#connect();
  }

  #keep(settings: Settings): void {
    this.#settings = settings;
    save(this.#shelf, settings);
  }

  #choose(name: string, open: boolean): void {
    // signals may be about tokens whose prices are not subscribed
    if (!this.#market.tokens.has(name)) return;
    this.#selected = name;
    this.#table.select(name);
    this.#frame.request();
    if (!open) return;
    this.#views.open("chart");
    this.#keep({ ...this.#settings, token: name });
  }

  /** The token that was chosen once is not there any more: the table chooses another one. */
  #forget(): void {
    this.#selected = null;
    this.#table.select(null);
  }

  #nextTheme(): void {
    const theme = nextTheme(this.#settings.theme);
    this.#keep({ ...this.#settings, theme });
    this.#theme.apply(theme);
  }

  #openSettings(): void {
    this.#settingsView.open(this.#settings, this.#override);
  }

  #openSignIn(): void {
    this.#signIn.open(
      { user: this.#user?.sub ?? null, expiresAt: this.#user?.expiresAt ?? null, token: this.#token !== null },
      this.#address,
    );
  }

  // what time does

  #tick(): void {
    const slept = this.#clock.look();
    if (slept > 0) this.#chronicle.tell("warn", `asleep for ${age(slept)}, or the clock was set`);
    const now = this.#clock.now();
    const seconds = Math.floor((now - this.#secondAt) / 1_000);
    if (seconds > 0) {
      this.#secondAt += seconds * 1_000;
      this.#market.roll(seconds);
      if (this.#status.fresh && now - this.#freshAt >= MEND_MS) this.#market.mend(Date.now());
      this.#chronicle.unreadable(this.#market.unreadable);
      this.#showFeed();
    }
    const token = this.#selected === null ? undefined : this.#market.tokens.get(this.#selected);
    this.#chart.show(token ?? null);
    if (this.#status.fresh && now - this.#freshAt >= MEND_MS) {
      if (token !== undefined) this.#history.want(token, this.#address.url);
      else if (this.#selected !== null) this.#forget();
    }
    this.#strip.showAge(Date.now(), this.#status.fresh);
    this.#showStatus();
    this.#frame.request();
  }

  #showStatus(): void {
    const token = this.#selected === null ? undefined : this.#market.tokens.get(this.#selected);
    const state = this.#link.state;
    this.#statusView.show(
      this.#status,
      {
        host: this.#address.host,
        foreign: this.#address.foreign,
        codec: this.#settings.codec,
        connection: this.#link.connection,
        heardAt: this.#market.heardAt,
        quote: token === undefined || Number.isNaN(token.price) ? null : `${price(token.price)} ${token.name}`,
        trying: state !== null && state.status !== "closed",
      },
      Date.now(),
    );
  }

  #showFeed(): void {
    this.#feed.show(
      this.#market.latency.figures(),
      {
        gaps: this.#chronicle.gaps,
        resumes: this.#chronicle.resumes,
        anew: this.#chronicle.anew,
        reconnects: this.#chronicle.reconnects,
        updates: this.#market.updates,
        perSecond: this.#market.rate.perSecond,
        clients: this.#link.connection?.clients ?? null,
        overlaps: this.#link.overlaps,
      },
      this.#status.fresh,
    );
  }

  #showUser(): void {
    this.#userText.set(this.#user?.sub.slice(0, 40) ?? (this.#token === null ? "Sign in" : "Not signed in"));
  }

  #explainNews(channel: string): void {
    if ((USER_CHANNELS as readonly string[]).includes(channel)) this.#news.explain("Nothing yet.", false);
  }

  #applyStyle(): void {
    const { oldAfterS, flash } = this.#settings;
    this.#table.style.oldAfterMs = oldAfterS === 0 ? Infinity : oldAfterS * 1_000;
    this.#table.style.flash = flash;
  }
}
