import { type DomainService, domain } from '../../mixins/domain.mixin';
import { people } from '../../mixins/replica/people.model';
import { replica } from '../../mixins/replica.mixin';
import { usersReplica } from '../users/replica.contract';
import { presenceDomain } from './presence.domain';

const schema: DomainService = {
  name: 'presence',
  metadata: { description: 'Who is at work.' },
  mixins: [...domain(presenceDomain, people), replica(usersReplica)],
};

export default schema;
