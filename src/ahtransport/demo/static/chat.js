// The chat page: Primus' heartbeat and ActionHero's verbs over a WebSocket, plain or with Engine.IO's packets.
// Everything that people write goes into the page as text, never as markup.
'use strict'

const $ = (id) => document.getElementById(id)
const FIRST_WAIT = 500 // ms
const LONGEST_WAIT = 15000 // ms
const ANSWER_WITHIN = 10000 // ms
const KEPT = 300 // messages shown per room

const state = {
  settings: { pathname: '/primus', rooms: ['defaultRoom', 'otherRoom'] },
  socket: null,
  asking: false, // the server what it speaks, before there is a socket
  send: null, // gives one text to the server
  me: null,
  name: '',
  room: null,
  rooms: new Map(), // name -> { joined, unread, messages: [], members: Map(id -> name) }
  waiting: new Map(), // messageId -> { resolve, reject, timer }
  messageId: 0,
  attempts: 0,
  plain: false, // whether the server has ActionHero's verbs only, none of the demo's own actions
  timer: null,
  lastSeen: 0
}

// ---- storage that may be forbidden

function remember (key, value) {
  try { localStorage.setItem('ahtransport.' + key, value) } catch (error) { /* private mode */ }
}

function recall (key) {
  try { return localStorage.getItem('ahtransport.' + key) || '' } catch (error) { return '' }
}

// ---- the connection

// The server says which transformer it has, anew each time: one that has restarted may have another.
async function connect () {
  if (state.asking) return
  state.asking = true
  clearTimeout(state.timer)
  show('connecting', state.attempts ? 'connecting again …' : 'connecting …')
  try {
    const answer = await fetch(`${state.settings.pathname}/spec`, { signal: AbortSignal.timeout(ANSWER_WITHIN) })
    dial(await answer.json())
  } catch (error) {
    wait({ code: 1006, reason: '' })
  } finally {
    state.asking = false
  }
}

function dial ({ pathname, transformer }) {
  const url = new URL(pathname, location.href)
  url.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  const engine = transformer === 'engine.io' || transformer === 'socket.io'
  const events = transformer === 'socket.io' // on top of Engine.IO; a message is the event "message"
  if (engine) {
    url.pathname += '/'
    url.search = `?EIO=4&transport=websocket&_primuscb=${Date.now()}` // the last one asks for Primus' own messages, too
  }
  const socket = new WebSocket(url)
  state.socket = socket
  state.send = (text) => socket.send(events ? `42["message",${text}]` : engine ? `4${text}` : text)
  const opened = () => begin().catch((error) => note(error.message, true))
  let told = false // the server has said that it does not want us back
  const heard = (text) => {
    let message
    try { message = JSON.parse(text) } catch (error) { return }
    if (typeof message === 'string') {
      if (message.startsWith('primus::ping::')) {
        state.send(JSON.stringify(message.replace('primus::ping::', 'primus::pong::')))
      } else if (message === 'primus::server::close') {
        told = true
      }
    } else if (message) {
      receive(message)
    }
  }
  socket.onmessage = ({ data }) => {
    state.lastSeen = Date.now()
    if (!engine) return heard(data)
    // Of Engine.IO's packets a page without polling meets these: the handshake, a ping, and messages; of Socket.IO's,
    // being let in, being told to stay away, and events.
    if (data[0] === '2') socket.send('3')
    else if (data[0] === '0') events ? socket.send('40') : opened()
    else if (data[0] !== '4') return
    else if (!events) heard(data.slice(1))
    else if (data.startsWith('40')) opened()
    else if (data.startsWith('41')) told = true
    else if (data.startsWith('42["message",')) heard(data.slice(13, -1))
  }
  socket.onopen = () => {
    state.lastSeen = Date.now()
    if (!engine) opened()
  }
  socket.onclose = (event) => {
    if (state.socket !== socket) return
    state.socket = null
    $('text').disabled = $('send').disabled = true
    for (const { reject, timer } of state.waiting.values()) {
      clearTimeout(timer)
      reject(new Error('the connection was lost'))
    }
    state.waiting.clear()
    for (const room of state.rooms.values()) room.joined = false
    if (told) {
      show('closed', 'the server has said goodbye', true)
    } else {
      wait(event)
    }
  }
}

// Randomised, growing waits, so that everybody does not come back at the same moment.
function wait (event) {
  const longest = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** state.attempts++)
  const until = Date.now() + longest * (0.5 + Math.random() / 2)
  const reason = event.reason || (event.code === 1013 ? 'too slow' : '')
  const tick = () => {
    const seconds = Math.ceil((until - Date.now()) / 1000)
    if (seconds <= 0 && navigator.onLine !== false) return connect()
    const when = navigator.onLine === false ? 'offline' : `disconnected, again in ${seconds} s`
    show('reconnecting', reason ? `${when} (${reason})` : when, true)
    state.timer = setTimeout(tick, 250)
  }
  tick()
}

