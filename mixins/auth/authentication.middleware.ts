import type { ActionSchema, Context, Middleware, Service, ServiceBroker } from 'moleculer';
import type { Auth, Identity, Meta } from '../contract';
import { commonProblems } from '../errors';
import { type Authenticator, authenticatorOf } from './authenticator';
import { closeKeys } from './key-source';

type Caller = Context<unknown, Meta>;

/**
 * Lets in who may: looks at the token and the role before anything else of a call is looked at. Belongs outside the
 * validator, so that 401 and 403 come before 422.
 *
 * Every action says in `auth` who may call it; a service with one that does not is refused when it is created.
 */
export const Authentication: Middleware = {
  name: 'Authentication',

  localAction(next, action) {
    const auth = authOf(action);
    if (auth === 'public' || auth === 'internal') return next;
    const authenticator = authenticatorOf(this);
    const roles = auth === 'authenticated' ? undefined : new Set(auth);
    return async function authenticate(this: Service, ctx: Context) {
      const { meta } = ctx as Caller;
      const user = await identify(authenticator, meta);
      if (roles && !roles.has(user.role)) throw commonProblems.FORBIDDEN();
      meta.user = user;
      return next.call(this, ctx);
    };
  },

  async stopped(broker: ServiceBroker) {
    closeKeys(broker);
  },
};

/**
 * The token is looked at whenever an action begins, whoever looked at it before: a body may take its time to arrive, and
 * the session may end meanwhile. Where there is no token, an identity that this process verified goes along with the
 * calls that a handler makes; one that came over the wire proves nothing.
 */
function identify(authenticator: Authenticator, meta: Meta): Identity | Promise<Identity> {
  if (meta.token === undefined && authenticator.isOwn(meta.user)) return meta.user;
  return authenticator.verify(meta.token);
}

/** Who may call an action; throws at start-up when nobody has decided that. */
function authOf(action: ActionSchema): Auth {
  const { auth, rest, visibility, service } = action as ActionSchema & { service?: Service };
  // Moleculer's own services, and actions that only their own service can call.
  if (service?.name.startsWith('$') || (visibility === 'private' && auth === undefined)) return 'internal';
  if (auth === undefined) {
    throw new Error(`The action ${action.name} does not say who may call it: give it an auth`);
  }
  if (auth === 'internal' && rest) {
    throw new Error(`The action ${action.name} is internal, so it cannot have a rest path`);
  }
  if (Array.isArray(auth) && auth.length === 0) throw new Error(`The action ${action.name} lets no role in`);
  return auth;
}
