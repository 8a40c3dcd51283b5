import org.apache.rocketmq.remoting.RPCHook;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * Credentials on every request, in the fields where the access control of RocketMQ puts them. The broker of the tests has no
 * access control and ignores them; they are on the wire for tests that look for them in the tracer's output.
 */
final class Credentials implements RPCHook {
    private final String secret;

    private Credentials(String secret) {
        this.secret = secret;
    }

    /** The hook that {@code auth=…} asks for, or null. */
    static RPCHook hook(Command command) {
        String secret = command.text("auth", null);
        return secret == null ? null : new Credentials(secret);
    }

    @Override
    public void doBeforeRequest(String remoteAddress, RemotingCommand request) {
        request.addExtField("AccessKey", "ACCESS-" + secret);
        request.addExtField("Signature", "SIGNATURE-" + secret);
        request.addExtField("SecurityToken", "TOKEN-" + secret);
    }

    @Override
    public void doAfterResponse(String remoteAddress, RemotingCommand request, RemotingCommand response) {
    }
}
