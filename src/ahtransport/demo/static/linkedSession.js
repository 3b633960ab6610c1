// The same note over two ways: requests by fetch(), and the websocket by ActionheroWebsocketClient.

const web = card('web')
const socket = card('socket')
const client = new window.ActionheroWebsocketClient({ reconnect: { max: 15000, retries: Infinity } })

function card (id) {
  const find = (selector) => document.querySelector(`#${id} ${selector}`)
  return {
    note: find('.note'), setOver: find('.set-over'), fingerprint: find('.fingerprint'), state: find('.state'),
    stateText: find('.state-text'), form: find('form'), input: find('input'), button: find('button')
  }
}

function show ({ note, setOver, fingerprint }, answer, print) {
  note.textContent = answer.note === null ? 'nothing yet' : answer.note
  note.toggleAttribute('data-empty', answer.note === null)
  note.classList.remove('fresh')
  requestAnimationFrame(() => note.classList.add('fresh'))
  setOver.textContent = { web: 'HTTP', websocket: 'the websocket' }[answer.setOver] || '–'
  if (print) {
    fingerprint.textContent = print
    fingerprint.title = print
  }
}

function compare () {
  const [one, two] = [web.fingerprint.title, socket.fingerprint.title]
  const verdict = document.getElementById('verdict')
  if (!one || !two) return
  verdict.dataset.same = one === two ? 'yes' : 'no'
  const text = one === two ? '✓ the same session' : 'not the same session'
  if (verdict.textContent !== text) verdict.firstElementChild.textContent = text
}

function tell (error) {
  document.getElementById('problem').textContent = error ? error.message : ''
}

async function request (action, params) {
  const answer = await fetch(`/api/${action}`, params && {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(params)
  })
  const found = await answer.json()
  if (found.error) throw new Error(found.error)
  show(web, found, found.requesterInformation.fingerprint)
  compare()
}

async function act (action, params) {
  show(socket, await client.action(action, params), client.fingerprint)
  compare()
}

function submit ({ form, input }, set, look) {
  form.onsubmit = async (event) => {
    event.preventDefault()
    tell(null)
    try {
      await set({ note: input.value })
      await look()
    } catch (error) {
      tell(error)
    }
  }
}

submit(web, (params) => request('setNote', params), () => client.state === 'connected' && act('getNote'))
submit(socket, (params) => act('setNote', params), () => request('getNote'))

function state (name, text) {
  socket.state.dataset.state = name
  socket.stateText.textContent = text
  socket.button.disabled = name !== 'connected'
}

function connected () {
  state('connected', `${client.primus.transformer} · ${client.transport}`)
  act('getNote').catch(tell)
}

client.on('connected', connected)
client.on('reconnect', connected)
client.on('transport', () => { if (client.state === 'connected') state('connected', `${client.primus.transformer} · ${client.transport}`) })
client.on('reconnecting', () => state('reconnecting', 'connecting again …'))
client.on('refused', ({ reason }) => state('refused', `refused: ${reason}`))
// Another window has set it.
client.on('message', (message) => {
  if (!message || message.context !== 'note') return
  show(socket, message)
  request('getNote').catch(tell)
})

// First the request, which brings the cookie where there was none; the websocket's handshake then has it.
request('getNote').catch(tell).then(() => client.connect()).catch(tell)
