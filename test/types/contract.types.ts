/** Checked by the compiler alone: each `@ts-expect-error` is a mistake that must not compile. */
import * as z from 'zod';
import { action, contract } from '../../mixins/contract';
import type { DomainService } from '../../mixins/domain.mixin';
import { event } from '../../mixins/events/event';
import { reaction } from '../../mixins/events/reaction';

interface Methods {
  greet(name: string): string;
}

const getThing = contract('things.get', {
  params: z.strictObject({ id: z.string(), count: z.coerce.number().optional() }),
  returns: z.object({ greeting: z.string() }),
});

const thingMade = event('things.create', {
  kind: 'state',
  data: z.object({ id: z.string(), companyId: z.string(), version: z.int(), colour: z.string() }),
});

export const things: DomainService<Methods> = {
  name: 'things',
  actions: {
    right: action(getThing, {
      summary: 'All is well',
      auth: 'authenticated',
      async handler(ctx) {
        const count: number | undefined = ctx.params.count;
        const me: string = ctx.meta.user.id;
        return this.inTransaction(ctx, async () => ({ greeting: this.greet(`${ctx.params.id} ${count} ${me} ${this.db.name}`) }));
      },
    }),

    wrongParam: action(getThing, {
      summary: 'A parameter that the contract does not have',
      auth: 'authenticated',
      // @ts-expect-error there is no `name`
      handler: ctx => ({ greeting: ctx.params.name }),
    }),

    wrongResult: action(getThing, {
      summary: 'A result that the contract does not have',
      auth: 'authenticated',
      // @ts-expect-error `greting` is no field of the answer
      handler: () => ({ greting: 'hello' }),
    }),

    // @ts-expect-error who may call it has to be said
    missingAuth: action(getThing, {
      summary: 'No auth',
      handler: () => ({ greeting: 'hello' }),
    }),

    wrongRole: action(getThing, {
      summary: 'A role that does not exist',
      // @ts-expect-error there is no such role
      auth: ['ROOT'],
      handler: () => ({ greeting: 'hello' }),
    }),

    misspeltMethod: action(getThing, {
      summary: 'A method that the service does not have',
      auth: 'authenticated',
      async handler(ctx) {
        // @ts-expect-error it is called `greet`
        return { greeting: this.gret(ctx.params.id) };
      },
    }),

    nobodyIsSignedIn: action(getThing, {
      summary: 'A public action has no user',
      auth: 'public',
      // @ts-expect-error `user` may be undefined
      handler: ctx => ({ greeting: ctx.meta.user.id }),
    }),
  },

  events: {
    'things.create': reaction(thingMade, {
      async handler(ctx) {
        const colour: string = ctx.params.data.colour;
        this.greet(colour);
        // @ts-expect-error events have no such field
        this.greet(ctx.params.data.color);
      },
    }),
  },

  methods: {
    greet(name) {
      return `Hello ${name} of ${this.db.name}`;
    },
  },
};

// @ts-expect-error its data has no `id` and `version`: it has to say where key, company and version are
event('things.cheered', { kind: 'fact', data: z.object({ thingId: z.string(), companyId: z.string() }) });

declare const ctx: Parameters<typeof getThing.call>[0];
getThing.call(ctx, { id: '1' }).then(answer => answer.greeting.length);
// @ts-expect-error `id` is missing
getThing.call(ctx, {});
