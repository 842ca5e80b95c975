/**
 * Payloads that cannot be read where they are stored: encrypted at the enqueue point, decrypted at the delivery point
 * before they are decoded. AES-256-GCM through WebCrypto, a fresh nonce for every job; the job's id, task and version are
 * authenticated with it, so that a ciphertext cannot be moved to another job. The key's id stands in a header; several
 * keys may be known, and the first of them writes, so that keys can be rotated.
 *
 * - {@link enqueue} for `Enqueue.layer`, the last of its list: what stands outside of it sees plain payloads
 * - {@link delivery} in the worker's list, before delivery middleware that wants plain payloads
 *
 * Both need a {@link Cipher}. Encrypted is the payload and nothing else: its length, headers, unique keys, groups, job
 * ids, results that are kept (`execute`), progress, and the errors in a job's history are stored as they are.
 *
 * To introduce it: workers with `unencrypted: "accept"` first, then the producers, then `"refuse"` (the default). To
 * rotate: add the new key at the end everywhere, then put it first everywhere, and drop the old one when no job of it is
 * left, dead letters included.
 *
 * ```ts
 * import * as Enqueue from "windlass/Enqueue"
 * import * as Encryption from "windlass/middleware/Encryption"
 *
 * export const producer = Enqueue.layer(Encryption.enqueue())
 * export const options = { middleware: [Encryption.delivery()] }
 * // WINDLASS_ENCRYPTION_KEYS="2026-11:<32 bytes in base64>,2026-05:<32 bytes in base64>"
 * export const cipher = Encryption.layerConfig()
 * // Worker.layer(App, options).pipe(Layer.provide(producer), Layer.provide(cipher))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Aead from "effect/crypto/Aead"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Envelope, Settlement } from "../Backend.ts"
import * as Enqueue from "../Enqueue.ts"
import * as Middleware from "../Middleware.ts"

// --------------------------------------------------------------------------------------------------------------- keys

/**
 * @category models
 * @since 0.1.0
 */
export interface Key {
  /** stands in the headers of the jobs that it encrypts: 1 to 64 of `A-Z a-z 0-9 . _ -` */
  readonly id: string
  /** 32 bytes in base64; `openssl rand -base64 32` makes one, and so does {@link generateKey} */
  readonly key: Redacted.Redacted<string>
}

/**
 * The keys cannot be used. Names the key's id and what is wrong with it, never the key.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidKeys extends Schema.TaggedError<InvalidKeys>()("windlass/Encryption/InvalidKeys", {
  message: Schema.String
}) {}

/**
 * Why a payload could not be made readable.
 *
 * - `unknown-key`: this process does not have the key
 * - `undecryptable`: it was changed, or belongs to another job, or another key has the same id
 *
 * @category errors
 * @since 0.1.0
 */
export class CannotOpen extends Schema.TaggedError<CannotOpen>()("windlass/Encryption/CannotOpen", {
  reason: Schema.Literals(["unknown-key", "undecryptable"]),
  message: Schema.String
}) {}

/**
 * Encrypts and decrypts the payloads of envelopes.
 *
 * @category services
 * @since 0.1.0
 */
export class Cipher extends Context.Service<Cipher, {
  /** the envelope with an unreadable payload and the header that names the key */
  readonly seal: (envelope: Envelope) => Effect.Effect<Envelope>
  /** the envelope as it was; one that is not sealed as it is */
  readonly open: (envelope: Envelope) => Effect.Effect<Envelope, CannotOpen>
}>()("windlass/Encryption/Cipher") {}

const header = "windlass-encryption"
const algorithm = "a256gcm"
const nonceBytes = 12

/** Whether the payload of an envelope is encrypted. */
const isSealed = (envelope: Envelope): boolean => envelope.headers[header] !== undefined

/** What belongs to the ciphertext without being in it. */
const associated = (envelope: Envelope, keyId: string): Uint8Array =>
  new TextEncoder().encode(JSON.stringify([algorithm, keyId, envelope.id, envelope.task, envelope.version]))

