import { createRequire } from 'node:module';

/** The version that the patch was made for: another one may have mended it, or have changed around it. */
const VERSION = '2.2.4';
/** Milliseconds between looks at requests that wait for others to be answered. */
const CHECK_EVERY = 10;

interface RequestQueue {
  pending: unknown[];
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
}

/**
 * kafkajs arms a timer again each millisecond for as long as a connection lives, also with nothing to wait for, and with
 * a negative time, of which Node warns: 3 % of a core when idle. Here it is armed while something is pending only.
 * @returns whether this version is the one to be patched
 */
export function patchRequestQueue(): boolean {
  // Not bundled, and not before it is configured: a process without Kafka does not load it.
  const load = createRequire(__filename);
  const { version } = load('kafkajs/package.json') as { version: string };
  if (version !== VERSION) return false;
  const { prototype } = load('kafkajs/src/network/requestQueue') as { prototype: { scheduleCheckPendingRequests(): void } };
  prototype.scheduleCheckPendingRequests = scheduleCheckPendingRequests as () => void;
  return true;
}

function scheduleCheckPendingRequests(this: RequestQueue): void {
  if (this.throttleCheckTimeoutId || this.pending.length === 0) return;
  const throttled = this.throttledUntil - Date.now();
  this.throttleCheckTimeoutId = setTimeout(
    () => {
      this.throttleCheckTimeoutId = null;
      this.checkPendingRequests();
    },
    throttled > 0 ? throttled : CHECK_EVERY,
  );
}
