import { readdirSync, readFileSync } from 'node:fs';
import { setPriority } from 'node:os';

const LOW = 19;

/**
 * Has the threads that hash passwords give way to the one that answers requests, and to PostgreSQL: fifty people who
 * sign in at once must not hold up those who are in. Linux has a priority for each thread; elsewhere nothing happens.
 * Files are written by the same threads; they wait as long.
 */
export function lowerWorkerPriority(): void {
  if (process.platform !== 'linux') return;
  try {
    for (const thread of readdirSync('/proc/self/task')) {
      const name = readFileSync(`/proc/self/task/${thread}/comm`, 'utf8');
      if (name.startsWith('libuv-worker')) setPriority(Number(thread), LOW);
    }
  } catch {
    // Forbidden, or a thread ended meanwhile: then it is as fair as without.
  }
}