const make = (given: ReadonlyArray<Key>) =>
  Effect.gen(function*() {
    const aead = yield* Aead.Aead
    const random = yield* SecureRandom.SecureRandom
    const keys = yield* parse(given)
    const [writer] = keys
    if (writer === undefined) return yield* new InvalidKeys({ message: "encryption needs at least one key" })
    const [id, key] = writer
    const seal = (envelope: Envelope) =>
      Effect.gen(function*() {
        const nonce = yield* random.randomBytes(nonceBytes)
        const plain = new TextEncoder().encode(envelope.payload)
        // fails only where there is no WebCrypto, or for payloads of many gigabytes
        const sealed = yield* Effect.orDie(aead.encrypt(key, plain, { nonce, aad: associated(envelope, id) }))
        const bytes = new Uint8Array(nonceBytes + sealed.length)
        bytes.set(nonce)
        bytes.set(sealed, nonceBytes)
        return {
          ...envelope,
          payload: Base64.encode(bytes),
          headers: { ...envelope.headers, [header]: `${algorithm}:${id}` }
        }
      })
    const open = (envelope: Envelope) =>
      Effect.gen(function*() {
        const value = envelope.headers[header]
        if (value === undefined) return envelope
        const keyId = value.startsWith(`${algorithm}:`) ? value.slice(algorithm.length + 1) : undefined
        const key = keyId === undefined ? undefined : keys.get(keyId)
        if (keyId === undefined || key === undefined) {
          const message = `no key for the encryption ${value} is known here: add it to the keys of this worker`
          return yield* new CannotOpen({ reason: "unknown-key", message })
        }
        const broken = new CannotOpen({
          reason: "undecryptable",
          message: `the payload does not belong to job ${envelope.id} and key ${keyId}, or was changed`
        })
        const bytes = Base64.decode(envelope.payload)
        if (Result.isFailure(bytes) || bytes.success.length < nonceBytes) return yield* broken
        const plain = yield* Effect.mapError(
          aead.decrypt(key, bytes.success.subarray(nonceBytes), {
            nonce: bytes.success.subarray(0, nonceBytes),
            aad: associated(envelope, keyId)
          }),
          () => broken
        )
        const { [header]: _, ...headers } = envelope.headers
        return { ...envelope, payload: new TextDecoder("utf-8", { ignoreBOM: true }).decode(plain), headers }
      })
    return { seal, open }
  })

const parse = (given: ReadonlyArray<Key>): Effect.Effect<ReadonlyMap<string, Aead.Key>, InvalidKeys> =>
  Effect.gen(function*() {
    const keys = new Map<string, Aead.Key>()
    for (const { id, key } of given) {
      if (!/^[\w.-]{1,64}$/.test(id)) {
        return yield* new InvalidKeys({
          message: `the key id ${JSON.stringify(id)} is not 1 to 64 of A-Z a-z 0-9 . _ -`
        })
      }
      if (keys.has(id)) {
        return yield* new InvalidKeys({ message: `two keys have the id ${id}: ids must not be used again` })
      }
      const bytes = Base64.decode(Redacted.value(key).trim())
      const invalid = new InvalidKeys({ message: `key ${id} is not 32 bytes in base64` })
      if (Result.isFailure(bytes)) return yield* invalid
      keys.set(id, yield* Effect.mapError(Aead.key(Aead.aes256Gcm, bytes.success), () => invalid))
    }
    return keys
  })

const crypto = Aead.layerWebCrypto.pipe(Layer.provideMerge(SecureRandom.layerWebCrypto))