function request (event, fields) {
  return new Promise((resolve, reject) => {
    if (!state.socket || state.socket.readyState !== WebSocket.OPEN) return reject(new Error('not connected'))
    const messageId = ++state.messageId
    const timer = setTimeout(() => {
      state.waiting.delete(messageId)
      reject(new Error('the server did not answer'))
    }, ANSWER_WITHIN)
    state.waiting.set(messageId, { resolve, reject, timer })
    state.send(JSON.stringify({ event, ...fields, messageId }))
  }).then((reply) => {
    if (reply.error) throw new Error(String(reply.error).replace(/^Error: /, ''))
    return reply
  })
}

const action = (name, params) => request('action', { params: { ...params, action: name } })

function receive (message) {
  if (message.context === 'response') {
    const waiting = state.waiting.get(message.messageId)
    if (waiting) {
      state.waiting.delete(message.messageId)
      clearTimeout(waiting.timer)
      waiting.resolve(message)
    }
  } else if (message.context === 'user') {
    said(message)
  } else if (message.context === 'presence') {
    presence(message)
  } else if (message.welcome) {
    note(message.welcome)
  }
}

// After every connect: a reconnected client is a stranger to the server, so it introduces itself and joins again.
async function begin () {
  await introduce()
  state.attempts = 0
  for (const [name, room] of [...state.rooms]) {
    if (name !== state.room && !room.wanted) continue
    try {
      await join(name)
    } catch (error) {
      if (error.message !== 'room does not exist') throw error
      state.rooms.delete(name) // a server that has restarted knows nothing of it
    }
  }
  if (!state.rooms.has(state.room)) await open(state.settings.rooms[0])
  $('text').disabled = $('send').disabled = false
  if (matchMedia('(pointer: fine)').matches) $('text').focus()
}

async function introduce () {
  let me
  try {
    me = await action('introduce', { name: state.name })
  } catch (error) {
    if (!error.message.startsWith('unknown action')) throw error
    state.plain = true
    me = { id: (await request('detailsView', {})).data.id, name: state.name }
    $('name').disabled = true
  }
  state.me = me.id
  carried(me)
  const room = state.rooms.get(state.room)
  if (room && room.members.has(me.id)) room.members.set(me.id, me.name)
  drawMembers()
}

function carried ({ transformer, transport }) {
  show('connected', transformer ? `connected · ${transformer} · ${transport}` : 'connected')
}

// Who is in a room, and what was said there.
async function look (name) {
  if (!state.plain) return action('enterRoom', { room: name })
  const { members, membersCount } = (await request('roomView', { room: name })).data
  return { members: Object.keys(members).map((id) => ({ id, name: id.slice(0, 8) })), membersCount, said: null }
}

async function join (name) {
  const room = roomOf(name)
  room.wanted = true
  if (!room.joined) {
    try {
      await request('roomAdd', { room: name })
    } catch (error) {
      if (!error.message.includes('already in this room')) throw error
    }
    room.joined = true
  }
  const here = await look(name)
  room.members = new Map(here.members.map(({ id, name }) => [id, name]))
  room.count = here.membersCount
  if (here.said) room.messages = [...room.messages.filter((message) => message.note), ...here.said]
  carried(here)
  if (name === state.room) { drawMessages(); drawMembers() }
}

// ---- what comes in

function roomOf (name) {
  if (!state.rooms.has(name)) {
    state.rooms.set(name, { joined: false, wanted: false, unread: 0, count: 0, messages: [], members: new Map() })
    drawRooms()
  }
  return state.rooms.get(name)
}

function said (message) {
  const room = roomOf(message.room)
  keep(room, message)
  if (message.room === state.room) {
    append(message)
  } else {
    room.unread++
    drawRooms()
  }
}

function presence ({ event, room: name, id, name: person }) {
  const room = roomOf(name)
  const before = room.members.get(id)
  if (event === 'leave') {
    if (room.members.delete(id)) room.count--
  } else {
    if (before === undefined) room.count++
    room.members.set(id, person)
  }
  if (name !== state.room) return
  drawMembers()
  if (event === 'join') note(`${person} is here`)
  else if (event === 'leave') note(`${person} has left`)
  else if (before !== undefined && before !== person) note(`${before} is now ${person}`)
}

function keep (room, message) {
  room.messages.push(message)
  if (room.messages.length > KEPT) room.messages.shift()
}

function note (text, problem = false) {
  const message = { note: text, problem }
  const room = state.rooms.get(state.room)
  if (room) keep(room, message)
  append(message)
}

// ---- what is shown

