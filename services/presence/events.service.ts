import { operators } from '../../mixins/operators/operators.mixin';
import { usersCopies } from '../users/replica.contract';

export default operators('presence', { copies: usersCopies });
