// The chat: rooms and words over ActionheroWebsocketClient, which the server generates. What is shown is in chat-view.js.
import {
  $, appendMessage, countDown, drawBanner, drawConnection, drawMembers, drawMessages, drawOutbox, drawRooms, journal, scrollToEnd
} from './chat-view.js'
import { Outbox } from './chat-outbox.js'

const KEPT = 300 // messages kept per room
const LOOK_EVERY = 10000 // ms between looks for rooms that others have made

const polling = new URLSearchParams(location.search).has('polling')
const client = new window.ActionheroWebsocketClient({
  ...(polling ? { websockets: false } : {}),
  reconnect: { min: 500, max: 15000, retries: Infinity }
})

const rooms = new Map() // name -> see roomOf()
const mine = new Set() // the ids that this page has had, one per connection
const link = { state: 'connecting', transformer: '', transport: '', since: null, reconnects: 0, id: '' }
let current = null // the name of the room that is shown
let name = ''
let plain = false // whether the server has ActionHero's verbs only, none of the demo's own actions

// ---- storage that may be forbidden

function remember (key, value) {
  try { localStorage.setItem('ahtransport.' + key, value) } catch (error) { /* private mode */ }
}

function recall (key) {
  try { return localStorage.getItem('ahtransport.' + key) || '' } catch (error) { return '' }
}

// ---- the connection

function now (changes) {
  Object.assign(link, changes)
  drawConnection(link)
}

function connect () {
  now({ state: 'connecting' })
  client.connect().catch((error) => journal(error.message))
  client.primus.on('offline', () => {
    now({ state: 'offline', since: null })
    drawBanner('This device is offline. The chat goes on when it is back.', 'bad', false)
    countDown(0)
    journal('this device is offline')
  })
  client.primus.on('online', () => journal('this device is online'))
  client.primus.on('end', ended)
}

function ended () {
  if (link.state === 'refused' || link.state === 'offline') return
  now({ state: 'ended', since: null })
  drawBanner('The connection has ended.', 'bad')
  countDown(0)
  journal('ended')
}

client.on('transport', (transport) => {
  if (transport === link.transport) return
  if (link.state === 'connected') journal(`now over ${transport}`)
  now({ transport })
})
client.on('reconnecting', ({ attempt, scheduled }) => {
  now({ state: 'reconnecting', since: null })
  drawBanner(`No connection. Attempt ${attempt}`)
  countDown(Date.now() + scheduled)
  journal(`attempt ${attempt} in ${(scheduled / 1000).toFixed(1)} s`)
})
client.on('refused', ({ status, reason }) => {
  now({ state: 'refused', since: null })
  drawBanner(`The server refuses: ${reason || status}`, 'bad')
  journal(`refused: ${status} ${reason}`)
})
client.on('stale', () => {
  journal('the server has a newer client than this page')
  drawBanner('The server has been updated. Load this page again to get its new client.', 'warn', false)
})
client.on('disconnected', () => {
  if (link.state === 'connected') now({ state: 'reconnecting', since: null })
  journal('disconnected')
  for (const room of rooms.values()) room.outbox.pause()
})
client.on('connected', connected)
client.on('reconnect', () => {
  link.reconnects++
  connected()
})
client.on('error', (error) => journal(`error: ${error.message}`))
client.on('say', heard)
client.on('message', (message) => { if (message && message.context === 'presence') presence(message) })

// Once per connection: after the first as after every other one, when the client is in its rooms again.
async function connected () {
  const { transformer, transport } = client.primus
  mine.add(client.id)
  now({ state: 'connected', transformer, transport, since: new Date(), id: client.id })
  drawBanner(null)
  countDown(0)
  journal(`connected: ${transformer} over ${transport}`)
  try {
    await introduce()
    for (const [wanted, room] of rooms) {
      if (client.rooms.includes(wanted)) await sync(wanted)
      else if (room.wanted) await join(wanted)
    }
  } catch (error) {
    note(error.message, true)
  }
}