function show (name, text, button = false) {
  $('status').dataset.state = name
  if ($('status-text').textContent !== text) $('status-text').textContent = text
  $('reconnect').hidden = !button
}

function element (tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined) made.textContent = text
  if (className) made.className = className
  return made
}

function append (message) {
  const list = $('messages')
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80
  if (message.note !== undefined) {
    list.append(element('li', message.note, message.problem ? 'note problem' : 'note'))
  } else {
    const own = message.from === state.me
    const item = element('li', undefined, own ? 'own' : '')
    const who = element('span', message.from === '0' ? 'server' : message.name || message.from.slice(0, 8), 'who')
    const when = new Date(message.sentAt)
    const time = element('time', when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }))
    time.dateTime = when.toISOString()
    who.append(time)
    item.append(who, String(message.message))
    list.append(item)
  }
  while (list.childElementCount > KEPT) list.firstElementChild.remove()
  if (atEnd) list.scrollTop = list.scrollHeight
}

function drawMessages () {
  $('messages').replaceChildren()
  for (const message of roomOf(state.room).messages) append(message)
  $('messages').scrollTop = $('messages').scrollHeight
}

function drawMembers () {
  const room = roomOf(state.room)
  $('count').textContent = String(room.count)
  const people = [...room.members].sort((a, b) => a[1].localeCompare(b[1]))
  $('members').replaceChildren(...people.map(([id, name]) => {
    return id === state.me ? element('li', `${name} (you)`, 'self') : element('li', name)
  }))
}

function drawRooms () {
  $('rooms').replaceChildren(...[...state.rooms].map(([name, room]) => {
    const button = element('button', name)
    button.type = 'button'
    button.setAttribute('aria-current', String(name === state.room))
    if (room.unread) button.dataset.unread = String(room.unread)
    button.onclick = () => open(name)
    const item = element('li')
    item.append(button)
    return item
  }))
}

async function open (name) {
  state.room = name
  roomOf(name).unread = 0
  remember('room', name)
  $('room-title').textContent = `Messages in ${name}`
  drawRooms()
  drawMessages()
  drawMembers()
  try {
    if (state.me) await join(name)
  } catch (error) {
    note(error.message, true)
  }
}

// ---- what people do

$('composer').onsubmit = async (event) => {
  event.preventDefault()
  const message = $('text').value.trim()
  if (!message || !state.room) return
  $('text').value = ''
  try {
    await request('say', { room: state.room, message })
  } catch (error) {
    if (!$('text').value) $('text').value = message
    note(error.message, true)
  }
}

$('new-room').onsubmit = async (event) => {
  event.preventDefault()
  const name = $('new-room-name').value.trim()
  if (!name) return
  try {
    await action('createChatRoom', { name })
    $('new-room-name').value = ''
    await open(name)
  } catch (error) {
    note(error.message, true)
  }
}

$('name').onchange = async () => {
  state.name = $('name').value.trim() || state.name
  $('name').value = state.name
  remember('name', state.name)
  try {
    await introduce()
  } catch (error) {
    note(error.message, true)
  }
}

$('reconnect').onclick = () => { state.attempts = 0; connect() }
window.addEventListener('online', () => { if (!state.socket) connect() })

// A connection that died without a word (a laptop that slept) shows nothing: the server's heartbeat is what is missing.
setInterval(() => {
  if (state.socket && state.socket.readyState === WebSocket.OPEN && Date.now() - state.lastSeen > 60000) {
    request('detailsView', {}).catch(() => state.socket && state.socket.close())
  }
}, 15000)

// Look now and then for rooms that others have made; without the demo's news, also for who has come and gone.
setInterval(() => {
  if (!state.socket || !state.me) return
  if (!state.plain) {
    action('chatSettings').then(({ rooms }) => rooms.forEach(roomOf)).catch(() => {})
  } else if (state.rooms.get(state.room)?.joined) {
    join(state.room).catch(() => {})
  }
}, 10000)

async function start () {
  state.name = recall('name') || `guest ${Math.floor(1000 + Math.random() * 9000)}`
  remember('name', state.name)
  $('name').value = state.name
  if (matchMedia('(max-width: 52rem)').matches) $('people').open = false
  try {
    const answer = await fetch('/api/chatSettings', { credentials: 'same-origin' })
    if (answer.ok) state.settings = await answer.json()
  } catch (error) { /* the connection below says what is wrong */ }
  for (const name of state.settings.rooms) roomOf(name)
  const last = recall('room')
  state.room = state.rooms.has(last) ? last : state.settings.rooms[0] || 'defaultRoom'
  roomOf(state.room)
  $('room-title').textContent = `Messages in ${state.room}`
  drawRooms()
  drawMembers()
  connect()
}

start()
