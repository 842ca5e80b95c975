/**
 * Seats of leaders: a key that goes by itself unless it is renewed, and a number that grows with every new holder.
 *
 * @since 0.1.0
 */

/** keys: seat, epochs. Arguments: holder, milliseconds, name. Answers: epoch or 0, milliseconds that it is taken */
export const sit = String.raw`
local left = redis.call('PTTL', KEYS[1])
if left ~= -2 then return { 0, left } end
local epoch = redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2])
return { epoch, 0 }
`

export const renew = String.raw`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`

/** keys: seat. Arguments: holder, channel, name */
export const giveUp = String.raw`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[2], cjson.encode({ 'l', ARGV[3] }))
return 1
`
