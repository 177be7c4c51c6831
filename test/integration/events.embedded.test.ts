import { resolve } from 'node:path';
import { describeCarrier } from '../contract/carrier';

describeCarrier('embedded', resolve('test/contract/carrier-embedded.ts'));
