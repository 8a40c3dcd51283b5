import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Does with a half message what its user properties {@code local} and {@code check} say, and logs it. */
final class Transactions implements TransactionListener {
    @Override
    public LocalTransactionState executeLocalTransaction(Message message, Object argument) {
        return decide("local", message, message.getTransactionId());
    }

    @Override
    public LocalTransactionState checkLocalTransaction(MessageExt message) {
        return decide("check", message, message.getTransactionId());
    }

    private static LocalTransactionState decide(String when, Message message, String id) {
        long start = Log.now();
        LocalTransactionState state = LocalTransactionState.UNKNOW;
        String wanted = message.getUserProperty(when);
        if ("commit".equals(wanted)) {
            state = LocalTransactionState.COMMIT_MESSAGE;
        } else if ("rollback".equals(wanted)) {
            state = LocalTransactionState.ROLLBACK_MESSAGE;
        }
        Log.event("decided").put("when", when).put("msgId", id).put("topic", message.getTopic()).put("key", message.getKeys())
            .put("state", wanted == null ? "unknown" : wanted).put("startNs", start).put("endNs", Log.now()).write();
        return state;
    }
}
