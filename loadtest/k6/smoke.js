// A few clients for a short time: does everything work, and is it as fast as it is when nothing else happens?
//   k6 run -e ODIN_URL=ws://127.0.0.1:8080/ws loadtest/k6/smoke.js
import exec from 'k6/execution';
import { clients, summary, thresholds, TREND_STATS } from './lib/odin.js';

const SECONDS = Number(__ENV.SECONDS || 20);

export const options = {
  scenarios: { smoke: { executor: 'per-vu-iterations', vus: 2, iterations: 1, maxDuration: `${SECONDS + 20}s` } },
  thresholds: thresholds({ odin_delivery: ['p(95)<50'], odin_unasked_closes: ['count<1'] }),
  summaryTrendStats: TREND_STATS,
};

export default function smoke() {
  clients(exec.vu.idInTest, { endAt: Date.now() + SECONDS * 1000 });
}

export const handleSummary = summary;
