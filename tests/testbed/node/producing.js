'use strict';

// A producer. The library has one way of sending: it waits for the answer.

const { randomBytes } = require('node:crypto');
const { setTimeout: sleep } = require('node:timers/promises');
const { Message, Producer } = require('ali-ons');
const log = require('./log');
const { options } = require('./options');

/** A producer of one group. */
class Producing {
  static async start(command) {
    const producing = new Producing();
    producing.producer = new Producer({
      ...options(command),
      producerGroup: command.text('group'),
      retryTimesWhenSendFailed: command.number('retries', 0),
      sendMsgTimeout: command.number('timeout', 3000),
      maxMessageSize: command.number('maxSize', 4 << 20),
      // Unless asked for otherwise, bodies travel as they are, so that a test knows how many bytes are on the wire.
      compressMsgBodyOverHowmuch: command.number('compress', Number.MAX_SAFE_INTEGER),
    });
    producing.producer.on('error', error => console.error(error));
    await producing.producer.ready();
    return producing;
  }

  async stop() {
    await this.producer.close();
  }

  /** One `send` command; its threads are sends under way at the same time. */
  async send(command) {
    const mode = command.text('mode', 'sync');
    if (mode !== 'sync' && mode !== 'ordered') {
      throw new Error(`this library cannot send in mode ${mode}`);
    }
    const count = command.number('count', 1);
    const rate = command.number('rate', 0);
    const started = log.now();
    let next = 0;
    let failed = 0;
    const work = async () => {
      for (let i; (i = next++) < count;) {
        if (rate > 0) {
          await sleep(Math.max(0, (started - log.now()) / 1e6 + i * 1e3 / rate));
        }
        failed += await this.one(command, mode, i);
      }
    };
    await Promise.all(Array.from({ length: command.number('threads', 1) }, work));
    log.write('done', { cmd: command.number('cmd'), count, failed, tookNs: log.now() - started });
  }

  /** Gives the number of failures. */
  async one(command, mode, i) {
    const message = newMessage(command, i);
    const line = {
      cmd: command.number('cmd'), mode, topic: message.topic, tag: message.tags, key: message.keys,
    };
    const startNs = log.now();
    try {
      const result = await this.producer.send(message);
      // The library makes no id; what it calls one is the place in the store.
      log.write('sent', {
        ...line, msgId: result.msgId, offsetMsgId: result.msgId, queue: Number(result.messageQueue.queueId),
        offset: result.queueOffset, status: result.sendStatus, startNs, endNs: log.now(),
      });
      return 0;
    } catch (error) {
      log.write('send_failed', {
        ...line, msgId: '', error: error.message, code: Number(error.code) || 0, startNs, endNs: log.now(),
      });
      return 1;
    }
  }
}

function newMessage(command, i) {
  const size = command.number('size', 100);
  const body = command.number('text') ? text(size) : binary(size);
  // Several tags, separated by commas, take turns.
  const tags = command.text('tag', 'TagA').split(',');
  const message = new Message(command.text('topic'), tags[i % tags.length], body);
  message.keys = [`${command.text('key', 'k')}-${i}`];
  Object.assign(message.properties, {
    note: 'PROPERTY-CANARY', number: String(i), ...Object.fromEntries(command.withPrefix('prop.')),
  });
  if (command.number('level') > 0) {
    message.delayTimeLevel = command.number('level');
  }
  if (command.number('timer') > 0) {
    message.properties.TIMER_DELIVER_MS = String(Date.now() + command.number('timer'));
  }
  if (command.text('shards', '') !== '') {
    // The library sends messages of one sharding key to one queue.
    message.shardingKey = `shard-${i % command.number('shards')}`;
  }
  return message;
}

/** Does not compress, and a test can search the tracer's output for what stands in it. */
function binary(size) {
  const body = randomBytes(size);
  for (let at = 0; at < size; at += 4096) {
    body.write('BODY-CANARY', at);
  }
  return body;
}

/** Compresses well. */
function text(size) {
  return Buffer.alloc(size, 'BODY-CANARY ');
}

module.exports = { Producing };
