import { describeMesh, startMesh } from '../helpers/mesh';
import { describeSweep } from '../helpers/sweep-suite';

describeMesh('through a gateway', connection => {
  describeSweep(async () => {
    const { url, users } = await startMesh(connection);
    return { url, config: users.config };
  });
});
