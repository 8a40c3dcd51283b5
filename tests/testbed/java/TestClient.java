import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A real RocketMQ client under the control of a test: commands come in on standard input, one a line, as
 * {@code verb key=value …}; what the client really did goes out on standard output, one JSON object a line.
 *
 * <pre>
 * producer group=G ns=HOST:PORT [retries=0] [timeout=3000] [maxSize=4194304] [compress=BYTES] [trace=1] [transactions=1]
 *          [auth=KEY]
 * send     cmd=1 group=G topic=T mode=sync|async|oneway|batch|ordered|transaction|request|recall count=N [size=100]
 *          [text=1] [threads=1] [rate=0] [tag=X[,Y]] [key=K] [batch=4] [timeout=3000] [shards=N] [level=N] [timer=MS]
 *          [prop.NAME=VALUE]
 * consumer cmd=2 group=G ns=HOST:PORT topic=T[,T2] [tag=*] [sql=EXPRESSION] [fail=0] [failKey=K] [delay=0] [delayKey=K]
 *          [begins=1] [reply=GROUP] [auth=KEY] and by kind
 *          [kind=push] [threads=4] [batch=1] [orderly=1] [broadcast=1] [from=first|last|ago:MS] [maxRetries=N] [trace=1]
 *                      [serverRebalance=1] [invisible=MS]
 *          kind=lite   [assign=1] [manual=1] [batch=10]
 *          kind=pull|schedule [batch=10]
 * pause    cmd=3 group=G
 * resume   cmd=4 group=G
 * stop     cmd=5 group=G
 * traces   cmd=6 group=G ns=HOST:PORT topic=T
 * </pre>
 *
 * A transaction's messages carry what becomes of them in {@code prop.local} and {@code prop.check} (commit, rollback; else
 * unknown). The end of standard input shuts everything down in order. Times are wall-clock nanoseconds of this process,
 * taken directly around the call.
 */
public final class TestClient {
    private final Map<String, Producing> producers = new ConcurrentHashMap<>();
    private final Map<String, Consuming> consumers = new ConcurrentHashMap<>();

    public static void main(String[] args) throws Exception {
        TestClient client = new TestClient();
        Log.event("started").put("pid", ProcessHandle.current().pid()).write();
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            Command command = Command.parse(line);
            // Each in the background: a test gives the next command while this one is under way.
            new Thread(() -> {
                try {
                    client.run(command);
                } catch (Exception e) {
                    Log.event("command_failed").put("cmd", command.number("cmd", 0)).put("error", e.toString()).write();
                }
            }, command.verb() + "-" + command.number("cmd", 0)).start();
        }
        client.consumers.values().parallelStream().forEach(Consuming::stop);
        client.producers.values().parallelStream().forEach(Producing::stop);
        Log.close();
        System.exit(0);
    }

    private void run(Command command) throws Exception {
        String group = command.text("group");
        switch (command.verb()) {
            case "producer":
                producers.put(group, new Producing(command));
                done(command);
                break;
            case "send":
                producers.get(group).send(command);
                break;
            case "consumer":
                consumers.put(group, Consuming.start(command, name -> producers.get(name).producer()));
                done(command);
                break;
            case "pause":
            case "resume":
                consumers.get(group).pause(command.verb().equals("pause"));
                done(command);
                break;
            case "stop": {
                Consuming consumer = consumers.remove(group);
                if (consumer != null) {
                    consumer.stop();
                }
                Producing producer = producers.remove(group);
                if (producer != null) {
                    producer.stop();
                }
                done(command);
                break;
            }
            case "traces":
                Traces.read(command);
                done(command);
                break;
            default:
                throw new IllegalArgumentException("unknown command " + command.verb());
        }
    }

    private static void done(Command command) {
        Log.event("done").put("cmd", command.number("cmd", 0)).write();
    }
}
