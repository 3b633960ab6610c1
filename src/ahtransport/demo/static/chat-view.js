// What the chat shows. Everything that people wrote goes into the page as text, never as markup.

export const $ = (id) => document.getElementById(id)

const KEPT = 300 // messages shown
const TOGETHER = 5 * 60 * 1000 // ms between messages of one person that stand under one name

export function element (tag, className, ...children) {
  const made = document.createElement(tag)
  if (className) made.className = className
  made.append(...children)
  return made
}

export function setText (id, text) {
  if ($(id).textContent !== text) $(id).textContent = text // a live region repeats what is set again
}

function clock (time, seconds = false) {
  const shown = element('time', '', time.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: seconds ? '2-digit' : undefined }))
  shown.dateTime = time.toISOString()
  return shown
}

function face (name) {
  const made = element('span', 'face', initials(name))
  let sum = 0
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 9973
  made.dataset.hue = String(sum % 8)
  made.setAttribute('aria-hidden', 'true')
  return made
}

function initials (name) {
  const words = name.split(' ')
  const first = [...words[0]][0] || '?'
  return (words.length > 1 ? first + [...words[words.length - 1]][0] : first).toUpperCase()
}

// ---- messages: { note, problem } or { from, name, message, sentAt, own }

let last = null // what stands at the end, to put the next one under the same name

export function drawMessages (messages) {
  $('messages').replaceChildren()
  last = null
  for (const one of messages) add(one)
  showEmpty()
  scrollToEnd()
}

export function appendMessage (one) {
  const stay = !isAtEnd()
  add(one)
  showEmpty()
  if (!stay || one.own) scrollToEnd()
  else if (one.note === undefined) $('to-end').hidden = false
}

function add (one) {
  const list = $('messages')
  list.append(one.note === undefined ? said(one) : element('li', one.problem ? 'note problem' : 'note', one.note))
  last = one
  while (list.childElementCount > KEPT) list.firstElementChild.remove()
}

function said (one) {
  const time = new Date(one.sentAt)
  const more = last !== null && last.note === undefined && last.from === one.from && last.name === one.name &&
    one.sentAt - last.sentAt < TOGETHER
  const item = element('li', [one.own && 'own', more && 'more'].filter(Boolean).join(' '))
  if (!more) {
    const who = element('div', 'who')
    if (!one.own) who.append(face(one.name), one.name)
    else who.append(element('span', 'visually-hidden', 'you'))
    who.append(clock(time))
    item.append(who)
  }
  item.append(element('div', 'bubble', String(one.message)))
  return item
}

function showEmpty () {
  $('empty').hidden = $('messages').childElementCount + $('outbox').childElementCount > 0
}

function isAtEnd () {
  const box = $('scroller')
  return box.scrollHeight - box.scrollTop - box.clientHeight < 80
}

export function scrollToEnd () {
  $('scroller').scrollTop = $('scroller').scrollHeight
  $('to-end').hidden = true
}

$('to-end').onclick = scrollToEnd
$('scroller').onscroll = () => { if (isAtEnd()) $('to-end').hidden = true }

// What was not heard yet, see chat-outbox.js.
export function drawOutbox (entries, again, drop) {
  const follow = isAtEnd()
  $('outbox').replaceChildren(...entries.map((entry) => {
    const why = element('div', 'why', entry.state === 'failed' ? entry.why : entry.state === 'sent' ? 'sending …' : 'waits for the connection')
    if (entry.state === 'failed') why.append(button('Send again', () => again(entry)), button('Discard', () => drop(entry)))
    return element('li', entry.state, element('div', 'bubble', entry.text), why)
  }))
  showEmpty()
  if (follow) scrollToEnd()
}

function button (text, onclick) {
  const made = element('button', '', text)
  made.type = 'button'
  made.onclick = onclick
  return made
}

// ---- rooms and people

export function drawRooms (rooms, current, choose) {
  $('rooms').replaceChildren(...[...rooms].map(([name, room]) => {
    const made = button('', () => choose(name))
    made.append(element('span', 'room-name', name))
    made.setAttribute('aria-current', String(name === current))
    made.toggleAttribute('data-joined', room.joined)
    if (room.unread) made.append(element('span', 'unread', String(room.unread), element('span', 'visually-hidden', ' unread')))
    return element('li', '', made)
  }))
  const shown = $('rooms').querySelector('[aria-current="true"]')
  if (shown) shown.scrollIntoView({ block: 'nearest', inline: 'nearest' })
  let unread = 0
  for (const room of rooms.values()) unread += room.unread
  document.title = unread ? `(${unread}) ahtransport chat` : 'ahtransport chat'
}

export function drawMembers (members, count, me) {
  setText('count', String(count))
  const people = [...members].sort((a, b) => a[1].localeCompare(b[1]))
  $('members').replaceChildren(...people.map(([id, name]) => {
    const person = element('li', id === me ? 'self' : '', face(name), element('span', 'person', name))
    if (id === me) person.append(element('span', 'tag', 'you'))
    return person
  }))
  if (count > people.length) $('members').append(element('li', '', `and ${count - people.length} more`))
}

$('show-people').onclick = () => showPeople(!$('people').hasAttribute('data-open'))

function showPeople (open) {
  $('people').toggleAttribute('data-open', open)
  $('show-people').setAttribute('aria-expanded', String(open))
}

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !$('people').hasAttribute('data-open')) return
  showPeople(false)
  $('show-people').focus()
})
document.addEventListener('click', (event) => {
  if (!event.target.closest('#people, #show-people')) showPeople(false)
})

// ---- the connection

const STATES = {
  connecting: 'connecting …',
  connected: 'connected',
  reconnecting: 'reconnecting …',
  offline: 'offline',
  refused: 'refused',
  ended: 'not connected'
}

export function drawConnection ({ state, transformer, transport, since, reconnects, id }) {
  $('status').dataset.state = state
  const text = state === 'connected' ? `${transformer} · ${transport}` : STATES[state]
  if ($('status-text').textContent !== text) {
    // In parts: a phone shows them one above the other.
    const carried = [element('span', 'part', transformer), element('span', 'dash', ' · '), element('span', 'part', transport)]
    $('status-text').replaceChildren(...(state === 'connected' ? carried : [text]))
  }
  setText('d-state', STATES[state])
  setText('d-transformer', transformer || '–')
  setText('d-transport', state === 'connected' ? transport : '–')
  $('d-since').replaceChildren(since ? clock(since, true) : '–')
  setText('d-reconnects', String(reconnects))
  setText('d-id', id || '–')
  $('break').disabled = state !== 'connected'
}

// What stands over the composer while there is no connection; null takes it away.
export function drawBanner (text, kind = 'warn', retry = true) {
  $('banner').hidden = text === null
  $('banner').dataset.kind = kind
  $('retry').hidden = !retry
  setText('banner-text', text || '')
}

let ticking = null

export function countDown (until) {
  clearInterval(ticking)
  const tick = () => {
    const seconds = Math.max(0, Math.ceil((until - Date.now()) / 1000))
    setText('countdown', until && seconds ? `in ${seconds} s` : '')
    if (!seconds) clearInterval(ticking)
  }
  if (until) ticking = setInterval(tick, 250)
  tick()
}

export function journal (text) {
  $('journal').prepend(element('li', '', clock(new Date(), true), element('span', '', text)))
  while ($('journal').childElementCount > 50) $('journal').lastElementChild.remove()
}

$('status').onclick = () => $('details').showModal()
$('details').onclick = (event) => { if (event.target === $('details')) $('details').close() } // the backdrop
