//! Every bound of the engine in one place. What does not fit is evicted, oldest first, and counted.

use std::time::Duration;

/// Connections at once. A busy host has some thousand client sockets; an evicted one is as if closed.
pub const CONNECTIONS: usize = 32 * 1024;
/// Requests of one connection and direction that wait for their answers. Java's asynchronous producer allows
/// itself 65,535 at once over all of its connections.
pub const WAITING: usize = 64 * 1024;
/// Answers of one connection and direction that wait for their requests: one for each parked pull.
pub const HELD: usize = 256;
/// Consumer groups of all processes.
pub const GROUPS: usize = 4 * 1024;
/// Subscriptions remembered for one group.
pub const SUBSCRIPTIONS: usize = 1024;
/// Queues of all groups.
pub const QUEUES: usize = 64 * 1024;
/// Deliveries without an end, over all queues. A Java consumer takes 1,000 a queue; each needs about 600 bytes.
pub const DELIVERIES: usize = 128 * 1024;
/// Popped messages in work. A Java consumer takes 96 a queue.
pub const POPPED: usize = 64 * 1024;
/// Messages whose send attempts are remembered: for the number of the next attempt, and so that only one of
/// them gets the derived span id.
pub const ATTEMPTS: usize = 64 * 1024;
/// Half messages that are remembered for the end of their transaction, which a check may bring after hours.
pub const HALVES: usize = 16 * 1024;
/// Timed messages that are remembered for their recall, which may come until they are delivered.
pub const RECALLABLE: usize = 16 * 1024;
/// Requests that are remembered for the trace of their reply, which comes within seconds.
pub const CONVERSATIONS: usize = 16 * 1024;
/// Failed deliveries that are remembered for the link from their retry, which comes within hours.
pub const FAILED: usize = 64 * 1024;
/// Calls of listeners that consumers' own traces told of, and whose delivery is not known to have ended, by message; and
/// likewise calls that have not returned.
pub const CALLS: usize = 32 * 1024;
/// Deliveries that wait for the record of a consumer that traces.
pub const TRACE_WAITING: usize = 64 * 1024;
/// Distinct topic, group and client names that are shared; a name beyond it is copied each time.
pub const NAMES: usize = 64 * 1024;
/// Processes known to serve clients themselves.
pub const SERVERS: usize = 1024;

/// How long an answer waits for its request. Records of the two come out of order by microseconds; a pull
/// answer also waits for the next pull, which a client with full buffers delays by 50 ms.
pub const HOLD: Duration = Duration::from_secs(2);
/// How long a client may take from the end of a handler to its account of it: a thread that is ready to run may have to
/// wait. Seen were 7 ms, with ten threads ready for each core.
pub const HANDOVER: Duration = Duration::from_secs(1);
/// How long a popped message that has expired may still be acknowledged.
pub const POP_GRACE: Duration = Duration::from_secs(30);
/// How long a delivery of a consumer that traces waits for the record about it, after other evidence came. Clients send
/// records 5 s late at most, and have 5 s for sending them.
pub const TRACE_WAIT: Duration = Duration::from_secs(10);
/// Least time between two sweeps of one group for deliveries whose time is up.
pub const SWEEP: Duration = Duration::from_secs(1);
