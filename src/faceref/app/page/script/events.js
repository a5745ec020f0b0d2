/** Server-sent events of an answer. (The browser's own EventSource sends no token.) */

/**
 * Their names and data, which is JSON.
 * @param {Response} answer
 * @returns {AsyncGenerator<[string, any]>}
 */
export async function* jsonEvents(answer) {
  if (!answer.body) return;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => /** @type {[string, string]} */ (cut(line))));
      const data = fields.get("data");
      if (data !== undefined) yield [fields.get("event") ?? "message", JSON.parse(data)];
    }
  }
}

/** @param {string} line */
function cut(line) {
  const at = line.indexOf(": ");
  return at < 0 ? [line, ""] : [line.slice(0, at), line.slice(at + 2)];
}
