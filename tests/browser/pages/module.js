// The client as an ES module.
import standard, { ActionheroWebsocketClient, Primus } from '/public/javascript/ActionheroWebsocketClient.mjs'

window.exported = { same: standard === ActionheroWebsocketClient, primus: typeof Primus, globals: typeof window.Primus }
window.ActionheroWebsocketClient = ActionheroWebsocketClient
