import { afterAll, beforeAll, describe, inject, it } from 'vitest';
import { type KafkaProcess, startKafka } from './broker';
import { TEST_BROKERS } from './environment';
import { obstacleToKafka } from './jars';

/**
 * Describes what needs Kafka: that of KAFKA_BROKERS or else one that is started for the run. Where there is none the
 * tests are left out, and say so; in CI that is a failure.
 */
export function describeWithKafka(name: string, body: () => void): void {
  describeUnless(process.env.KAFKA_BROKERS ? undefined : obstacleToKafka(), name, () => {
    beforeAll(async () => {
      process.env[TEST_BROKERS] = process.env.KAFKA_BROKERS ?? (await askForKafka());
    }, 300_000);
    body();
  });
}

/** Describes what needs a Kafka of its own, to be killed and started again, or one that asks who comes. */
export function describeWithOwnKafka(
  name: string,
  body: (kafka: () => KafkaProcess) => void,
  options?: Parameters<typeof startKafka>[0],
): void {
  describeUnless(obstacleToKafka(), name, () => {
    let kafka: KafkaProcess;
    beforeAll(async () => {
      kafka = await startKafka(options);
      process.env[TEST_BROKERS] = kafka.brokers;
    }, 300_000);
    afterAll(() => kafka?.stop());
    body(() => kafka);
  });
}

/** Describes what starts servers of Kafka for itself. */
export function describeWhereKafkaCanBeHad(name: string, body: () => void): void {
  describeUnless(obstacleToKafka(), name, body);
}

function describeUnless(obstacle: string | undefined, name: string, body: () => void): void {
  if (!obstacle) return void describe(name, body);
  const reason = `${name}: there is no Kafka: KAFKA_BROKERS is not set, and ${obstacle}`;
  if (process.env.CI === 'true') {
    return void it(`${name} has a Kafka`, () => {
      throw new Error(reason);
    });
  }
  process.stderr.write(`\n*** SKIPPED *** ${reason}\n`);
  describe.skip(name, body);
}

async function askForKafka(): Promise<string> {
  const response = await fetch(inject('kafkaUrl'));
  const answer = await response.text();
  if (!response.ok) throw new Error(answer);
  return answer;
}
