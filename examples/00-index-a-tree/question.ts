/** The question that the index is asked when nobody asks another one. */
export const question = "select type, count(*), sum(bytes) from files group by type order by 2 desc"
