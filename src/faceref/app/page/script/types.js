/**
 * The shapes that the modules share; those of the API are in /openapi.json.
 *
 * @typedef {{person: string | null, distance: number, certainty: number}} Match
 * @typedef {{number: number, box: [number, number, number, number] | null, restored: boolean, left_alone: string | null,
 *   strength: number, person: string | null, references: string[], matches: Match[], matched: boolean}} Face
 * @typedef {{faces: Face[], background: string | null, warnings: string[], references_left_out: {name: string, reason: string}[]}} Account
 * @typedef {{code: string, subject: string | null, reason: string, hint: string | null}} Said
 * @typedef {{id: string, state: "waiting" | "running" | "done" | "failed", ahead: number, steps_done: number,
 *   steps: number | null, account: Account | null, problem: Said | null}} Job
 * @typedef {{name: string, references: number, enrolled: string}} Enrolled
 *
 * A picture that the browser can show.
 * @typedef {{url: string, image: HTMLImageElement}} Shown
 *
 * A result as it is downloaded, at which strength, as asked, and as it is shown; null where it cannot be, and why.
 * @typedef {{blob: Blob, strength: string, shown: Shown | null, unshown: string | null}} Result
 *
 * What becomes of a face by hand; person null: the one of the references.
 * @typedef {{become: "person" | "blind" | "skip", person: string | null}} Choice
 *
 * One photograph: ready to be restored, busy being restored, or done.
 * @typedef {object} Photo
 * @property {string} id
 * @property {string} name
 * @property {Blob | null} file
 * @property {Shown | null} shown
 * @property {"ready" | "busy" | "done"} state
 * @property {boolean} looking  whether its faces are looked for
 * @property {Account | null} account
 * @property {Map<number, Choice>} byHand
 * @property {boolean} allTheSame  whether its faces are restored that would be left alone
 * @property {Job | null} job
 * @property {string[]} sent  what the references were called that went with it
 * @property {{job: Job, sent: string[]} | null} earlier  the job of the result that it has, while it is restored again
 * @property {number | null} begun  when the network began, in milliseconds
 * @property {AbortController} asking  breaks off what is asked of the server for it
 * @property {string | null} problem
 * @property {boolean} refused  whether it is no photograph that the server takes
 * @property {Shown | null} full  with its faces restored fully
 * @property {Shown | null} cleaned  as it is below them, where that is not the photograph itself
 * @property {Result | null} exact  what is downloaded
 * @property {Map<number, number>} strength  0 to 1, of the faces for which it was set; the others: as much as they need
 * @property {boolean} changed  since it was sent to be restored
 *
 * @typedef {{name: string, blob: Blob, shown: Shown}} Reference
 *
 * @typedef {object} State
 * @property {Photo[]} photos
 * @property {string | null} current
 * @property {number | null} face  the selected one
 * @property {boolean} boxes  whether faces are marked on a result
 * @property {"references" | "people" | "nobody"} who
 * @property {Reference[]} references
 * @property {Set<string>} chosen  the people who are looked for
 * @property {number} mostPeople  that the server looks for at once
 * @property {Enrolled[]} people
 * @property {Record<string, unknown>} options  only those that were set
 * @property {string | null} message
 */
export {};