async function introduce () {
  if (plain) return
  try {
    await client.action('introduce', { name })
  } catch (error) {
    if (error.code !== 'RESPONSE' || !/unknown action|not found/i.test(error.message)) throw error
    plain = true
  }
}

// ---- rooms

function roomOf (wanted) {
  let room = rooms.get(wanted)
  if (!room) {
    room = {
      joined: false, wanted: false, unread: 0, messages: [], held: [], members: new Map(), count: 0,
      seen: new Set(), history: '', number: 0,
      outbox: new Outbox((text) => client.say(wanted, text), () => wanted === current && drawWaiting())
    }
    rooms.set(wanted, room)
    drawRooms(rooms, current, open)
  }
  return room
}

async function open (wanted) {
  const room = roomOf(wanted)
  current = wanted
  room.unread = 0
  room.wanted = true
  remember('room', wanted)
  $('room-title').textContent = wanted
  drawMessages(room.messages)
  drawAll()
  if (room.joined || link.state !== 'connected') return
  try {
    await join(wanted)
  } catch (error) {
    note(error.message, true)
  }
}

async function join (wanted) {
  try {
    await client.roomAdd(wanted)
  } catch (error) {
    if (error.message !== 'room does not exist') throw error
    await client.action('createChatRoom', { name: wanted }) // the server has forgotten it
    await client.roomAdd(wanted)
  }
  await sync(wanted)
}

async function leave (wanted) {
  const room = roomOf(wanted)
  try {
    if (room.joined) await client.roomLeave(wanted)
  } catch (error) {
    return note(error.message, true)
  }
  Object.assign(room, { joined: false, wanted: false, unread: 0, messages: [], members: new Map(), count: 0, history: '' })
  room.seen.clear()
  room.outbox.pause()
  const next = [...rooms].find(([, other]) => other.joined) || [...rooms].find(([other]) => other !== wanted)
  open(next ? next[0] : wanted)
}

// Learn who is in a room and what was said while this page was away; then let through what has come meanwhile.
async function sync (wanted) {
  const room = roomOf(wanted)
  room.joined = room.wanted = true
  try {
    if (plain) {
      const { data } = await client.roomView(wanted)
      room.members = new Map(Object.keys(data.members).map((id) => [id, id === client.id ? name : id.slice(0, 8)]))
      room.count = data.membersCount
    } else {
      const answer = await client.action('enterRoom', { room: wanted })
      room.members = new Map(answer.members.map((one) => [one.id, one.name]))
      room.count = answer.membersCount
      catchUp(wanted, room, answer)
    }
  } catch (error) {
    if (error.code === 'RESPONSE') note(error.message, true)
    return // what broke the connection brings the next sync
  }
  room.outbox.ready = true
  for (const words of room.held.splice(0)) keep(wanted, room, words)
  room.outbox.settle(!plain)
  if (wanted === current) drawAll()
}

// `history` names one life of the room, in which messages are numbered without a gap.
function catchUp (wanted, room, { said, history }) {
  const first = said.length ? numberOf(said[0]) : 0
  if (room.history && room.history !== history) add(wanted, room, { note: 'The server has restarted.' })
  else if (room.number && first > room.number + 1) add(wanted, room, { note: `${first - room.number - 1} messages were missed.` })
  if (room.history !== history) Object.assign(room, { history, number: 0 })
  for (const words of said) keep(wanted, room, words)
}

function numberOf ({ id }) {
  return Number(String(id).split(':')[1])
}

function heard (words) {
  const room = roomOf(words.room)
  if (room.outbox.ready) keep(words.room, room, words)
  else room.held.push(words)
}

