-- The mock provider: OpenAI chat completions of a fixed size, whole, streamed at once, paced, or held open.
--
-- Run by init_by_lua_file, so every answer is built once; content_by_lua then calls MOCK.chat().
-- What to answer is read from the body, never from a header or the model, for gateways rewrite both.

MOCK = {}

local CREATED = 1760000000
local ID = "chatcmpl-bench0000000000000000000"
local USAGE = '{"prompt_tokens":256,"completion_tokens":150,"total_tokens":406,'
  .. '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
  .. '"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
  .. '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'

local function whole()
  local text = string.rep("All work and no play. ", 28):sub(1, @ANSWER_BYTES@)
  return '{"id":"' .. ID .. '","object":"chat.completion","created":' .. CREATED .. ',"model":"mock-model",'
    .. '"choices":[{"index":0,"message":{"role":"assistant","content":"' .. text
    .. '","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":' .. USAGE
    .. ',"service_tier":"default","system_fingerprint":"fp_bench00000"}'
end

local function frame(choices, tail)
  return 'data: {"id":"' .. ID .. '","object":"chat.completion.chunk","created":' .. CREATED
    .. ',"model":"mock-model","service_tier":"default","system_fingerprint":"fp_bench00000","choices":['
    .. choices .. "]" .. tail .. "}\n\n"
end

local function choice(delta, finish)
  return '{"index":0,"delta":' .. delta .. ',"logprobs":null,"finish_reason":' .. finish .. "}"
end

local opening = frame(choice('{"role":"assistant","content":"","refusal":null}', "null"), "")
local chunks = {}
for i = 1, @CHUNKS@ do
  chunks[i] = frame(choice(string.format('{"content":" word%02d of it"}', i), "null"), "")
end
local finish = frame(choice("{}", '"stop"'), "")
local usage_frame = frame("", ',"usage":' .. USAGE)
local DONE = "data: [DONE]\n\n"
local answer = whole()

local function ending(body)
  if body:find('"include_usage"%s*:%s*true') then
    return finish .. usage_frame .. DONE
  end
  return finish .. DONE
end

-- One flush for the lot: what a fast model behind a buffering proxy looks like.
local function at_once(body)
  ngx.print(opening)
  for i = 1, #chunks do
    ngx.print(chunks[i])
  end
  ngx.print(ending(body))
end

-- A chunk, a pause, a chunk. A client that has gone ends it: flush says so.
local function paced(body, pause_s)
  ngx.print(opening)
  for i = 1, #chunks do
    ngx.print(chunks[i])
    if not ngx.flush(true) then
      return
    end
    ngx.sleep(pause_s)
  end
  ngx.print(ending(body))
end

function MOCK.chat()
  ngx.req.read_body()
  local body = ngx.req.get_body_data() or ""
  if not body:find('"stream"%s*:%s*true') then
    ngx.header["Content-Type"] = "application/json"
    ngx.header["Content-Length"] = #answer
    ngx.print(answer)
    return
  end
  ngx.header["Content-Type"] = "text/event-stream; charset=utf-8"
  ngx.header["Cache-Control"] = "no-cache"
  if body:find("[paced]", 1, true) then
    paced(body, @PAUSE_S@)
  elseif body:find("[held]", 1, true) then
    paced(body, 2)
  else
    at_once(body)
  end
end

function MOCK.models()
  ngx.header["Content-Type"] = "application/json"
  ngx.print('{"object":"list","data":[{"id":"mock-model","object":"model","created":1760000000,"owned_by":"mock"}]}')
end
