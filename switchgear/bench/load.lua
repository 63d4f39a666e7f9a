-- The load: one POST repeated, either for as long as wrk runs or for an exact number of requests.
--
-- An exact number matters for streams: a clock would cut those in flight, whose cost is paid but not counted.
-- The last line printed is read by load.py.

wrk.method = "POST"
wrk.path = "@PATH@"
wrk.body = [==[@BODY@]==]
@HEADERS@

local LIMIT = @LIMIT@
local SPREAD_MS = @SPREAD_MS@
local CONNECTIONS = @CONNECTIONS@

if LIMIT > 0 then
  local ffi = require("ffi")
  ffi.cdef [[
    struct timespec { long tv_sec; long tv_nsec; };
    int clock_gettime(int clock, struct timespec *now);
    int getpid(void);
    int kill(int pid, int signal);
  ]]
  local now = ffi.new("struct timespec")
  local function clock_s()
    ffi.C.clock_gettime(1, now)
    return tonumber(now.tv_sec) + tonumber(now.tv_nsec) / 1e9
  end
  local started, finished = 0, 0
  local first_s = nil
  bad, unfinished, elapsed_s = 0, 0, 0

  -- Asked before each request: the only place where wrk can be told to send no more.
  function delay()
    first_s = first_s or clock_s()
    if started >= LIMIT then
      return 3600 * 1000
    end
    started = started + 1
    if SPREAD_MS > 0 and started <= CONNECTIONS then
      return math.floor(SPREAD_MS * (started - 1) / CONNECTIONS)
    end
    return 0
  end

  function response(status, headers, body)
    finished = finished + 1
    if status ~= 200 then
      bad = bad + 1
    end
    if "@MUST_END_WITH@" ~= "" and not body:find("@MUST_END_WITH@", -40, true) then
      unfinished = unfinished + 1
    end
    if finished == LIMIT then
      elapsed_s = clock_s() - first_s
      ffi.C.kill(ffi.C.getpid(), 2) -- SIGINT is how wrk is told to stop early and still report
    end
  end
end

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
end

function done(summary, latency, requests)
  local e = summary.errors
  local mine = threads[1]
  local exact_s = LIMIT > 0 and mine:get("elapsed_s") or 0
  io.write(string.format(
    '\nBENCH {"requests":%d,"bytes":%d,"elapsed_s":%.6f,"p50_us":%.1f,"p99_us":%.1f,'
      .. '"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"unfinished":%d}}\n',
    summary.requests, summary.bytes, exact_s > 0 and exact_s or summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99),
    e.connect, e.read, e.write, LIMIT > 0 and mine:get("bad") or e.status, e.timeout,
    LIMIT > 0 and mine:get("unfinished") or 0))
end
