/**
 * A doubly linked list through the jobs themselves: joining and leaving anywhere is O(1) and allocates nothing. A job is
 * in one chain at a time: of the ready jobs of a priority, or of the leases of a queue.
 *
 * @since 0.1.0
 */
export interface Link<T> {
  previous: T | undefined
  next: T | undefined
}

export class Chain<T extends Link<T>> {
  first: T | undefined = undefined
  last: T | undefined = undefined

  prepend(node: T): void {
    const first = this.first
    node.next = first
    if (first === undefined) this.last = node
    else first.previous = node
    this.first = node
  }

  append(node: T): void {
    this.insertAfter(this.last, node)
  }

  /** `undefined` stands for the place before the first */
  insertAfter(place: T | undefined, node: T): void {
    if (place === undefined) return this.prepend(node)
    const next = place.next
    node.previous = place
    node.next = next
    place.next = node
    if (next === undefined) this.last = node
    else next.previous = node
  }

  remove(node: T): void {
    const { next, previous } = node
    if (previous === undefined) this.first = next
    else previous.next = next
    if (next === undefined) this.last = previous
    else next.previous = previous
    node.previous = undefined
    node.next = undefined
  }
}
