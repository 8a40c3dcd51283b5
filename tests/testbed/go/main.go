// Program client is a real RocketMQ client under the control of a test. It understands the same commands on standard input and
// writes the same JSON lines on standard output as the Java program beside it (../java/TestClient.java has the list).
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

func main() {
	rlog.SetLogLevel("warn")
	if path := os.Getenv("CLIENT_LOG"); path != "" {
		if err := rlog.SetOutputPath(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// After an asynchronous send that timed out this library tells the callback and then reads the answer that is not there.
	primitive.PanicHandler = func(reason any) { fmt.Fprintln(os.Stderr, "panic:", reason) }
	log := newLog(os.Stdout)
	log.write(event{"event": "started", "pid": os.Getpid()})
	c := client{log: log, producers: map[string]*producing{}, consumers: map[string]consuming{}}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		cmd, err := parse(lines.Text())
		if err == nil {
			err = c.run(cmd)
		}
		if err != nil {
			log.write(event{"event": "command_failed", "cmd": cmd.number("cmd", 0), "error": err.Error()})
		}
	}
	c.stop()
	log.close()
}

// client is everything that the commands so far have started.
type client struct {
	log *log
	// Only for changes of producers, and where a handler looks for one.
	mutex     sync.Mutex
	producers map[string]*producing
	consumers map[string]consuming
}

func (c *client) run(cmd command) error {
	group := cmd.text("group", "")
	switch cmd.verb {
	case "producer":
		p, err := startProducer(c.log, cmd)
		if err != nil {
			return err
		}
		c.mutex.Lock()
		c.producers[group] = p
		c.mutex.Unlock()
	case "send":
		p, ok := c.producers[group]
		if !ok {
			return fmt.Errorf("no producer of group %s", group)
		}
		// In the background: a test gives the next command while this one is under way.
		go p.send(cmd)
		return nil
	case "consumer":
		s, err := startConsumer(c.log, cmd, c.replies)
		if err != nil {
			return err
		}
		c.consumers[group] = s
	case "pause", "resume":
		s, ok := c.consumers[group].(pausing)
		if !ok {
			return fmt.Errorf("no consumer of group %s that can be paused", group)
		}
		s.pause(cmd.verb == "pause")
	case "stop":
		if s, ok := c.consumers[group]; ok {
			s.stop()
			delete(c.consumers, group)
		}
		if p, ok := c.producers[group]; ok {
			p.stop()
			c.mutex.Lock()
			delete(c.producers, group)
			c.mutex.Unlock()
		}
	default:
		return fmt.Errorf("unknown command %q", cmd.verb)
	}
	c.log.write(event{"event": "done", "cmd": cmd.number("cmd", 0)})
	return nil
}

// replies is called by the handlers' goroutines.
func (c *client) replies(group string) (rocketmq.Producer, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	p, ok := c.producers[group]
	if !ok || p.producer == nil {
		return nil, false
	}
	return p.producer, true
}

func (c *client) stop() {
	for _, s := range c.consumers {
		s.stop()
	}
	for _, p := range c.producers {
		p.stop()
	}
}
