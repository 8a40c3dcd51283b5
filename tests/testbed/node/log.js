'use strict';

// The program's own account: JSON lines on standard output. Node.js writes a pipe from its event loop, so a slow reader does not
// show in the times of a send.

const { performance } = require('node:perf_hooks');

/** Adds one line. */
function write(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** Wall-clock time in nanoseconds since the epoch, to a quarter of a microsecond: Date.now() would only give milliseconds. */
function now() {
  return Math.round((performance.timeOrigin + performance.now()) * 1e6);
}

module.exports = { write, now };
