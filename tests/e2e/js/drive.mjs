// Drives the gateway with the official SDK and prints one JSON object of what the SDK made of each call.
import OpenAI from "openai";

const [baseURL, apiKey, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0, timeout: 15000 });
const messages = [{ role: "user", content: "hello there" }];
const parameters = { type: "object", properties: { city: { type: "string" } } };
const tools = ["get_weather", "get_time"].map((name) => ({ type: "function", function: { name, parameters } }));

async function whole() {
  const reply = await client.chat.completions.create({ model, messages });
  const { message, finish_reason } = reply.choices[0];
  return { text: message.content, finish_reason, tokens: reply.usage.completion_tokens };
}

async function stream() {
  let text = "";
  let usages = 0;
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
    usages += chunk.usage ? 1 : 0;
  }
  return { text, usages };
}

async function usage() {
  let last;
  const stream_options = { include_usage: true };
  for await (const chunk of await client.chat.completions.create({ model, messages, stream: true, stream_options })) {
    last = chunk;
  }
  return { choices: last.choices.length, tokens: last.usage.completion_tokens };
}

async function calls() {
  const runner = client.chat.completions.stream({ model: "calling", messages, tools });
  const reply = await runner.finalChatCompletion();
  const { message, finish_reason } = reply.choices[0];
  return { finish_reason, calls: message.tool_calls.map((call) => [call.function.name, call.function.arguments]) };
}

async function models() {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return { listed: ids.includes("team/deep/model"), one: (await client.models.retrieve("team/deep/model")).id };
}

async function failing(wanted, options = {}) {
  try {
    const key = options.apiKey ?? apiKey;
    const caller = new OpenAI({ baseURL, apiKey: key, maxRetries: 0, timeout: 15000 });
    const reply = await caller.chat.completions.create({ model: wanted, messages, ...options.body });
    if (options.body?.stream) for await (const _ of reply);
    return { error: null };
  } catch (error) {
    const { status, code, param, message } = error;
    const named = { error: error.constructor.name, status, code, param, message };
    return { ...named, retry_after: error.headers?.get("retry-after") ?? null };
  }
}

async function leaving() {
  const stream = await client.chat.completions.create({ model: "endless", messages, stream: true });
  for await (const _ of stream) break;
  return { aborted: stream.controller.signal.aborted };
}

const errors = {
  bad_request: await failing(model, { body: { messages: "none" } }),
  no_key: await failing(model, { apiKey: "sk-nobody" }),
  not_found: await failing("by-olama"),
  rate_limited: await failing("limited"),
  unavailable: await failing("closed/x"),
  broken: await failing("broken", { body: { stream: true } }),
  refused_midway: await failing("midway", { body: { stream: true } }),
};
const said = { whole: await whole(), stream: await stream(), usage: await usage(), calls: await calls() };
console.log(JSON.stringify({ ...said, models: await models(), errors, leaving: await leaving() }));
