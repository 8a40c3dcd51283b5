/** A consumer of any kind that a {@code consumer} command started. */
interface Consuming {
    /** Ends in order: what is finished is committed. */
    void stop();

    /** Stops delivering, or goes on. */
    default void pause(boolean paused) {
        throw new UnsupportedOperationException("this kind of consumer cannot be paused");
    }

    /** Starts a consumer of the kind that the command names. */
    static Consuming start(Command command, Replies replies) throws Exception {
        Handler handler = new Handler(command, replies);
        String kind = command.text("kind", "push");
        switch (kind) {
            case "push":
                return new Pushing(command, handler);
            case "lite":
                return new Polling(command, handler);
            case "pull":
            case "schedule":
                return new Pulling(command, handler);
            default:
                throw new IllegalArgumentException("unknown kind " + kind);
        }
    }
}
