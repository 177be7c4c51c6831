import { describe } from 'vitest';
import { IN_PROCESS, startMesh } from '../helpers/mesh';
import { describeSweep } from '../helpers/sweep-suite';

describe('through a gateway', () => {
  describeSweep(async () => {
    const { url, users } = await startMesh(IN_PROCESS);
    return { url, config: users.config };
  });
});
