// CLIENTS for MINUTES (30 by default, 720 for half a day), each of whom comes and goes every few minutes.
// What the gateway's memory does meanwhile says loadtest/soak/soak.py.
import exec from 'k6/execution';
import { clients, summary, thresholds, TREND_STATS, vus } from './lib/odin.js';

const CLIENTS = Number(__ENV.CLIENTS || 1000);
const MINUTES = Number(__ENV.MINUTES || 30);
const STAY = Number(__ENV.STAY || 120);

export const options = {
  scenarios: { soak: { executor: 'per-vu-iterations', vus: vus(CLIENTS), iterations: 1, maxDuration: `${MINUTES + 1}m` } },
  thresholds: thresholds({ odin_recovered: ['rate>0.999'] }),
  summaryTrendStats: TREND_STATS,
};

export default function soak() {
  const endAt = exec.scenario.startTime + MINUTES * 60000;
  const all = clients(exec.vu.idInTest, { endAt }, { spreadMs: 10000 });
  const move = () => {
    if (Date.now() > endAt - 10000) return;
    all[Math.floor(Math.random() * all.length)].move();
    // Each client moves about every STAY seconds.
    setTimeout(move, (Math.random() * 2 * STAY * 1000) / all.length);
  };
  setTimeout(move, 15000);
}

export const handleSummary = summary;
