// GanportError: the one class of errors that this module raises on purpose.

/**
 * An error with a message that says what was given, what is expected and what to do.
 * `code` is the kind of the error: "usage", "download", "model", "provider", "runtime" or "closed" (see ganport.d.ts).
 */
export class GanportError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = "GanportError";
    this.code = code;
  }
}

/** Return the text of an error that another library raised. */
export function reasonOf(error) {
  return String(error?.message ?? error).trim().split("\n")[0].replace(/\.$/, "");
}

/** Return a text that shows a value in an error message. */
export function shown(value) {
  if (value === undefined) return "missing";
  if (typeof value === "bigint") return `${value}n`;
  let text;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = String(value); // a list of BigInts, for example
  }
  return text.length <= 60 ? text : `${text.slice(0, 57)}...`;
}
