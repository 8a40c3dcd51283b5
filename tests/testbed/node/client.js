'use strict';

// ali-ons under the control of a test. It understands the same commands on standard input and writes the same JSON lines on
// standard output as the Java program beside it (../java/TestClient.java has the list), as far as the library can.

const readline = require('node:readline');
const { Command } = require('./command');
const { Consuming } = require('./consuming');
const { Producing } = require('./producing');
const log = require('./log');

const producers = new Map();
const consumers = new Map();

async function run(command) {
  const group = command.text('group');
  switch (command.verb) {
    case 'producer':
      producers.set(group, await Producing.start(command));
      break;
    case 'send': {
      const producer = producers.get(group);
      if (!producer) {
        throw new Error(`no producer of group ${group}`);
      }
      // In the background: a test gives the next command while this one is under way.
      producer.send(command).catch(error => failed(command, error));
      return;
    }
    case 'consumer':
      consumers.set(group, await Consuming.start(command));
      break;
    case 'stop':
      await consumers.get(group)?.stop();
      await producers.get(group)?.stop();
      consumers.delete(group);
      producers.delete(group);
      break;
    default:
      throw new Error(`unknown command ${command.verb}`);
  }
  log.write('done', { cmd: command.number('cmd') });
}

function failed(command, error) {
  log.write('command_failed', { cmd: command.number('cmd'), error: error.stack });
}

async function main() {
  log.write('started', { pid: process.pid });
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = new Command(line);
    await run(command).catch(error => failed(command, error));
  }
  for (const running of [...consumers.values(), ...producers.values()]) {
    await running.stop();
  }
  // The library's timers do not end by themselves.
  process.stdout.write('', () => process.exit(0));
}

main();
