import org.apache.rocketmq.client.producer.DefaultMQProducer;

/** Where a consumer that replies finds the producer of a group. */
interface Replies {
    DefaultMQProducer producer(String group);
}
