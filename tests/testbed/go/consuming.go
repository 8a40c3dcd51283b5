package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// consuming is any kind of consumer.
type consuming interface {
	stop()
}

// pausing is a consumer that can be paused.
type pausing interface {
	pause(paused bool)
}

// startConsumer tries a few times: this client gives up at once when the name server is slow to tell it a route.
func startConsumer(log *log, cmd command, replies replies) (consuming, error) {
	handler := newHandler(log, cmd, replies)
	var s consuming
	var err error
	for attempt := range 5 {
		options := append(options(cmd, attempt), traced(cmd)...)
		switch kind := cmd.text("kind", "push"); kind {
		case "push":
			s, err = startPushing(cmd, handler, options)
		case "lite":
			s, err = startPolling(cmd, handler, options)
		default:
			return nil, fmt.Errorf("unknown kind of consumer %q", kind)
		}
		if err == nil {
			break
		}
	}
	return s, err
}

// options are those of every consumer.
func options(cmd command, attempt int) []consumer.Option {
	group := cmd.text("group", "")
	options := []consumer.Option{
		consumer.WithGroupName(group),
		// The instance is most of the client's id, by which a group's members share the queues: one in each process.
		consumer.WithInstance(fmt.Sprintf("%s-%d-%d", group, os.Getpid(), attempt)),
		consumer.WithNameServer(primitive.NamesrvAddr{cmd.text("ns", "")}),
		consumer.WithCredentials(credentials(cmd)),
	}
	if retries := cmd.number("maxRetries", -1); retries >= 0 {
		options = append(options, consumer.WithMaxReconsumeTimes(int32(retries)))
	}
	return options
}

// traced makes the client send RocketMQ's own message trace, where the command asks for it.
func traced(cmd command) []consumer.Option {
	if !cmd.flag("trace") {
		return nil
	}
	return []consumer.Option{consumer.WithTrace(traceConfig(cmd))}
}

func traceConfig(cmd command) *primitive.TraceConfig {
	return &primitive.TraceConfig{
		GroupName: cmd.text("group", ""), Access: primitive.Local, NamesrvAddrs: []string{cmd.text("ns", "")},
	}
}

func selector(cmd command) consumer.MessageSelector {
	if sql := cmd.text("sql", ""); sql != "" {
		return consumer.MessageSelector{Type: consumer.SQL92, Expression: sql}
	}
	return consumer.MessageSelector{Type: consumer.TAG, Expression: cmd.text("tag", "*")}
}

// pushing is a push consumer: concurrent or orderly, sharing or broadcasting.
type pushing struct {
	consumer rocketmq.PushConsumer
}

func startPushing(cmd command, handler *handler, options []consumer.Option) (consuming, error) {
	options = append(options,
		from(cmd.text("from", "first")),
		consumer.WithConsumeGoroutineNums(cmd.number("threads", 4)),
		consumer.WithConsumeMessageBatchMaxSize(cmd.number("batch", 1)),
		consumer.WithConsumerOrder(cmd.flag("orderly")),
		consumer.WithSuspendCurrentQueueTimeMillis(500*time.Millisecond),
	)
	if where := cmd.text("from", ""); strings.HasPrefix(where, "ago:") {
		ago, _ := strconv.Atoi(strings.TrimPrefix(where, "ago:"))
		at := time.Now().Add(-time.Duration(ago) * time.Millisecond)
		options = append(options, consumer.WithConsumeTimestamp(at.Format("20060102150405")))
	}
	if cmd.flag("broadcast") {
		options = append(options, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return nil, err
	}
	for _, topic := range strings.Split(cmd.text("topic", ""), ",") {
		if err := c.Subscribe(topic, selector(cmd), handler.consume); err != nil {
			return nil, err
		}
	}
	return &pushing{c}, c.Start()
}

// from reads first, last, or ago:MILLISECONDS.
func from(where string) consumer.Option {
	switch {
	case where == "last":
		return consumer.WithConsumeFromWhere(consumer.ConsumeFromLastOffset)
	case strings.HasPrefix(where, "ago:"):
		return consumer.WithConsumeFromWhere(consumer.ConsumeFromTimestamp)
	default:
		return consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)
	}
}

func (s *pushing) pause(paused bool) {
	if paused {
		s.consumer.Suspend()
	} else {
		s.consumer.Resume()
	}
}

func (s *pushing) stop() {
	_ = s.consumer.Shutdown()
}
