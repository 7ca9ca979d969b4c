/**
 * The content security policy of the page, in one place: the build writes it into the page, the tests serve it as a header.
 */

/** Where the page may connect to. The address of a gateway is chosen by a person, so any by default. */
const ANY_GATEWAY = "'self' http: https: ws: wss:";

/**
 * The policy as one line.
 *
 * @param connect - sources of `connect-src`; `'self'` pins the page to the gateway that serves it
 */
export function policy(connect: string = ANY_GATEWAY): string {
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    `connect-src ${connect}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
}
