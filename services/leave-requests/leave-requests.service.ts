import { type DomainService, domain } from '../../mixins/domain.mixin';
import { people } from '../../mixins/replica/people.model';
import { replica } from '../../mixins/replica.mixin';
import { usersReplica } from '../users/replica.contract';
import { leaveRequestsDomain } from './leave-requests.domain';

const schema: DomainService = {
  name: 'leave-requests',
  metadata: { description: 'Who asks to be away, and who agreed.' },
  mixins: [...domain(leaveRequestsDomain, people), replica(usersReplica)],
};

export default schema;
