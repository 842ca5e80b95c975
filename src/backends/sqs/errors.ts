/**
 * What SQS or the connection reports, as a `BackendError` that says whether the call may have taken effect, whether trying
 * again can help, and what to do.
 *
 * @since 0.1.0
 */
import { BackendError } from "../../Backend.ts"

const textOf = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const field = (cause: unknown, name: string): unknown =>
  typeof cause === "object" && cause !== null ? (cause as Record<string, unknown>)[name] : undefined

/** the error's code as SQS names it, without the prefix of older servers */
const codeOf = (cause: unknown): string =>
  String(field(cause, "name") ?? "").replace(/^AWS\.SimpleQueueService\./, "").replace(/Exception$/, "")

const statusOf = (cause: unknown): number | undefined => {
  const status = field(field(cause, "$metadata"), "httpStatusCode")
  return typeof status === "number" ? status : undefined
}

/** there is no such queue; undefined for any other failure */
export const isMissingQueue = (cause: unknown): boolean =>
  ["QueueDoesNotExist", "NonExistentQueue"].includes(codeOf(cause))

/** the message is not in flight under this receipt handle any more */
export const isStaleHandle = (code: string | undefined): boolean =>
  /ReceiptHandleIsInvalid|MessageNotInflight/.test(code ?? "")

/** too many calls, or too many messages in flight: what waits a little gets through */
const crowded = /Throttl|TooManyRequests|RequestLimitExceeded|SlowDown|OverLimit|BandwidthLimit/

/** credentials that may be renewed, or a clock that may be set, without a new build of the layer */
const expired = /ExpiredToken|RequestExpired|TokenRefreshRequired|RequestTimeTooSkewed/

/** none could be had, which may pass: the service that hands them out was away */
const withoutCredentials = /CredentialsProvider/

const refusedCredentials =
  /InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|InvalidSignature|MissingAuthenticationToken|InvalidSecurity|IncompleteSignature/

const advice = (code: string, queue: string | undefined): string => {
  const named = queue === undefined ? "the queue" : `queue "${queue}"`
  if (code === "QueueDoesNotExist" || code === "NonExistentQueue") {
    return `${named} is not there in this region and account: create it, let the layer do so (create: true), or correct ` +
      `region, endpoint or prefix`
  }
  if (code === "OverLimit") {
    return `${named} has as many messages in flight as SQS allows: settle some, use more queues, or look for workers that hold ` +
      `jobs without end`
  }
  if (crowded.test(code)) return "SQS takes no more calls for now: make fewer at once, or ask AWS for a higher quota"
  if (expired.test(code)) return "the credentials have expired or this machine's clock is wrong: renew them, set it"
  if (withoutCredentials.test(code)) {
    return "no credentials could be had: give the client some, or look at where the SDK finds them (environment, profile, role)"
  }
  if (refusedCredentials.test(code)) return "SQS refused the credentials: look at the client's configuration"
  if (/AccessDenied|NotAuthorized/.test(code)) {
    return `the credentials lack a right on ${named}: a producer needs sqs:GetQueueUrl and sqs:SendMessage, a worker also ` +
      `sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes`
  }
  if (code.startsWith("Kms")) return `the key that encrypts ${named} cannot be used: look at its policy and its state`
  if (/QueueNameExists|QueueDeletedRecently/.test(code)) return `${named} cannot be created now`
  return "SQS refused the call"
}

/** nothing was sent: the connection was never made */
const unsent = /ECONNREFUSED|ENOTFOUND|EAI_AGAIN/

const noRegion = /Region is missing/

export const fromCause = (
  backend: string,
  operation: string,
  queue: string | undefined,
  cause: unknown
): BackendError => {
  const code = codeOf(cause)
  const status = statusOf(cause)
  const said = textOf(cause)
  const fail = (message: string, retryable: boolean, outcome: "NotApplied" | "Unknown") =>
    new BackendError({ backend, operation, message: `${message} (${code}: ${said})`, retryable, outcome, cause })
  if (noRegion.test(said)) return fail("no region is set: give the layer one, or set AWS_REGION", false, "NotApplied")
  if (crowded.test(code) || status === 429) {
    return fail(advice(crowded.test(code) ? code : "Throttling", queue), true, "NotApplied")
  }
  if (withoutCredentials.test(code) || expired.test(code)) return fail(advice(code, queue), true, "NotApplied")
  if (status !== undefined && status < 500) return fail(advice(code, queue), false, "NotApplied")
  if (status !== undefined) return fail(`SQS failed with status ${status}`, true, "Unknown")
  const wasSent = !unsent.test(said) && !unsent.test(String(field(cause, "code") ?? ""))
  return fail(
    "no connection to SQS could be made, or it broke: look at region, endpoint and network",
    true,
    wasSent ? "Unknown" : "NotApplied"
  )
}

/** one entry of a batch that SQS refused while it took the others */
export const fromEntry = (
  backend: string,
  operation: string,
  queue: string,
  entry: {
    readonly Code?: string | undefined
    readonly Message?: string | undefined
    readonly SenderFault?: boolean | undefined
  }
): BackendError =>
  new BackendError({
    backend,
    operation,
    message: `${advice(entry.Code ?? "", queue)} (${entry.Code}: ${entry.Message})`,
    retryable: entry.SenderFault !== true,
    outcome: "NotApplied"
  })

/** no answer for longer than a call may take: nobody knows what became of it */
export const silence = (backend: string, operation: string, millis: number): BackendError =>
  new BackendError({
    backend,
    operation,
    message: `SQS did not answer within ${millis} ms: look at the network between, or raise callTimeout`,
    retryable: true,
    outcome: "Unknown"
  })

/** a call or a setting that is wrong in itself: trying again never helps */
export const refusal = (backend: string, operation: string, message: string): BackendError =>
  new BackendError({ backend, operation, message, retryable: false, outcome: "NotApplied" })
