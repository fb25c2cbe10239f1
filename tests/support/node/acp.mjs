// An editor by the official library of the Agent Client Protocol for JavaScript: `acp.mjs LIBRARY COMMAND…`. It starts
// the agent, does what each line of stdin asks, and prints answers, updates and the agent's own questions as lines.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Readable, Writable } from "node:stream";
import { pathToFileURL } from "node:url";

const [library, ...command] = process.argv.slice(2);
const acp = await import(pathToFileURL(`${library}/dist/v1/stable/acp.js`));
const process_ = spawn(command[0], command.slice(1), { stdio: ["pipe", "pipe", "inherit"] });
const print = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const open = new Map();
let asked = 0;

const ask = (kind) => (context) =>
  new Promise((resolve) => {
    const number = ++asked;
    open.set(number, resolve);
    context.signal.addEventListener("abort", () => {
      print({ withdrawn: number });
      resolve({ outcome: { outcome: "cancelled" } });
    });
    print({ asked: number, kind, params: context.params });
  });

const { agent } = acp
  .client({ name: "test" })
  .onRequest(acp.methods.client.session.requestPermission, ask("permission"))
  .onRequest(acp.methods.client.elicitation.create, ask("elicitation"))
  .onNotification(acp.methods.client.session.update, ({ params }) => print({ update: params.update }))
  .connect(acp.ndJsonStream(Writable.toWeb(process_.stdin), Readable.toWeb(process_.stdout)));

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, params, answers } = JSON.parse(line);
  if (answers) open.get(answers)(params);
  else if (id === undefined) await agent.notify(method, params);
  else
    agent.request(method, params).then(
      (result) => print({ id, result }),
      (error) => print({ id, error: { code: error.code, message: error.message } }),
    );
}
process_.stdin.end();
