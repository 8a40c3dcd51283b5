package main

import (
	"fmt"
	"strconv"
	"strings"
)

// command is one line of standard input: a verb and its key=value arguments.
type command struct {
	verb      string
	arguments map[string]string
}

func parse(line string) (command, error) {
	words := strings.Fields(line)
	if len(words) == 0 {
		return command{}, fmt.Errorf("empty command")
	}
	c := command{verb: words[0], arguments: map[string]string{}}
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return c, fmt.Errorf("%q is not key=value", word)
		}
		c.arguments[key] = value
	}
	return c, nil
}

func (c command) text(key, otherwise string) string {
	if value, ok := c.arguments[key]; ok {
		return value
	}
	return otherwise
}

func (c command) number(key string, otherwise int) int {
	if value, err := strconv.Atoi(c.arguments[key]); err == nil {
		return value
	}
	return otherwise
}
