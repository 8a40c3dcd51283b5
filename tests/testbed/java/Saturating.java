import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.rebalance.AllocateMessageQueueAveragely;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.RPCHook;

/**
 * A producer or a consumer that does nothing else, so that what it reaches is what the client reaches:
 * {@code produce|consume NAME_SERVER TOPIC GROUP TRACE RATE}. It counts, and keeps how long each message took.
 *
 * <p>{@code TRACE} is RocketMQ's own message trace ({@code true}), {@code RATE} how many messages a second are sent, 0 for as many
 * as can be. It says {@code ready} and then answers each line on standard input with one of JSON: {@code mark} begins a new window,
 * {@code tell} changes nothing, {@code stop} ends the sending and waits for the answers that are under way. The end of input ends it.
 */
public final class Saturating {
    /** Sends whose answers are not there yet: enough that the broker never waits for the client. */
    private static final int UNDER_WAY = 256;
    private static final int BODY = 1024;
    /** No credentials. */
    private static final RPCHook NOBODY = null;
    /** Latencies that are kept of a window. */
    private static final int[] MICROS = new int[8 << 20];

    private static final AtomicInteger KEPT = new AtomicInteger();
    private static final AtomicLong DONE = new AtomicLong();
    private static final AtomicLong FAILED = new AtomicLong();
    private static long doneBefore;
    private static long began = System.nanoTime();

    private static void keep(long micros) {
        DONE.incrementAndGet();
        int place = KEPT.getAndIncrement();
        if (place >= 0 && place < MICROS.length) {
            MICROS[place] = (int) Math.min(micros, Integer.MAX_VALUE);
        }
    }

    public static void main(String[] args) throws Exception {
        boolean produces = args[0].equals("produce");
        Runnable end;
        Runnable stop;
        if (produces) {
            Sender sender = new Sender(args);
            new Thread(sender, "sender").start();
            stop = sender::stop;
            end = sender.producer::shutdown;
        } else {
            DefaultMQPushConsumer consumer = consumer(args);
            stop = () -> { };
            end = consumer::shutdown;
        }
        System.out.println("ready");
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            if (line.equals("stop")) {
                stop.run();
            }
            System.out.println(account());
            if (line.equals("mark")) {
                KEPT.set(0);
                doneBefore = DONE.get();
                began = System.nanoTime();
            }
        }
        stop.run();
        end.run();
        System.exit(0);
    }

    /** What was done since the last mark, and in all. */
    private static String account() {
        double seconds = (System.nanoTime() - began) / 1e9;
        int kept = Math.min(Math.max(KEPT.get(), 0), MICROS.length);
        int[] sorted = Arrays.copyOf(MICROS, kept);
        Arrays.sort(sorted);
        return String.format("{\"messages\":%d,\"seconds\":%.6f,\"median\":%d,\"p99\":%d,\"all\":%d,\"failed\":%d}",
            DONE.get() - doneBefore, seconds, quantile(sorted, 0.5), quantile(sorted, 0.99), DONE.get(), FAILED.get());
    }

    private static int quantile(int[] sorted, double part) {
        return sorted.length == 0 ? 0 : sorted[(int) ((sorted.length - 1) * part)];
    }

    /** Its latencies are from the message's making to its delivery, in whole milliseconds. */
    private static DefaultMQPushConsumer consumer(String[] args) throws Exception {
        DefaultMQPushConsumer consumer = new DefaultMQPushConsumer(
            args[3], NOBODY, new AllocateMessageQueueAveragely(), Boolean.parseBoolean(args[4]), null);
        consumer.setNamesrvAddr(args[1]);
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        consumer.setHeartbeatBrokerInterval(1000);
        consumer.setConsumeMessageBatchMaxSize(32);
        consumer.subscribe(args[2], "*");
        consumer.registerMessageListener(new MessageListenerConcurrently() {
            // not a lambda: the agent looks for classes of this interface
            @Override
            public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages, ConsumeConcurrentlyContext context) {
                long now = System.currentTimeMillis();
                for (MessageExt message : messages) {
                    keep((now - message.getBornTimestamp()) * 1000);
                }
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            }
        });
        consumer.start();
        return consumer;
    }

    /** Sends asynchronously; its latencies are from the call to the callback. */
    private static final class Sender implements Runnable {
        final DefaultMQProducer producer;
        private final String topic;
        private final long pause;
        private final Semaphore room = new Semaphore(UNDER_WAY);
        private volatile boolean stopping;

        Sender(String[] args) throws Exception {
            topic = args[2];
            long rate = Long.parseLong(args[5]);
            pause = rate == 0 ? 0 : 1_000_000_000L / rate;
            producer = new DefaultMQProducer(args[3], NOBODY, Boolean.parseBoolean(args[4]), null);
            producer.setNamesrvAddr(args[1]);
            producer.setRetryTimesWhenSendAsyncFailed(0);
            producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
            producer.setSendMsgTimeout(10_000);
            producer.start();
        }

        @Override
        public void run() {
            byte[] body = new byte[BODY];
            Arrays.fill(body, (byte) 'a');
            long due = System.nanoTime();
            for (long n = 0; !stopping; n++) {
                for (long early = due - System.nanoTime(); early > 0; early = due - System.nanoTime()) {
                    LockSupport.parkNanos(early);
                }
                due = pause == 0 ? due : due + pause;
                room.acquireUninterruptibly();
                send(new Message(topic, "TagA", "order-" + n, body));
            }
        }

        private void send(Message message) {
            long start = System.nanoTime();
            try {
                producer.send(message, new SendCallback() {
                    @Override
                    public void onSuccess(SendResult result) {
                        keep((System.nanoTime() - start) / 1000);
                        room.release();
                    }

                    @Override
                    public void onException(Throwable error) {
                        failed(error);
                    }
                });
            } catch (Exception error) {
                failed(error);
            }
        }

        private void failed(Throwable error) {
            if (FAILED.incrementAndGet() == 1) {
                System.err.println(error);
            }
            room.release();
        }

        void stop() {
            if (!stopping) {
                stopping = true;
                room.acquireUninterruptibly(UNDER_WAY);
            }
        }
    }
}
