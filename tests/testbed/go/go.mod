module rmqtrace.test/client

go 1.24.0

require github.com/apache/rocketmq-client-go/v2 v2.1.2
