package main

import (
	"context"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// replies finds the producer of a group for consumers that reply.
type replies func(group string) (rocketmq.Producer, bool)

// handler is what the application does with messages: it takes its time, fails the first attempts where the command says so,
// replies, logs.
type handler struct {
	log          *log
	group        string
	failAttempts int
	failKey      string
	delay        time.Duration
	delayKey     string
	orderly      bool
	begins       bool
	reply        string
	replies      replies
}

func newHandler(log *log, cmd command, replies replies) *handler {
	return &handler{
		log:          log,
		group:        cmd.text("group", ""),
		failAttempts: cmd.number("fail", 0),
		failKey:      cmd.text("failKey", ""),
		delay:        time.Duration(cmd.number("delay", 0)) * time.Millisecond,
		delayKey:     cmd.text("delayKey", ""),
		orderly:      cmd.flag("orderly"),
		begins:       cmd.flag("begins"),
		reply:        cmd.text("reply", ""),
		replies:      replies,
	}
}

// consume is what a push consumer calls.
func (h *handler) consume(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
	switch {
	case h.handle(messages):
		return consumer.ConsumeSuccess, nil
	case h.orderly:
		return consumer.SuspendCurrentQueueAMoment, nil
	default:
		return consumer.ConsumeRetryLater, nil
	}
}

// handle says whether all went well. The messages of one call share its times and its result.
func (h *handler) handle(messages []*primitive.MessageExt) bool {
	start := time.Now()
	slow, fails := false, false
	for _, message := range messages {
		if h.begins {
			h.log.write(h.event("handling", message).with(event{"startNs": start.UnixNano()}))
		}
		slow = slow || h.delayKey == "" || h.delayKey == message.GetKeys()
		fails = fails ||
			int(message.ReconsumeTimes) < h.failAttempts && (h.failKey == "" || h.failKey == message.GetKeys())
		// Only a request says where its reply goes.
		if h.reply != "" && consumer.GetReplyToClient(message) != "" {
			h.answer(message)
		}
	}
	if slow {
		time.Sleep(h.delay)
	}
	result := "CONSUME_SUCCESS"
	if fails {
		result = "RECONSUME_LATER"
	}
	end := time.Now()
	for _, message := range messages {
		h.log.write(h.event("consumed", message).with(event{
			"together": len(messages), "startNs": start.UnixNano(), "endNs": end.UnixNano(), "result": result,
		}))
	}
	return !fails
}

func (h *handler) event(name string, message *primitive.MessageExt) event {
	return event{
		"event": name, "group": h.group, "msgId": message.MsgId, "topic": message.Topic, "tag": message.GetTags(),
		"key": message.GetKeys(), "queue": message.Queue.QueueId, "offset": message.QueueOffset,
		"reconsumeTimes": message.ReconsumeTimes, "bornTs": message.BornTimestamp,
	}
}

func (h *handler) answer(request *primitive.MessageExt) {
	producer, ok := h.replies(h.reply)
	if !ok {
		return
	}
	reply, err := consumer.CreateReplyMessage(request, nil)
	if err != nil {
		return
	}
	reply.Body = []byte("BODY-CANARY")
	start := time.Now()
	_, err = producer.SendSync(context.Background(), reply)
	more := event{"startNs": start.UnixNano(), "endNs": time.Now().UnixNano()}
	if err != nil {
		more["error"] = err.Error()
	}
	h.log.write(event{
		"event": "replied", "group": h.reply, "topic": reply.Topic,
		"msgId":     reply.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex),
		"requestId": request.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex),
	}.with(more))
}
