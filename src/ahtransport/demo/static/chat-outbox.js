// What was written in one room and not heard yet. It waits here while there is no connection, and when a connection broke
// before the answer came, what was said meanwhile tells whether it has to be sent again: nothing is lost, nothing said twice.

export class Outbox {
  /**
   * @param say sends a text; its promise rejects with an error whose `code` is "RESPONSE" when the server refused
   * @param changed called when there is something else to show
   */
  constructor (say, changed) {
    this.entries = [] // { text, state: 'waiting' | 'sent' | 'unsure' | 'failed', why }, the first to be sent first
    this.ready = false // whether the room is joined and its history known
    this.say = say
    this.changed = changed
  }

  add (text) {
    this.entries.push({ text, state: 'waiting', why: '' })
    this.flush()
  }

  again (entry) {
    entry.state = 'waiting'
    this.flush()
  }

  drop (entry) {
    this.entries = this.entries.filter((one) => one !== entry)
    this.changed()
  }

  /** The room has heard this from us. */
  heard (text) {
    const entry = this.entries.find((one) => one.text === text && one.state !== 'waiting' && one.state !== 'failed')
    if (entry) this.drop(entry)
  }

  /** The history is known as of now: what is still here was not in it. A server without a history can't tell. */
  settle (told) {
    this.ready = true
    for (const entry of this.entries) {
      if (entry.state !== 'unsure') continue
      if (told) entry.state = 'waiting'
      else Object.assign(entry, { state: 'failed', why: 'The connection broke; this may not have arrived.' })
    }
    this.flush()
  }

  /** The connection is gone, and with it the answers. */
  pause () {
    this.ready = false
    for (const entry of this.entries) if (entry.state === 'sent') entry.state = 'unsure'
    this.changed()
  }

  flush () {
    if (this.ready) {
      for (const entry of this.entries) if (entry.state === 'waiting') this.send(entry)
    }
    this.changed()
  }

  async send (entry) {
    entry.state = 'sent'
    try {
      await this.say(entry.text)
      this.drop(entry)
    } catch (error) {
      if (error.code === 'RESPONSE') Object.assign(entry, { state: 'failed', why: error.message })
      else entry.state = this.ready ? 'waiting' : 'unsure'
      this.changed()
    }
  }
}
