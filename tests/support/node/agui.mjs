// A user interface by the official client of AG-UI: `agui.mjs LIBRARY URL TOKEN THREAD`. Each line of stdin is a run:
// the words of the user, or the answers to the interrupts of the last one. It prints the outcome as a line.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [library, url, token, threadId] = process.argv.slice(2);
const agui = await import(pathToFileURL(`${library}/dist/index.mjs`));
const agent = new agui.HttpAgent({ url, threadId, headers: { Authorization: `Bearer ${token}` } });

for await (const line of createInterface({ input: process.stdin })) {
  const { id, text, answers, route } = JSON.parse(line);
  if (text) agent.addMessage({ id: agui.randomUUID(), role: "user", content: text });
  try {
    const { result, newMessages } = await agent.runAgent({
      ...(answers && { resume: agui.buildResumeArray(agent.pendingInterrupts, answers) }),
      ...(route && { forwardedProps: { kheish: { route } } }),
    });
    const { messages, pendingInterrupts: interrupts } = agent;
    process.stdout.write(`${JSON.stringify({ id, result, newMessages, messages, interrupts })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ id, error: String(error.message) })}\n`);
  }
}
