import type { CommandContext } from './contract';
import { commonProblems } from './errors';

/**
 * Refuses a change that was made on an old reading: `If-Match` (RFC 9110) names the version that the caller saw.
 * Without the header there is no check.
 */
export function assertVersion(ctx: CommandContext, current: { version: number }): void {
  const { ifMatch } = ctx.meta;
  if (ifMatch !== undefined && ifMatch !== current.version) throw commonProblems.VERSION_MISMATCH();
}
