import { join } from 'node:path';
import type { Service } from 'moleculer';
import { configOf } from '../../mixins/config';
import type { DbVars } from '../../mixins/db/db.mixin';
import type { Transaction } from '../../mixins/db/transaction';
import { type DomainService, domain } from '../../mixins/domain.mixin';
import { reaction } from '../../mixins/events/reaction';
import { createMailer, MAIL_CONNECTIONS, type Mailer } from '../../mixins/mail/mailer';
import { replica } from '../../mixins/replica.mixin';
import { usersReplica } from '../users/replica.contract';
import { userCreated } from '../users/users.contract';
import { DeliveryJob } from './deliveries.job';
import { deliverByMail } from './mail.channel';
import { notificationsSend } from './notifications.contract';
import { notificationsDomain } from './notifications.domain';
import { notifications } from './notifications.model';
import { findRecipients, newNotifications } from './notifications.queries';
import { type Telling, toTelling, toWelcome } from './notifications.rules';

interface NotificationsMethods {
  /** Writes down what is to be told to whom; it goes out as soon as that is committed. */
  tell(tx: Transaction, telling: Telling, userIds: readonly string[]): void;
}

interface NotificationsVars {
  mailer: Mailer;
  job: DeliveryJob;
}

const schema: DomainService<NotificationsMethods, NotificationsVars> = {
  name: 'notifications',
  mixins: [...domain(notificationsDomain, notifications), replica(usersReplica)],

  events: {
    'users.create': reaction(userCreated, {
      async handler(ctx) {
        const user = ctx.params.data;
        const telling = toWelcome(user);
        if (telling) this.tell(ctx.locals.tx, telling, [user.id]);
      },
    }),

    'notifications.send': reaction(notificationsSend, {
      async handler(ctx) {
        const { tx } = ctx.locals;
        this.tell(tx, toTelling(ctx.params.data), await findRecipients(tx, ctx.params.data));
      },
    }),
  },

  methods: {
    tell(tx, telling, userIds) {
      if (userIds.length === 0) return;
      tx.writeAtEnd(newNotifications, [{ ...telling, userIds }]);
      tx.afterCommit(() => this.job.wake());
    },
  },

  created(this: Service & DbVars & NotificationsVars) {
    const config = configOf(this.broker);
    this.mailer = createMailer({
      smtpUrl: config.smtpUrl,
      folder: join(config.dataDir, 'mail'),
      from: config.mailFrom,
      host: new URL(config.appUrl).hostname,
    });
    this.job = new DeliveryJob({
      db: this.db,
      log: this.logger,
      concurrency: MAIL_CONNECTIONS,
      deliver: due => deliverByMail(this.mailer, config, due),
      abort: () => this.mailer.close(),
    });
  },

  started() {
    this.job.start();
  },

  async stopped() {
    await this.job.stop();
  },
};

export default schema;
