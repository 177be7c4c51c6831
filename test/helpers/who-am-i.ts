import type { ServiceSchema } from 'moleculer';
import * as z from 'zod';
import { action, contract } from '../../mixins/contract';
import { Id } from '../../mixins/fields';

const whoAmI = contract('probe.whoAmI', { params: z.strictObject({}), returns: z.object({ id: Id }) });

/** `GET /probe/who-am-i`: says who the token was given to, on a node whose own services say nothing yet. */
export const whoAmIService = {
  name: 'probe',
  actions: {
    whoAmI: action(whoAmI, {
      summary: 'Say who asks',
      rest: 'GET /who-am-i',
      auth: 'authenticated',
      handler: ctx => ({ id: ctx.meta.user.id }),
    }),
  },
} as unknown as ServiceSchema;
