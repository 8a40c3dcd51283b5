package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// consuming is a push consumer that fails a message's first attempts where the command says so.
type consuming struct {
	log          *log
	consumer     rocketmq.PushConsumer
	group        string
	failAttempts int
	failKey      string
	delay        time.Duration
	delayKey     string
	orderly      bool
	begins       bool
}

// startConsumer tries a few times: this client gives up at once when the name server is slow to tell it a route.
func startConsumer(log *log, cmd command) (*consuming, error) {
	var s *consuming
	var err error
	for attempt := range 5 {
		if s, err = tryConsumer(log, cmd, attempt); err == nil {
			break
		}
	}
	return s, err
}

func tryConsumer(log *log, cmd command, attempt int) (*consuming, error) {
	s := &consuming{
		log:          log,
		group:        cmd.text("group", ""),
		failAttempts: cmd.number("fail", 0),
		failKey:      cmd.text("failKey", ""),
		delay:        time.Duration(cmd.number("delay", 0)) * time.Millisecond,
		delayKey:     cmd.text("delayKey", ""),
		orderly:      cmd.flag("orderly"),
		begins:       cmd.flag("begins"),
	}
	options := []consumer.Option{
		consumer.WithGroupName(s.group),
		consumer.WithInstance(fmt.Sprintf("%s-%d", s.group, attempt)),
		consumer.WithNameServer(primitive.NamesrvAddr{cmd.text("ns", "")}),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithConsumeGoroutineNums(cmd.number("threads", 4)),
		consumer.WithCredentials(credentials(cmd)),
		consumer.WithConsumerOrder(cmd.flag("orderly")),
		consumer.WithSuspendCurrentQueueTimeMillis(500 * time.Millisecond),
	}
	if cmd.flag("broadcast") {
		options = append(options, consumer.WithConsumerModel(consumer.BroadCasting))
	}
	if retries := cmd.number("maxRetries", -1); retries >= 0 {
		options = append(options, consumer.WithMaxReconsumeTimes(int32(retries)))
	}
	c, err := rocketmq.NewPushConsumer(options...)
	if err != nil {
		return nil, err
	}
	s.consumer = c
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: cmd.text("tag", "*")}
	for _, topic := range strings.Split(cmd.text("topic", ""), ",") {
		if err := c.Subscribe(topic, selector, s.consume); err != nil {
			return nil, err
		}
	}
	return s, c.Start()
}

func (s *consuming) stop() {
	_ = s.consumer.Shutdown()
}

func (s *consuming) consume(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	result, name := consumer.ConsumeSuccess, "CONSUME_SUCCESS"
	for _, message := range messages {
		start := time.Now()
		if s.begins {
			s.log.write(event{
				"event": "handling", "group": s.group, "msgId": message.MsgId, "topic": message.Topic, "key": message.GetKeys(),
				"queue": message.Queue.QueueId, "offset": message.QueueOffset, "reconsumeTimes": message.ReconsumeTimes,
				"startNs": start.UnixNano(),
			})
		}
		if s.delayKey == "" || s.delayKey == message.GetKeys() {
			time.Sleep(s.delay)
		}
		if int(message.ReconsumeTimes) < s.failAttempts && (s.failKey == "" || s.failKey == message.GetKeys()) {
			result, name = consumer.ConsumeRetryLater, "RECONSUME_LATER"
			if s.orderly {
				result = consumer.SuspendCurrentQueueAMoment
			}
		}
		s.log.write(event{
			"event": "consumed", "group": s.group, "msgId": message.MsgId, "topic": message.Topic, "tag": message.GetTags(),
			"key": message.GetKeys(), "queue": message.Queue.QueueId, "offset": message.QueueOffset,
			"reconsumeTimes": message.ReconsumeTimes, "bornTs": message.BornTimestamp, "startNs": start.UnixNano(),
			"endNs": time.Now().UnixNano(), "result": name,
		})
	}
	return result, nil
}
