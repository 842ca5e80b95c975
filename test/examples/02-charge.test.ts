/** Example 02 is itself a test, as a user writes it: it runs here. */
import "../../examples/02-testing-with-test-clock/charge.test.ts"
