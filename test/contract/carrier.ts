import { describe } from 'vitest';
import { describeCrashes } from './carrier-crashes';
import { describeDelivery } from './carrier-delivery';
import { describeFailures } from './carrier-failures';
import { describeOperations } from './carrier-operators';
import { describeParking } from './carrier-parking';

/**
 * What is expected of every carrier, with everything around it real: databases, relays, groups, processes that die.
 * @param carrierModule absolute path of a module that exports `makeCarrier`; the embedded carrier unless told
 */
export function describeCarrier(name: string, carrierModule?: string): void {
  describe(`the ${name} carrier`, () => {
    describeDelivery(carrierModule);
    describeFailures(carrierModule);
    describeParking(carrierModule);
    describeOperations(carrierModule);
    describeCrashes(carrierModule);
  });
}
