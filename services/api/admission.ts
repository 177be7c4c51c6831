import type { ServerResponse } from 'node:http';
import type { Authenticator } from '../../mixins/auth/authenticator';
import { commonProblems } from '../../mixins/errors';
import type { ApiRequest } from './exchange';
import { bearerToken, idempotencyKeyOf, ifMatchOf } from './headers';
import { readParams } from './params';
import { isConditional, type Route, takesIdempotencyKey } from './routes';

/**
 * All that is looked at before an action is called, in the order in which it is refused: 401, 403, 415, 413, 400, 422.
 * The action checks the token and its parameters again: a gateway may be another node.
 */
export async function admit(req: ApiRequest, res: ServerResponse, route: Route, authenticator: Authenticator): Promise<void> {
  const { meta } = req.$ctx;
  if (route.auth !== 'public') await identify(req, route, authenticator);
  const path = req.$params.params as Record<string, string>;
  req.$params = await readParams(req, res, { route, params: path }, req.query);
  if (isConditional(route)) meta.ifMatch = ifMatchOf(req);
  if (takesIdempotencyKey(route)) meta.idempotencyKey = idempotencyKeyOf(req);
  req.isAdmitted = true;
}

async function identify(req: ApiRequest, route: Route, authenticator: Authenticator): Promise<void> {
  const { meta } = req.$ctx;
  meta.token = bearerToken(req);
  req.identity = await authenticator.verify(meta.token);
  if (Array.isArray(route.auth) && !route.auth.includes(req.identity.role)) throw commonProblems.FORBIDDEN();
}
