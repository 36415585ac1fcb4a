// A stdio MCP server with tasks (extension io.modelcontextprotocol/tasks of MCP 2026-07-28), on the official TypeScript
// SDK: the tools that the conformance suite's tasks-* scenarios call. The SDK has no tasks of its own and lets a server
// define the extension's methods.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ProtocolError, Server } from "@modelcontextprotocol/server";
import { serveStdio } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

const extension = "io.modelcontextprotocol/tasks";
const required = { requiredCapabilities: { extensions: { [extension]: {} } } };
const said = (text) => ({ content: [{ type: "text", text }] });
const ask = (message) => ({
  method: "elicitation/create",
  params: { mode: "form", message, requestedSchema: { type: "object", properties: { name: { type: "string" } } } },
});

// A tool either answers at once (now) or works on a task (work); needs marks one that does nothing without a task.
const tools = {
  greet: { now: ({ name }) => said(`Hello, ${name}!`) },
  slow_compute: {
    work: async (task, { seconds }) => {
      await sleep(seconds * 1000, undefined, { signal: task.abort.signal });
      return said(`computed for ${seconds}s`);
    },
  },
  failing_job: { needs: true, work: async () => ({ ...said("the job failed"), isError: true }) },
  protocol_error_job: {
    work: async () => {
      throw new Error("the job broke");
    },
  },
  confirm_delete: {
    work: async (task, { filename }) => {
      const { confirm } = await task.ask({ confirm: ask(`Delete ${filename}?`) });
      return said(confirm.action === "accept" ? `deleted ${filename}` : "kept");
    },
  },
  multi_input: {
    work: async (task) => said(Object.keys(await task.ask({ first: ask("First?"), second: ask("Second?") })).join()),
  },
  test_tool_with_task: {
    needs: true,
    before: { user_name: ask("Who are you?") },
    work: async (_task, _args, answers) => said(`Hello, ${answers.user_name.content.name}!`),
  },
};

const tasks = new Map();

class Task {
  taskId = randomUUID();
  createdAt = new Date().toISOString();
  abort = new AbortController();
  open = {};
  answers = {};

  constructor(tool, args, answers) {
    this.to({ status: "working" });
    tasks.set(this.taskId, this);
    tool.work(this, args, answers).then(
      (result) => this.to({ status: "completed", result: { resultType: "complete", ...result } }),
      (e) => this.to({ status: "failed", error: { code: -32603, message: e.message } }),
    );
  }

  to(state) {
    if (this.state?.status !== "cancelled") this.state = state;
    this.lastUpdatedAt = new Date().toISOString();
  }

  ask(requests) {
    Object.assign(this.open, requests);
    this.to({ status: "input_required" });
    return new Promise((resolve) => (this.resume = resolve));
  }

  answer(responses) {
    for (const key of Object.keys(responses).filter((key) => key in this.open)) {
      this.answers[key] = responses[key];
      delete this.open[key];
    }
    if (this.state.status === "input_required" && Object.keys(this.open).length === 0) {
      this.to({ status: "working" });
      this.resume(this.answers);
    }
  }

  cancel() {
    if (["completed", "failed"].includes(this.state.status)) return;
    this.to({ status: "cancelled" });
    this.abort.abort();
  }

  get base() {
    const { taskId, createdAt, lastUpdatedAt } = this;
    return { taskId, createdAt, lastUpdatedAt, status: this.state.status, ttlMs: 60_000, pollIntervalMs: 100 };
  }
}

function server() {
  const s = new Server({ name: "tasks", version: "1" }, { capabilities: { tools: {}, extensions: { [extension]: {} } } });
  s.setRequestHandler("tools/list", () => ({
    tools: Object.keys(tools).map((name) => ({ name, inputSchema: { type: "object" } })),
  }));
  s.setRequestHandler("tools/call", async ({ params }, ctx) => {
    const tool = tools[params.name];
    if (!tool) throw new ProtocolError(-32602, "no such tool");
    if (tool.now) return tool.now(params.arguments);
    const caps = ctx.mcpReq.envelope["io.modelcontextprotocol/clientCapabilities"];
    const declared = caps.extensions && extension in caps.extensions;
    if (!declared && tool.needs) throw new ProtocolError(-32021, "this tool needs tasks", required);
    const answers = ctx.mcpReq.inputResponses;
    if (tool.before && !answers) return { resultType: "input_required", inputRequests: tool.before };
    if (!declared) return tool.work({ abort: new AbortController() }, params.arguments);
    return { resultType: "task", ...new Task(tool, params.arguments, answers).base };
  });
  const method = (name, act) =>
    s.setRequestHandler(name, { params: z.looseObject({ taskId: z.string() }) }, (params, ctx) => {
      const task = tasks.get(params.taskId);
      if (!task) throw new ProtocolError(-32602, "no such task");
      return act(task, params, ctx) ?? {};
    });
  method("tasks/get", (task) => ({
    ...task.base,
    ...task.state,
    ...(task.state.status === "input_required" && { inputRequests: task.open }),
  }));
  method("tasks/update", (task, params, ctx) => task.answer(params.inputResponses ?? ctx.mcpReq.inputResponses));
  method("tasks/cancel", (task) => task.cancel());
  return s;
}

serveStdio(server);
