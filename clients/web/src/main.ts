/** Where the page begins. */

import "uplot/dist/uPlot.min.css";
import { App } from "./app.ts";

new App().start();
