/**
 * Everything a test of the page needs at once: a stage, the page's site and a browser, ended together.
 */

import type { Browser, Page } from "playwright-core";
import { launch, open, type Screen } from "./browser.ts";
import { FILE_OPTIONS, Site } from "./site.ts";
import { Stage, type StageOptions } from "./stage.ts";

/** A stage with a browser before it. */
export class Scene {
  readonly stage: Stage;
  readonly site: Site;
  readonly browser: Browser;

  private constructor(stage: Stage, site: Site, browser: Browser) {
    this.stage = stage;
    this.site = site;
    this.browser = browser;
  }

  /** Starts all of it. */
  static async start(options: StageOptions = {}): Promise<Scene> {
    const gatewayOptions = [...FILE_OPTIONS, ...(options.gatewayOptions ?? [])];
    const stage = await Stage.start({ ...options, gatewayOptions });
    const site = await Site.start(stage);
    return new Scene(stage, site, await launch());
  }

  /** Opens the page. */
  async open(screen: Screen = {}): Promise<Page> {
    return open(this.browser, this.site.url, screen);
  }

  /** Ends all of it. */
  async end(): Promise<void> {
    await this.browser.close();
    await this.site.stop();
    await this.stage.stop();
  }
}
