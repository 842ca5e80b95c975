/**
 * A binary heap whose nodes know their place, so that a node can leave from the middle in O(log n): a job that is
 * cancelled, or a scheduled job that is settled otherwise. A node that joins as the last one of the order costs O(1),
 * which is the usual case (times and positions grow).
 *
 * @since 0.1.0
 */

/** the field in which a node keeps its index, -1 while it is in no heap; several fields let one node be in several heaps */
export type Slot = "timeSlot" | "placeSlot" | "groupSlot"

export class Heap<T extends { [K in S]: number }, S extends Slot> {
  private readonly nodes: Array<T> = []
  private readonly slot: S
  private readonly before: (a: T, b: T) => boolean

  constructor(slot: S, before: (a: T, b: T) => boolean) {
    this.slot = slot
    this.before = before
  }

  get size(): number {
    return this.nodes.length
  }

  first(): T | undefined {
    return this.nodes[0]
  }

  has(node: T): boolean {
    const index = this.indexOf(node)
    return index >= 0 && this.nodes[index] === node
  }

  add(node: T): void {
    this.nodes.push(node)
    this.up(this.nodes.length - 1, node)
  }

  pop(): T | undefined {
    const first = this.nodes[0]
    if (first !== undefined) this.remove(first)
    return first
  }

  remove(node: T): void {
    if (!this.has(node)) return
    const index = this.indexOf(node)
    const last = this.nodes.pop() as T
    this.place(-1, node)
    if (last === node) return
    if (index > 0 && this.before(last, this.nodes[(index - 1) >> 1] as T)) this.up(index, last)
    else this.down(index, last)
  }

  private indexOf(node: T): number {
    return node[this.slot] as number
  }

  private place(index: number, node: T): void {
    node[this.slot] = index as T[S]
  }

  private up(start: number, node: T): void {
    const nodes = this.nodes
    let index = start
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = nodes[above] as T
      if (!this.before(node, parent)) break
      nodes[index] = parent
      this.place(index, parent)
      index = above
    }
    nodes[index] = node
    this.place(index, node)
  }

  private down(start: number, node: T): void {
    const nodes = this.nodes
    const size = nodes.length
    let index = start
    for (;;) {
      let below = 2 * index + 1
      if (below >= size) break
      if (below + 1 < size && this.before(nodes[below + 1] as T, nodes[below] as T)) below++
      const child = nodes[below] as T
      if (!this.before(child, node)) break
      nodes[index] = child
      this.place(index, child)
      index = below
    }
    nodes[index] = node
    this.place(index, node)
  }
}
