import type { IncomingMessage } from 'node:http';
import { isIPv4 } from 'node:net';
import ipaddr from 'ipaddr.js';

type Address = ipaddr.IPv4 | ipaddr.IPv6;
type Range = [Address, number];

export interface Client {
  /** IPv6 is cut to its /64: that is what one household or phone gets. */
  address: string | undefined;
  /** Whether the connection to the outermost proxy that we trust was encrypted. */
  isSecure: boolean;
}

/**
 * Tells who is calling through which proxies. `X-Forwarded-For` is believed only as far as those who wrote it are
 * trusted, from the right: whatever a client puts there itself stays on the left of that.
 * @param trustedProxies addresses and CIDR ranges
 */
export function clientReader(trustedProxies: readonly string[]): (req: IncomingMessage) => Client {
  const ranges = trustedProxies.map(toRange);
  const isTrusted = (address: Address) =>
    ranges.some(([network, bits]) => network.kind() === address.kind() && address.match(network, bits));

  return req => {
    const { remoteAddress } = req.socket;
    if (ranges.length === 0 && isIPv4(remoteAddress ?? '')) return { address: remoteAddress, isSecure: false };
    let client = parse(remoteAddress);
    if (!client || !isTrusted(client)) return { address: client && shorten(client), isSecure: false };
    const hops = String(req.headers['x-forwarded-for'] ?? '').split(',');
    for (const hop of hops.reverse()) {
      const address = parse(hop.trim());
      if (!address) break;
      client = address;
      if (!isTrusted(address)) break;
    }
    return { address: shorten(client), isSecure: req.headers['x-forwarded-proto'] === 'https' };
  };
}

function toRange(text: string): Range {
  const network = text.includes('/') ? ipaddr.parseCIDR(text) : ([ipaddr.parse(text), text.includes(':') ? 128 : 32] as const);
  return [network[0], network[1]];
}

/** IPv4 in IPv6 becomes IPv4. */
function parse(text: string | undefined): Address | undefined {
  return text && ipaddr.isValid(text) ? ipaddr.process(text) : undefined;
}

function shorten(address: Address): string {
  if (address.kind() === 'ipv4') return address.toString();
  const [a, b, c, d] = (address as ipaddr.IPv6).parts;
  return `${new ipaddr.IPv6([a, b, c, d, 0, 0, 0, 0].map(Number))}/64`;
}