function keep (wanted, room, words) {
  if (words.id !== undefined) {
    if (room.seen.has(words.id)) return
    room.seen.add(words.id)
    room.number = numberOf(words)
  }
  const own = mine.has(words.from)
  if (own) room.outbox.heard(String(words.message))
  add(wanted, room, { ...words, own, name: words.from === '0' ? 'server' : words.name || words.from.slice(0, 8) })
}

function add (wanted, room, message) {
  room.messages.push(message)
  if (room.messages.length > KEPT) room.messages.shift()
  if (wanted === current) appendMessage(message)
  if (message.note === undefined && !message.own && (wanted !== current || document.hidden)) {
    room.unread++
    drawRooms(rooms, current, open)
  }
}

function note (text, problem = false) {
  if (current !== null) add(current, roomOf(current), { note: text, problem })
}

function presence ({ event, room: wanted, id, name: person }) {
  const room = roomOf(wanted)
  const before = room.members.get(id)
  if (event === 'leave') {
    if (room.members.delete(id)) room.count--
  } else {
    if (before === undefined) room.count++
    room.members.set(id, person)
  }
  if (event === 'join') add(wanted, room, { note: `${person} is here` })
  else if (event === 'leave') add(wanted, room, { note: `${person} has left` })
  else if (before !== undefined && before !== person) add(wanted, room, { note: `${before} is now ${person}` })
  if (wanted === current) drawAll()
}

function drawAll () {
  const room = roomOf(current)
  drawRooms(rooms, current, open)
  drawMembers(room.members, room.count, client.id)
  $('leave').disabled = !room.joined
  drawWaiting()
}

function drawWaiting () {
  const { outbox } = roomOf(current)
  drawOutbox(outbox.entries, (entry) => outbox.again(entry), (entry) => outbox.drop(entry))
}

// ---- what people do

$('composer').onsubmit = (event) => {
  event.preventDefault()
  const text = $('text').value.trim()
  if (!text || current === null) return
  $('text').value = ''
  roomOf(current).outbox.add(text)
  scrollToEnd()
}

$('new-room').querySelector('form').onsubmit = async (event) => {
  event.preventDefault()
  const wanted = $('new-room-name').value.trim()
  if (!wanted) return
  try {
    await client.action('createChatRoom', { name: wanted })
    $('new-room-name').value = ''
    $('new-room').open = false
    await open(wanted)
    $('text').focus()
  } catch (error) {
    note(error.message, true)
  }
}

$('name').onchange = async () => {
  name = $('name').value.trim() || name
  $('name').value = name
  remember('name', name)
  try {
    if (link.state === 'connected') await introduce()
    for (const room of rooms.values()) if (room.members.has(client.id)) room.members.set(client.id, name)
    drawAll()
  } catch (error) {
    note(error.message, true)
  }
}

$('leave').onclick = () => leave(current)
$('retry').onclick = connect
$('break').onclick = () => client.action('dropMe').catch((error) => journal(error.message))
$('polling').setAttribute('aria-pressed', String(polling))
$('polling').onclick = () => { location.search = polling ? '' : '?polling' }
document.addEventListener('visibilitychange', () => {
  if (document.hidden || current === null) return
  roomOf(current).unread = 0
  drawRooms(rooms, current, open)
})

setInterval(() => {
  if (link.state !== 'connected') return
  if (plain) client.rooms.forEach(sync)
  else client.action('chatSettings').then((found) => found.rooms.forEach(roomOf)).catch(() => {})
}, LOOK_EVERY)

async function start () {
  name = recall('name') || `guest ${Math.floor(1000 + Math.random() * 9000)}`
  remember('name', name)
  $('name').value = name
  drawConnection(link)
  let known = ['defaultRoom', 'otherRoom']
  try {
    known = (await client.action('chatSettings')).rooms // not connected yet: it goes by HTTP
  } catch (error) { /* a server without the demo's actions; or none, which the connection will tell */ }
  known.forEach(roomOf)
  const last = recall('room')
  open(rooms.has(last) ? last : known[0] || 'defaultRoom')
  connect()
}

start()
