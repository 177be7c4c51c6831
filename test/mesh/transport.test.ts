import { expect, it } from 'vitest';
import { meshConfig, startNode, transportKey, untilKnown } from '../helpers/mesh-node';
import { describeWithKafka } from '../kafka/describe';

const echo = {
  name: 'echo',
  actions: { say: { auth: 'public', handler: (ctx: { params: unknown }) => ({ heard: ctx.params }) } },
};

describeWithKafka('nodes of a mesh', () => {
  it('call each other', async () => {
    const transportKeys = [transportKey()];
    const caller = await startNode(await meshConfig({ transportKeys }));
    await startNode(await meshConfig({ transportKeys }), [echo]);
    await untilKnown(caller, 'echo.say');
    expect(await caller.broker.call('echo.say', { word: 'hiver' })).toEqual({ heard: { word: 'hiver' } });
  });
});
