/** What a file's name says about its content. */

/** By ending, the longest that fits; `text` endings promise UTF-8 text. */
const text: Readonly<Record<string, string>> = {
  ".d.ts": "types",
  ".d.mts": "types",
  ".d.cts": "types",
  ".ts": "typescript",
  ".mts": "typescript",
  ".cts": "typescript",
  ".tsx": "typescript",
  ".js": "javascript",
  ".mjs": "javascript",
  ".cjs": "javascript",
  ".jsx": "javascript",
  ".map": "source map",
  ".json": "json",
  ".jsonc": "json",
  ".json5": "json",
  ".md": "markdown",
  ".markdown": "markdown",
  ".mdx": "markdown",
  ".txt": "text",
  ".csv": "text",
  ".html": "html",
  ".css": "css",
  ".scss": "css",
  ".yml": "yaml",
  ".yaml": "yaml",
  ".toml": "toml",
  ".xml": "xml",
  ".svg": "svg",
  ".sql": "sql",
  ".sh": "shell",
  ".py": "python",
  ".rs": "rust",
  ".go": "go",
  ".c": "c",
  ".h": "c"
}

const binary: Readonly<Record<string, string>> = {
  ".node": "native module",
  ".wasm": "wasm",
  ".png": "image",
  ".jpg": "image",
  ".jpeg": "image",
  ".gif": "image",
  ".webp": "image",
  ".ico": "image",
  ".pdf": "pdf",
  ".gz": "archive",
  ".tgz": "archive",
  ".zip": "archive",
  ".woff": "font",
  ".woff2": "font",
  ".ttf": "font",
  ".db": "database"
}

/** `.d.ts` before `.ts`: endings from the first dot of the name on, the longest first */
const endings = (name: string): ReadonlyArray<string> => {
  const parts = name.toLowerCase().split(".")
  return parts.slice(1).map((_, i) => `.${parts.slice(i + 1).join(".")}`)
}

/** whether the name promises text */
export const promisesText = (name: string): boolean => endings(name).some((ending) => ending in text)

/** the type that the name tells; undefined when only the bytes can */
export const typeOfName = (name: string): string | undefined => {
  for (const ending of endings(name)) {
    const type = text[ending] ?? binary[ending]
    if (type !== undefined) return type
  }
  return undefined
}
