import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { startApp } from '../helpers/app';
import { Client } from '../helpers/client';
import { startCollector, tracingTo } from '../helpers/otlp';
import { signUp, uniqueEmail } from '../helpers/people';
import { until } from '../helpers/until';
import { describeWithOwnKafka } from '../kafka/describe';

describeWithOwnKafka('with a real broker', kafka => {
  it('one trace goes from the request through Kafka to what the event causes, and the lag of each partition is measured', async () => {
    const collector = await startCollector();
    const lines: string[] = [];
    const app = await startApp(
      {
        kafka: { brokers: [kafka().brokers], ssl: false, sasl: undefined },
        transportKeys: [{ id: 'test', key: randomBytes(32) }],
        tracing: tracingTo(collector.url),
        metricsPort: 0,
      },
      { log: { to: { write: text => void lines.push(text) } } },
    );
    const admin = await signUp(new Client(app.url));
    const person = { firstName: 'Ida', lastName: 'Invited', email: uniqueEmail('ida'), role: 'EMPLOYEE' };
    expect((await admin.client.post('/users', person)).status).toBe(201);
    const { traceId, spanId } = await collector.span({ name: 'POST /users', parentSpanId: '' });
    const action = await collector.span({ traceId, name: 'users.create', parentSpanId: spanId });
    for (const group of ['notifications', 'tasks']) {
      const isHandled = () =>
        collector.spans.some(
          ({ name, parentSpanId, attributes }) =>
            name === 'process users.create' &&
            parentSpanId === action.spanId &&
            attributes['messaging.consumer.group.name'] === group,
        );
      await until(isHandled, { timeout: 20_000, what: `The event in ${group}` });
    }
    const metricsUrl = /"url":"(http:[^"]+)"/.exec(lines.join(''))?.[1] ?? '';
    const lag = /^hiver_consumer_lag\{domain="tasks",topic="users\.create",partition="\d"\} (\d+)$/gm;
    await until(async () => {
      const values = [...(await (await fetch(metricsUrl)).text()).matchAll(lag)].map(([, value]) => value);
      return values.length > 0 && values.every(value => value === '0');
    });
  });
});
