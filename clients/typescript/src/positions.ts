/**
 * Where every subscription stands: its chains, and the position to come back to.
 *
 * It drops what was delivered before, says what is missing, and gives the `since` of the next `subscribe`. It knows
 * neither sockets nor time, and what it keeps survives the connection.
 */

import { accept, chainCursor, startChain, supersede, type Chain } from './chain.js';
import { isChannel, isPattern, patternOf } from './channel.js';
import { isCursor, parseCursor } from './cursor.js';
import type { Mode, SubscribedMessage, UpdateMessage } from './message.js';

/** Most chains kept. Updates of further ones are delivered unchecked: a gateway cannot fill the client's memory. */
export const MAX_CHAINS = 262_144;
/** Longest key of an update, in characters; a longer one breaks the protocol and is dropped. */
const MAX_KEY = 256;

/**
 * What to do with an update: deliver it; the same, after others were merged into it as mode `latest` allows; drop it as
 * it came before; drop it as nobody wants it; or deliver it after saying that something is missing.
 */
export type Judgement = 'deliver' | 'merged' | 'drop' | 'stray' | { after: number; until: number };

/** A subscription the gateway has confirmed at least once. */
interface Track {
  mode: Mode;
  /** The last position the gateway named, as it wrote it. */
  position: string | undefined;
  /** Several chains: a pattern, or updates with a key. */
  isWide: boolean;
}

/** The chains of one concrete channel, by key; an update without key has the empty one. */
interface Line {
  mode: Mode;
  chains: Map<string, Chain>;
}

/** See the file. */
export interface Positions {
  /** `subscribed`. Says whether the subscription had begun before and does not go on: then something may be missing. */
  begin(message: SubscribedMessage): boolean;
  /** The subscription has ended: chains that no other one covers are forgotten. */
  end(channel: string): void;
  /** `update`: decides about it and moves its chain on. */
  update(message: UpdateMessage): Judgement;
  /** `gap`: what is up to `until` was left out. False if no subscription has to do with it. */
  gap(channel: string, key: string | undefined, until: number): boolean;
  /** `checkpoint`: these subscriptions have everything up to this position. */
  checkpoint(cursor: string, channels: Iterable<string>): void;
  /** The `since` with which the subscription would go on without loss. */
  since(channel: string): string | undefined;
  /** The mode in force, if the subscription was ever confirmed. */
  mode(channel: string): Mode | undefined;
  /** The last update of each chain that the channel or pattern covers. */
  latest(channel: string): UpdateMessage[];
}

/** Positions of one client. */
export function createPositions(): Positions {
  const tracks = new Map<string, Track>();
  const lines = new Map<string, Line>();
  let chains = 0;

  /** The mode of a concrete channel: `all` if one of the two subscriptions that can cover it says so. */
  const modeOf = (channel: string): Mode | undefined => {
    const [exact, pattern] = [tracks.get(channel)?.mode, tracks.get(patternOf(channel))?.mode];
    return exact === 'all' ? exact : (pattern ?? exact);
  };

  const covered = (channel: string): [string, Line][] => {
    if (isPattern(channel)) return [...lines].filter(([name]) => patternOf(name) === channel);
    const line = lines.get(channel);
    return line ? [[channel, line]] : [];
  };

  const begin: Positions['begin'] = ({ channel, mode, recovered, reason, cursor }) => {
    const isRenumbered = !recovered && (reason === 'epoch_changed' || reason === 'rolled_back');
    const isKnown = tracks.has(channel);
    const track = tracks.get(channel) ?? { mode, position: undefined, isWide: isPattern(channel) };
    tracks.set(channel, track);
    track.mode = mode;
    // In mode `latest` nothing is lost by beginning again, but the snapshot that follows would be, if the connection
    // ended before it has come: a resume brings none. The next checkpoint is behind it.
    const position = isCursor(cursor) && (recovered || mode === 'all') ? cursor : undefined;
    if (isRenumbered) {
      // nobody comes back to a stream that is gone, nor does a channel that begins under its pattern
      for (const [name, other] of tracks) {
        if (name === channel || patternOf(name) === channel) other.position = position;
      }
    } else if (position !== undefined) {
      track.position = position;
    }
    for (const [name, line] of covered(channel)) {
      line.mode = modeOf(name) ?? mode;
      for (const chain of line.chains.values()) {
        if (isRenumbered) chain.isForgotten = true;
        else if (!recovered) chain.isOpen = true;
      }
      const chain = line.chains.get('');
      if (position !== undefined && name === channel && chain) supersede(chain, parseCursor(position));
    }
    return !recovered && (isKnown || reason !== undefined);
  };

  const end: Positions['end'] = (channel) => {
    tracks.delete(channel);
    for (const [name, line] of covered(channel)) {
      const mode = modeOf(name);
      if (mode) {
        line.mode = mode;
      } else {
        chains -= line.chains.size;
        lines.delete(name);
      }
    }
  };

  const update: Positions['update'] = (message) => {
    const { channel, key = '' } = message;
    if (key.length > MAX_KEY) return 'stray';
    let line = lines.get(channel);
    if (!line) {
      const mode = isChannel(channel) && !isPattern(channel) ? modeOf(channel) : undefined;
      if (!mode) return 'stray';
      if (chains >= MAX_CHAINS) return 'deliver';
      line = { mode, chains: new Map() };
      lines.set(channel, line);
    }
    const chain = line.chains.get(key);
    if (!chain) {
      const track = tracks.get(channel);
      if (track && key) track.isWide = true;
      if (chains < MAX_CHAINS) {
        chains += 1;
        line.chains.set(key, startChain(message));
      }
      return 'deliver';
    }
    const after = chain.last;
    const verdict = accept(chain, message);
    if (verdict !== 'jump') return verdict === 'next' ? 'deliver' : 'drop';
    return line.mode === 'latest' ? 'merged' : { after, until: message.prev! };
  };

  const gap: Positions['gap'] = (channel, key, until) => {
    for (const [, line] of covered(channel)) {
      for (const [name, chain] of line.chains) {
        if (key === undefined || key === name) chain.last = Math.max(chain.last, until);
      }
    }
    return tracks.has(channel) || modeOf(channel) !== undefined;
  };

  const checkpoint: Positions['checkpoint'] = (cursor, channels) => {
    if (!isCursor(cursor)) return;
    const told = parseCursor(cursor);
    for (const channel of channels) {
      const track = tracks.get(channel);
      if (track) track.position = cursor;
      const chain = lines.get(channel)?.chains.get('');
      if (chain) supersede(chain, told);
    }
  };

  const since: Positions['since'] = (channel) => {
    const track = tracks.get(channel);
    const chain = track?.isWide ? undefined : lines.get(channel)?.chains.get('');
    return track && ((chain && chainCursor(chain)) ?? track.position);
  };

  return {
    begin,
    end,
    update,
    gap,
    checkpoint,
    since,
    mode: (channel) => tracks.get(channel)?.mode,
    latest: (channel) => covered(channel).flatMap(([, line]) => [...line.chains.values()].map((chain) => chain.latest)),
  };
}
