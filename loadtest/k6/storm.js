// CLIENTS that lose their connection in one moment, STORMS times, and resume: nothing may be lost, and all must be back.
import exec from 'k6/execution';
import { clients, summary, thresholds, TREND_STATS, vus } from './lib/odin.js';

const CLIENTS = Number(__ENV.CLIENTS || 5000);
const STORMS = Number(__ENV.STORMS || 3);
const EVERY = Number(__ENV.EVERY || 20);
const RISE = Number(__ENV.RISE || 10);
const TOTAL = RISE + STORMS * EVERY + EVERY;

export const options = {
  scenarios: { storm: { executor: 'per-vu-iterations', vus: vus(CLIENTS), iterations: 1, maxDuration: `${TOTAL + 30}s` } },
  thresholds: thresholds({ odin_recovered: ['rate>0.999'], odin_back: ['p(95)<5000'], odin_connect: ['p(99)<5000'] }),
  summaryTrendStats: TREND_STATS,
};

export default function storm() {
  const start = exec.scenario.startTime;
  const all = clients(exec.vu.idInTest, { endAt: start + TOTAL * 1000 }, { spreadMs: RISE * 1000 });
  for (let at = 0; at < STORMS; at += 1) {
    // The same moment in every VU.
    const when = start + (RISE + (at + 1) * EVERY) * 1000;
    setTimeout(() => all.forEach((client) => client.move()), Math.max(0, when - Date.now()));
  }
}

export const handleSummary = summary;
