"""What an ordinary web server does beside the websockets: files, cookies, CORS, proxies."""
