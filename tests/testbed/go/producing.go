package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

// inFlight is how many asynchronous sends may be unanswered at once.
const inFlight = 256

// producing is a producer and the ways of sending. One of the two producers is there.
type producing struct {
	log           *log
	producer      rocketmq.Producer
	transactional rocketmq.TransactionProducer
}

func startProducer(log *log, cmd command) (*producing, error) {
	options := []producer.Option{
		producer.WithGroupName(cmd.text("group", "")),
		producer.WithInstanceName(cmd.text("group", "")),
		producer.WithNameServer(primitive.NamesrvAddr{cmd.text("ns", "")}),
		producer.WithRetry(cmd.number("retries", 0)),
		// Unless asked for otherwise, bodies travel as they are, so that a test knows how many bytes are on the wire.
		producer.WithCompressMsgBodyOverHowmuch(cmd.number("compress", math.MaxInt32)),
		producer.WithCredentials(credentials(cmd)),
	}
	if cmd.flag("trace") {
		options = append(options, producer.WithTrace(traceConfig(cmd)))
	}
	if cmd.flag("transactions") {
		p, err := rocketmq.NewTransactionProducer(transactions{log}, options...)
		if err != nil {
			return nil, err
		}
		return &producing{log: log, transactional: p}, p.Start()
	}
	p, err := rocketmq.NewProducer(append(options, producer.WithQueueSelector(producer.NewHashQueueSelector()))...)
	if err != nil {
		return nil, err
	}
	return &producing{log: log, producer: p}, p.Start()
}

func (p *producing) stop() {
	if p.transactional != nil {
		_ = p.transactional.Shutdown()
		return
	}
	_ = p.producer.Shutdown()
}

// credentials are the ones that auth=… asks for. The broker of the tests ignores them.
func credentials(cmd command) primitive.Credentials {
	secret := cmd.text("auth", "")
	if secret == "" {
		return primitive.Credentials{}
	}
	return primitive.Credentials{
		AccessKey: "ACCESS-" + secret, SecretKey: "SECRET-" + secret, SecurityToken: "TOKEN-" + secret,
	}
}

// send carries out one send command, spread over its threads.
func (p *producing) send(cmd command) {
	w := &work{p: p, cmd: cmd, count: cmd.number("count", 1), started: time.Now()}
	var threads sync.WaitGroup
	for range cmd.number("threads", 1) {
		threads.Add(1)
		go func() {
			defer threads.Done()
			w.run()
		}()
	}
	threads.Wait()
	p.log.write(event{"event": "done", "cmd": cmd.number("cmd", 0), "count": w.count, "failed": w.failures.Load(),
		"tookNs": time.Since(w.started).Nanoseconds()})
}

// work is one send command under way.
type work struct {
	p        *producing
	cmd      command
	count    int
	started  time.Time
	next     atomic.Int64
	failures atomic.Int64
}

func (w *work) run() {
	mode, step := w.cmd.text("mode", "sync"), 1
	if mode == "batch" {
		step = w.cmd.number("batch", 4)
	}
	slots := make(chan struct{}, inFlight)
	for {
		i := int(w.next.Add(int64(step))) - step
		if i >= w.count {
			break
		}
		w.pace(i)
		switch mode {
		case "sync", "ordered":
			w.sync(w.message(i))
		case "transaction":
			w.transaction(w.message(i))
		case "async":
			w.async(w.message(i), slots)
		case "oneway":
			w.oneway(w.message(i))
		case "request":
			w.request(w.message(i))
		case "batch":
			w.batch(i, min(step, w.count-i))
		}
	}
	// Every answer is in before the command is done.
	for range inFlight {
		slots <- struct{}{}
	}
}

func (w *work) pace(i int) {
	if rate := w.cmd.number("rate", 0); rate > 0 {
		time.Sleep(time.Until(w.started.Add(time.Duration(i) * time.Second / time.Duration(rate))))
	}
}

func (w *work) message(i int) *primitive.Message {
	message := primitive.NewMessage(w.cmd.text("topic", ""), body(w.cmd.number("size", 100), w.cmd.flag("text")))
	// Several tags, separated by commas, take turns.
	tags := strings.Split(w.cmd.text("tag", "TagA"), ",")
	message.WithTag(tags[i%len(tags)])
	message.WithKeys([]string{fmt.Sprintf("%s-%d", w.cmd.text("key", "k"), i)})
	message.WithProperty("note", "PROPERTY-CANARY")
	message.WithProperty("number", fmt.Sprint(i))
	w.cmd.each("prop.", message.WithProperty)
	if level := w.cmd.number("level", 0); level > 0 {
		message.WithDelayTimeLevel(level)
	}
	if delay := w.cmd.number("timer", 0); delay > 0 {
		at := time.Now().Add(time.Duration(delay) * time.Millisecond)
		message.WithProperty("TIMER_DELIVER_MS", fmt.Sprint(at.UnixMilli()))
	}
	if shards := w.cmd.number("shards", 0); shards > 0 {
		message.WithShardingKey(fmt.Sprintf("shard-%d", i%shards))
	}
	return message
}

func (w *work) sync(message *primitive.Message) {
	ctx, cancel := w.deadline()
	defer cancel()
	start := time.Now()
	result, err := w.p.producer.SendSync(ctx, message)
	w.outcome(message, result, err, start, time.Now())
}

