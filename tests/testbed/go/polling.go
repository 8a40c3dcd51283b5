package main

import (
	"context"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
)

// polling is a pull consumer: a goroutine that polls, handles and acknowledges.
type polling struct {
	consumer rocketmq.PullConsumer
	handler  *handler
	end      chan struct{}
	ended    chan struct{}
}

func startPolling(cmd command, handler *handler, options []consumer.Option) (consuming, error) {
	c, err := rocketmq.NewPullConsumer(append(options, consumer.WithPullBatchSize(int32(cmd.number("batch", 10))))...)
	if err != nil {
		return nil, err
	}
	if err := c.Subscribe(cmd.text("topic", ""), selector(cmd)); err != nil {
		return nil, err
	}
	if err := c.Start(); err != nil {
		return nil, err
	}
	s := &polling{consumer: c, handler: handler, end: make(chan struct{}), ended: make(chan struct{})}
	go s.poll()
	return s, nil
}

func (s *polling) poll() {
	defer close(s.ended)
	for {
		select {
		case <-s.end:
			return
		default:
		}
		request, err := s.consumer.Poll(context.Background(), 200*time.Millisecond)
		if err != nil {
			continue
		}
		result := consumer.ConsumeRetryLater
		if s.handler.handle(request.GetMsgList()) {
			result = consumer.ConsumeSuccess
		}
		s.consumer.ACK(context.Background(), request, result)
	}
}

func (s *polling) stop() {
	close(s.end)
	<-s.ended
	_ = s.consumer.Shutdown()
}
