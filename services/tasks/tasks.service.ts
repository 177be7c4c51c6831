import { type DomainService, domain } from '../../mixins/domain.mixin';
import { people } from '../../mixins/replica/people.model';
import { replica } from '../../mixins/replica.mixin';
import { usersReplica } from '../users/replica.contract';
import { tasksDomain } from './tasks.domain';

const schema: DomainService = {
  name: 'tasks',
  metadata: { description: 'What is to be done, and by whom.' },
  mixins: [...domain(tasksDomain, people), replica(usersReplica)],
};

export default schema;
