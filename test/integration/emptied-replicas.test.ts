import { describe } from 'vitest';
import { describeEmptiedReplicas } from '../contract/emptied-replicas';

describe('with the embedded carrier', () => {
  describeEmptiedReplicas();
});
