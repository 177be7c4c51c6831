import { resolve } from 'node:path';
import { describeCarrier } from '../contract/carrier';
describeCarrier('remote', resolve('test/contract/tmp-remote.ts'));
