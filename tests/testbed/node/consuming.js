'use strict';

// A push consumer that fails a message's first attempts where the command says so.

const { setTimeout: sleep } = require('node:timers/promises');
const { Consumer } = require('ali-ons');
const log = require('./log');
const { options } = require('./options');

/** A consumer of one group. */
class Consuming {
  static async start(command) {
    const consuming = new Consuming();
    const group = command.text('group');
    const failAttempts = command.number('fail', 0);
    const failKey = command.text('failKey', '');
    const delay = command.number('delay', 0);
    consuming.consumer = new Consumer({
      ...options(command),
      consumerGroup: group,
      consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
      parallelConsumeLimit: command.number('threads', 4),
      isBroadcast: command.number('broadcast') === 1,
    });
    // A new group begins with such events: its offsets are not found.
    consuming.consumer.on('error', error => console.error(error));
    for (const topic of command.text('topic').split(',')) {
      consuming.consumer.subscribe(topic, command.text('tag', '*'), async message => {
        const startNs = log.now();
        if (delay > 0) {
          await sleep(delay);
        }
        const fails = message.reconsumeTimes < failAttempts && (failKey === '' || failKey === message.keys);
        log.write('consumed', {
          group, msgId: message.msgId, topic: message.topic, tag: message.tags, key: message.keys,
          queue: message.queueId, offset: message.queueOffset, reconsumeTimes: message.reconsumeTimes,
          bornTs: message.bornTimestamp, startNs, endNs: log.now(),
          result: fails ? 'RECONSUME_LATER' : 'CONSUME_SUCCESS',
        });
        return fails ? Consumer.ACTION_RETRY : undefined;
      });
    }
    await consuming.consumer.ready();
    return consuming;
  }

  /** What the handler has finished is committed before the end. */
  async stop() {
    await this.consumer.close();
  }
}

module.exports = { Consuming };
