/**
 * Channel names: one to four segments joined by `:`, of `A-Z a-z 0-9 _ -`; a pattern ends with the segment `*`.
 */

const NAME = /^[\w-]{1,64}(:[\w-]{1,64}){0,3}$/;
const PATTERN = /^[\w-]{1,64}(:[\w-]{1,64}){0,2}:\*$/;
const MAX_BYTES = 128;

/** Whether the text is a name or a pattern. */
export const isChannel = (text: string): boolean =>
  typeof text === 'string' && text.length <= MAX_BYTES && (NAME.test(text) || PATTERN.test(text));

/** Whether a valid channel is a pattern. */
export const isPattern = (channel: string): boolean => channel.endsWith('*');

/** The one pattern that covers a name, or an empty text for a name of one segment or a pattern. */
export function patternOf(channel: string): string {
  const at = channel.lastIndexOf(':');
  return at < 0 || isPattern(channel) ? '' : `${channel.slice(0, at)}:*`;
}
