/** What the documents say is what the code does: the examples compile, and the tables have the defaults and codes. */

import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { expect, test } from 'vitest';
import { FIGURES } from '../src/options.js';
import type { ClientErrorCode, OdinEvents, State } from '../src/index.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const GUIDE = join(root, '../../docs/clients/typescript.md');
const README = join(root, 'README.md');

const read = (file: string) => readFileSync(file, 'utf8');

/** The first cells of the rows of all tables, without their quotes. */
const firsts = (text: string) =>
  [...text.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) =>
    cell!.split(', ').map((name) => name.replaceAll('`', '')),
  );

test('the examples of readme and guide compile', { timeout: 60_000 }, () => {
  const sources = new Map<string, string>();
  for (const file of [README, GUIDE]) {
    [...read(file).matchAll(/^```ts\n(.*?)^```/gms)].forEach(([, code], at) => {
      const name = join(root, 'tests', `${file === GUIDE ? 'guide' : 'readme'}-${at + 1}.ts`);
      sources.set(name, code!.replaceAll("'@odin/client'", "'../src/index.js'"));
    });
  }
  expect(sources.size).toBeGreaterThan(8);
  const { options } = ts.getParsedCommandLineOfConfigFile(
    join(root, 'tsconfig.json'),
    {},
    {
      ...ts.sys,
      onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
        throw new Error(String(diagnostic.messageText));
      },
    },
  )!;
  options.noUnusedLocals = false;
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (name) => sources.has(name) || fileExists(name);
  host.readFile = (name) => sources.get(name) ?? readFile(name);
  const program = ts.createProgram([...sources.keys()], options, host);
  const faults = [...sources.keys()].flatMap((name) => {
    const file = program.getSourceFile(name);
    return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)].map(
      ({ file, start, messageText }) =>
        `${file?.fileName}:${file?.getLineAndCharacterOfPosition(start ?? 0).line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`,
    );
  });
  expect(faults).toEqual([]);
});

test('the guide has every figure with its default', () => {
  const guide = read(GUIDE);
  for (const [name, [otherwise]] of Object.entries(FIGURES)) {
    expect(guide, name).toContain(`| \`${name}\` | ${otherwise} |`);
  }
});

test('the guide has every state, event and code', () => {
  const states: Record<State['status'], true> = {
    connecting: true,
    connected: true,
    fallback: true,
    stale: true,
    reconnecting: true,
    closed: true,
  };
  const events: Record<keyof OdinEvents, true> = {
    state: true,
    update: true,
    gap: true,
    begin: true,
    resume: true,
    end: true,
    stale: true,
    live: true,
    error: true,
    system: true,
    auth: true,
  };
  const codes: Record<ClientErrorCode, true> = {
    invalid_argument: true,
    closed: true,
    queue_full: true,
    not_sent: true,
    outcome_unknown: true,
    aborted: true,
    overflow: true,
    no_token: true,
    no_codec: true,
  };
  const named = firsts(read(GUIDE));
  for (const name of Object.keys({ ...states, ...events, ...codes })) expect(named, name).toContain(name);
});
