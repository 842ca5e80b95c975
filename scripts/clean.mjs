// Removes what an earlier build left, so that a module that was renamed is not published under its old name too.
import { rmSync } from "node:fs"

rmSync(new URL("../dist", import.meta.url), { recursive: true, force: true })
