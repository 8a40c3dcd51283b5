'use strict';

/** What producers and consumers have in common. A broker without access control ignores the signature. */
function options(command) {
  const secret = command.text('auth', 'none');
  return {
    nameSrv: command.text('ns'),
    // Processes of one group are told apart by it.
    instanceName: `${command.text('group')}-${process.pid}`,
    accessKeyId: `ACCESS-${secret}`,
    accessKeySecret: `SECRET-${secret}`,
    // Asked where the name server is, but that is given.
    httpclient: { request: async () => ({ status: 200, data: '' }) },
    // A retry topic, a new queue and a finished message are known within a second.
    pollNameServerInteval: 1000,
    heartbeatBrokerInterval: 1000,
    rebalanceInterval: 1000,
    persistConsumerOffsetInterval: 1000,
  };
}

module.exports = { options };
