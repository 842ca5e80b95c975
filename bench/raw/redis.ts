/**
 * The limit of Redis: a sorted set of ids, a hash of payloads, and one script that settles the last batch of 100 and claims
 * the next. No runtime, no tasks, no fences, no leases.
 */
import { createClient } from "redis"
import type { Contender, Payload } from "../contender.ts"

const size = 100

const publish = `
local num = redis.call('INCRBY', KEYS[3], #ARGV) - #ARGV
local ready, payloads = {}, {}
for i = 1, #ARGV do
  ready[#ready + 1] = num + i
  ready[#ready + 1] = num + i
  payloads[#payloads + 1] = num + i
  payloads[#payloads + 1] = ARGV[i]
end
redis.call('ZADD', KEYS[1], unpack(ready))
redis.call('HSET', KEYS[2], unpack(payloads))
return 1`

const exchange = `
if #ARGV > 1 then
  local done = {}
  for i = 2, #ARGV do done[i - 1] = ARGV[i] end
  redis.call('ZREM', KEYS[4], unpack(done))
  redis.call('HDEL', KEYS[2], unpack(done))
end
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
if #popped == 0 then return {} end
local ids, active = {}, {}
for i = 1, #popped, 2 do
  ids[#ids + 1] = popped[i]
  active[#active + 1] = 1
  active[#active + 1] = popped[i]
end
redis.call('ZADD', KEYS[4], unpack(active))
return { ids, redis.call('HMGET', KEYS[2], unpack(ids)) }`

export const contenders: ReadonlyArray<Contender> = [{
  name: "raw script",
  engine: "redis",
  settings: "batches of 100, settle the last and claim the next in one script, one connection",
  open: async (place) => {
    const connect = () => createClient({ socket: place.redis }).connect()
    const client = await connect()
    const keys = ["ready", "payloads", "num", "active"].map((name) => `{${place.name}}:${name}`)
    const publishSha = await client.scriptLoad(publish)
    const exchangeSha = await client.scriptLoad(exchange)
    const store = (payloads: ReadonlyArray<Payload>) =>
      client.evalSha(publishSha, { keys, arguments: payloads.map((payload) => JSON.stringify(payload)) })
    return {
      enqueueEach: async (payloads, inFlight) => {
        for (let n = 0; n < payloads.length; n += inFlight) {
          await Promise.all(payloads.slice(n, n + inFlight).map((payload) => store([payload])))
        }
      },
      enqueueMany: async (payloads) => {
        for (let n = 0; n < payloads.length; n += 1_000) await store(payloads.slice(n, n + 1_000))
      },
      work: async (_, onJob) => {
        const own = await connect()
        const stopped = new AbortController()
        const loop = (async () => {
          let done: ReadonlyArray<string> = []
          while (!stopped.signal.aborted) {
            const [ids, payloads] = await own.evalSha(exchangeSha, {
              keys,
              arguments: [String(size), ...done]
            }) as unknown as readonly [ReadonlyArray<string>?, ReadonlyArray<string>?]
            done = ids ?? []
            for (const payload of payloads ?? []) onJob(JSON.parse(payload) as Payload)
            if (done.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
          }
          own.destroy()
        })()
        return {
          stop: () => {
            stopped.abort()
            return loop
          }
        }
      },
      close: () => client.close()
    }
  }
}]
