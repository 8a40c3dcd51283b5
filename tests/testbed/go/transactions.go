package main

import (
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// transactions does with a half message what its user properties local and check say, and logs it.
type transactions struct {
	log *log
}

func (t transactions) ExecuteLocalTransaction(message *primitive.Message) primitive.LocalTransactionState {
	return t.decide("local", message, message.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex))
}

func (t transactions) CheckLocalTransaction(message *primitive.MessageExt) primitive.LocalTransactionState {
	return t.decide("check", &message.Message, message.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex))
}

func (t transactions) decide(when string, message *primitive.Message, id string) primitive.LocalTransactionState {
	start := time.Now()
	state := primitive.UnknowState
	wanted := message.GetProperty(when)
	switch wanted {
	case "commit":
		state = primitive.CommitMessageState
	case "rollback":
		state = primitive.RollbackMessageState
	default:
		wanted = "unknown"
	}
	t.log.write(event{"event": "decided", "when": when, "msgId": id, "topic": message.Topic, "key": message.GetKeys(),
		"state": wanted, "startNs": start.UnixNano(), "endNs": time.Now().UnixNano()})
	return state
}
