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
    const delayKey = command.text('delayKey', '');
    const begins = command.number('begins') === 1;
    const sql = command.text('sql', '');
    const filter = sql === '' ? command.text('tag', '*') : { expressionType: 'SQL92', subString: sql };
    consuming.consumer = new Consumer({
      ...options(command),
      consumerGroup: group,
      ...startingPoint(command.text('from', 'first')),
      maxReconsumeTimes: command.number('maxRetries', 16),
      parallelConsumeLimit: command.number('threads', 4),
      isBroadcast: command.number('broadcast') === 1,
    });
    // A new group begins with such events: its offsets are not found.
    consuming.consumer.on('error', error => console.error(error));
    for (const topic of command.text('topic').split(',')) {
      consuming.consumer.subscribe(topic, filter, async message => {
        const startNs = log.now();
        const line = {
          group, msgId: message.msgId, topic: message.topic, tag: message.tags, key: message.keys,
          queue: message.queueId, offset: message.queueOffset, reconsumeTimes: message.reconsumeTimes,
          bornTs: message.bornTimestamp, startNs,
        };
        if (begins) {
          log.write('handling', line);
        }
        if (delay > 0 && (delayKey === '' || delayKey === message.keys)) {
          await sleep(delay);
        }
        const fails = message.reconsumeTimes < failAttempts && (failKey === '' || failKey === message.keys);
        log.write('consumed', {
          ...line, endNs: log.now(), result: fails ? 'RECONSUME_LATER' : 'CONSUME_SUCCESS',
        });
        if (fails) {
          // The library does not look at what the handler of a message that came again returns, only at what it throws.
          throw new Error(`${message.keys} is to fail`);
        }
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

/** `first`, `last`, or `ago:MILLISECONDS`. */
function startingPoint(from) {
  if (!from.startsWith('ago:')) {
    return { consumeFromWhere: from === 'last' ? 'CONSUME_FROM_LAST_OFFSET' : 'CONSUME_FROM_FIRST_OFFSET' };
  }
  const at = new Date(Date.now() - Number(from.slice('ago:'.length)));
  const parts = [at.getMonth() + 1, at.getDate(), at.getHours(), at.getMinutes(), at.getSeconds()];
  return {
    consumeFromWhere: 'CONSUME_FROM_TIMESTAMP',
    consumeTimestamp: at.getFullYear() + parts.map(part => String(part).padStart(2, '0')).join(''),
  };
}

module.exports = { Consuming };