/**
 * A cipher with these keys; the first one writes, all of them read. Under one key no more than 2^32 payloads should be
 * written.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (keys: ReadonlyArray<Key>): Layer.Layer<Cipher, InvalidKeys> =>
  Layer.effect(Cipher, make(keys)).pipe(Layer.provide(crypto))

/**
 * The keys as one string, `id:key,id:key`, from `WINDLASS_ENCRYPTION_KEYS` unless another configuration is given.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  config: Config.Config<Redacted.Redacted<string>> = Config.Redacted("WINDLASS_ENCRYPTION_KEYS")
): Layer.Layer<Cipher, InvalidKeys | Config.ConfigError> =>
  Layer.unwrap(Effect.map(config, (all) =>
    layer(
      Redacted.value(all).split(",").filter((part) => part.trim() !== "").map((part) => {
        const at = part.indexOf(":")
        return { id: part.slice(0, Math.max(0, at)).trim(), key: Redacted.make(part.slice(at + 1)) }
      })
    )))

/**
 * A new random key, in base64.
 *
 * @category constructors
 * @since 0.1.0
 */
export const generateKey: Effect.Effect<Redacted.Redacted<string>> = Effect.flatMap(
  SecureRandom.SecureRandom,
  (random) => random.randomBytes(32)
).pipe(
  Effect.map((bytes) => Redacted.make(Base64.encode(bytes))),
  Effect.provide(SecureRandom.layerWebCrypto)
)

// --------------------------------------------------------------------------------------------------------- middleware

/**
 * For `Enqueue.layer`: every new job is stored encrypted, or those of the tasks in `only`.
 *
 * @category middleware
 * @since 0.1.0
 */
export const enqueue = (options?: { readonly only?: ReadonlyArray<string> | undefined }): Enqueue.Wrap<Cipher> =>
  Enqueue.mapItems((item) =>
    options?.only?.includes(item.envelope.task) === false
      ? item
      : Effect.map(
        Effect.flatMap(Cipher, (cipher) => cipher.seal(item.envelope)),
        (envelope) => ({ ...item, envelope })
      )
  )

/**
 * For the worker's list. A job that cannot be decrypted is dead, as `undecryptable`, `unknown-key` or `unencrypted`; as a
 * dead letter it can be looked at and put back.
 *
 * @category middleware
 * @since 0.1.0
 */
export const delivery = (options?: {
  /** jobs that are not encrypted: dead unless set, because anybody who can write into the queue could forge them */
  readonly unencrypted?: "refuse" | "accept" | undefined
  /** the tasks whose jobs must be encrypted; all unless set */
  readonly only?: ReadonlyArray<string> | undefined
  /**
   * a key that is not known here: dead, or given back for a worker that has it (no attempt spent) until the job is older
   * than `for`, 1 hour unless set. Dead unless set
   */
  readonly unknownKey?: "dead" | {
    readonly retryAfter: Duration.Input
    readonly for?: Duration.Input | undefined
  } | undefined
}): Middleware.Delivery<Cipher> => {
  const unknown = options?.unknownKey ?? "dead"
  const waiting = unknown === "dead" ? undefined : {
    after: Duration.toMillis(unknown.retryAfter),
    limit: Duration.toMillis(unknown.for ?? "1 hour")
  }
  return Middleware.delivery<Cipher>("windlass/Encryption", (next, delivery) => {
    const { enqueuedAt, envelope } = delivery
    if (!isSealed(envelope)) {
      const accepted = options?.unencrypted === "accept" || options?.only?.includes(envelope.task) === false
      return accepted
        ? next(delivery)
        : Effect.succeed(dead("unencrypted", `job ${envelope.id} is not encrypted, and this worker takes no such jobs`))
    }
    return Effect.matchEffect(Effect.flatMap(Cipher, (cipher) => cipher.open(envelope)), {
      onSuccess: (envelope) => next({ ...delivery, envelope }),
      onFailure: ({ message, reason }) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const young = waiting !== undefined && now - (enqueuedAt ?? now) < waiting.limit
          return reason === "unknown-key" && young ? giveBack(waiting.after, message) : dead(reason, message)
        })
    })
  })
}

const dead = (reason: string, error: string): Settlement => ({ _tag: "Dead", reason, error, exit: undefined })

const giveBack = (after: number, error: string): Settlement => ({
  _tag: "Retry",
  why: "released",
  after,
  attempt: "kept",
  place: "back",
  error
})
