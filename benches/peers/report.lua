-- wrk(1): the request that the environment describes, and the result as one line of JSON.
local body = tonumber(os.getenv("PEERS_BODY") or "0")
if body > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("b", body)
end
for number = 1, tonumber(os.getenv("PEERS_FIELDS") or "0") do
  wrk.headers["X-Field-" .. number] = "the value of field " .. number
end
if os.getenv("PEERS_CLOSE") == "1" then
  wrk.headers["Connection"] = "close"
end

function done(summary, latency)
  local wrong = summary.errors
  local errors = wrong.connect + wrong.read + wrong.write + wrong.status + wrong.timeout
  io.write(string.format('\n{"requests": %d, "seconds": %f, "errors": %d, "p50": %d, "p99": %d, "p999": %d}\n',
    summary.requests, summary.duration / 1e6, errors,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
