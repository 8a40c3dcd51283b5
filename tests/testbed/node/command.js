'use strict';

/** One line of standard input: a verb and its key=value arguments. Values are URL-encoded. */
class Command {
  constructor(line) {
    const [verb, ...words] = line.trim().split(/ +/);
    this.verb = verb;
    this.arguments = new Map(words.map(word => {
      const equals = word.indexOf('=');
      return [word.slice(0, equals), decodeURIComponent(word.slice(equals + 1).replaceAll('+', ' '))];
    }));
  }

  /** An argument, or `otherwise`; without that it must be there. */
  text(key, otherwise) {
    const value = this.arguments.get(key) ?? otherwise;
    if (value === undefined) {
      throw new Error(`${this.verb} needs ${key}=…`);
    }
    return value;
  }

  /** A whole number. */
  number(key, otherwise = 0) {
    return Number.parseInt(this.arguments.get(key) ?? otherwise, 10);
  }

  /** Every argument whose name begins with `prefix`, by the rest of its name. */
  withPrefix(prefix) {
    return [...this.arguments].filter(([key]) => key.startsWith(prefix))
      .map(([key, value]) => [key.slice(prefix.length), value]);
  }
}

module.exports = { Command };
