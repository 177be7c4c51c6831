import { resolve } from 'node:path';
import { describeCarrier } from '../contract/carrier';
import { describeWithKafka } from '../kafka/describe';

describeWithKafka('with a real broker', () => {
  describeCarrier('Kafka', resolve('test/mesh/kafka-carrier.ts'));
});