func (w *work) async(message *primitive.Message, slots chan struct{}) {
	slots <- struct{}{}
	start := time.Now()
	var once sync.Once
	finish := func(result *primitive.SendResult, err error) {
		once.Do(func() {
			w.outcome(message, result, err, start, time.Now())
			<-slots
		})
	}
	err := w.p.producer.SendAsync(context.Background(), func(_ context.Context, result *primitive.SendResult, err error) {
		finish(result, err)
	}, message)
	if err != nil {
		finish(nil, err)
	}
}

func (w *work) transaction(message *primitive.Message) {
	ctx, cancel := w.deadline()
	defer cancel()
	start := time.Now()
	result, err := w.p.transactional.SendMessageInTransaction(ctx, message)
	if err != nil {
		w.failed(message, err, start, time.Now())
		return
	}
	w.outcome(message, result.SendResult, nil, start, time.Now())
}

func (w *work) oneway(message *primitive.Message) {
	ctx, cancel := w.deadline()
	defer cancel()
	start := time.Now()
	if err := w.p.producer.SendOneWay(ctx, message); err != nil {
		w.failed(message, err, start, time.Now())
		return
	}
	w.log("sent", message, start, time.Now(), event{})
}

// request waits for the reply. Where none came, the request was sent all the same.
func (w *work) request(message *primitive.Message) {
	ctx, cancel := w.deadline()
	defer cancel()
	start := time.Now()
	reply, err := w.p.producer.Request(ctx, w.timeout(), message)
	end := time.Now()
	more := event{}
	if err == nil && reply != nil {
		more["replyId"] = reply.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex)
	}
	w.log("sent", message, start, end, more)
}

// batch sends several messages in one frame. This client gives them no UNIQ_KEY: their ids are those that the broker
// made, one for each, in the answer.
func (w *work) batch(from, size int) {
	messages := make([]*primitive.Message, size)
	for i := range messages {
		messages[i] = w.message(from + i)
	}
	ctx, cancel := w.deadline()
	defer cancel()
	start := time.Now()
	result, err := w.p.producer.SendSync(ctx, messages...)
	end := time.Now()
	if err != nil {
		for _, message := range messages {
			w.failures.Add(1)
			w.log("send_failed", message, start, end, failure(err).with(event{"batch": from, "batchSize": size}))
		}
		return
	}
	ids := strings.Split(result.OffsetMsgID, ",")
	for i, message := range messages {
		id := ""
		if i < len(ids) {
			id = ids[i]
		}
		w.log("sent", message, start, end, event{"msgId": id, "offsetMsgId": id, "queue": result.MessageQueue.QueueId,
			"offset": result.QueueOffset + int64(i), "batch": from, "batchSize": size, "status": statusName(result.Status)})
	}
}

func (w *work) deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), w.timeout())
}

func (w *work) timeout() time.Duration {
	return time.Duration(w.cmd.number("timeout", 3000)) * time.Millisecond
}

func (w *work) outcome(message *primitive.Message, result *primitive.SendResult, err error, start, end time.Time) {
	if err != nil {
		w.failed(message, err, start, end)
		return
	}
	w.log("sent", message, start, end, event{"queue": result.MessageQueue.QueueId, "offset": result.QueueOffset,
		"offsetMsgId": result.OffsetMsgID, "transactionId": result.TransactionID, "status": statusName(result.Status)})
}

func (w *work) failed(message *primitive.Message, err error, start, end time.Time) {
	w.failures.Add(1)
	w.log("send_failed", message, start, end, failure(err))
}

func failure(err error) event {
	code := 0
	// An answer that is no success comes as text only: "CODE: 13, DESC: …".
	_, _ = fmt.Sscanf(err.Error(), "CODE: %d", &code)
	return event{"error": err.Error(), "code": code}
}

func (w *work) log(name string, message *primitive.Message, start, end time.Time, more event) {
	w.p.log.write(event{
		"event": name, "cmd": w.cmd.number("cmd", 0), "mode": w.cmd.text("mode", "sync"),
		"msgId": message.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex), "topic": message.Topic,
		"tag": message.GetTags(), "key": message.GetKeys(), "startNs": start.UnixNano(), "endNs": end.UnixNano(),
	}.with(more))
}

// statusName is the status in the spelling of the protocol.
func statusName(status primitive.SendStatus) string {
	switch status {
	case primitive.SendOK:
		return "SEND_OK"
	case primitive.SendFlushDiskTimeout:
		return "FLUSH_DISK_TIMEOUT"
	case primitive.SendFlushSlaveTimeout:
		return "FLUSH_SLAVE_TIMEOUT"
	case primitive.SendSlaveNotAvailable:
		return "SLAVE_NOT_AVAILABLE"
	default:
		return fmt.Sprintf("status %d", status)
	}
}

// body does not compress unless it is text, and a test can search the tracer's output for what stands in it.
func body(size int, text bool) []byte {
	bytes := make([]byte, size)
	if !text {
		_, _ = rand.Read(bytes)
	}
	for at := 0; at < size; at += 4096 {
		copy(bytes[at:], "BODY-CANARY")
	}
	return bytes
}
