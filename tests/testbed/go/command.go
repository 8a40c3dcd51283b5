package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// command is one line of standard input: a verb and its key=value arguments. Values are URL-encoded.
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
		decoded, err := url.QueryUnescape(value)
		if err != nil {
			return c, fmt.Errorf("%s: %w", key, err)
		}
		c.arguments[key] = decoded
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

func (c command) flag(key string) bool {
	return c.number(key, 0) != 0
}

// each gives every argument whose name begins with prefix, by the rest of its name.
func (c command) each(prefix string, use func(name, value string)) {
	for key, value := range c.arguments {
		if name, ok := strings.CutPrefix(key, prefix); ok {
			use(name, value)
		}
	}
}
