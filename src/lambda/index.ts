/**
 * Tasks as an AWS Lambda function behind an SQS queue: the handler with its partial batch failures, routing for messages
 * that another program sent, and a client that calls the handler as SQS would, in process.
 *
 * @since 0.1.0
 */
export * as Lambda from "./Lambda.ts"
export * as LambdaClient from "./LambdaClient.ts"
export * as Routes from "./Routes.ts"
