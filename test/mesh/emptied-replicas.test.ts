import { randomBytes } from 'node:crypto';
import { describeEmptiedReplicas } from '../contract/emptied-replicas';
import { describeWithKafka } from '../kafka/describe';
import { makeCarrier } from './kafka-carrier';

describeWithKafka('with the Kafka carrier', () => {
  const run = randomBytes(6).toString('hex');
  describeEmptiedReplicas(broker => makeCarrier(broker, run));
});
