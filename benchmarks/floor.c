// floor: the least that a single-threaded epoll WebSocket server can do, with no checks at all. It echoes, and sends to all what has "B in it.
// It says just enough of Engine.IO and Socket.IO for the generator to begin.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
typedef struct { int fd, up; size_t len; unsigned char in[4096]; } C;
static C *all[65536]; static int n_all;
static const char *SWITCHED = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static void upgraded(C *c) {
  send(c->fd, SWITCHED, strlen(SWITCHED), 0);
  if (memmem(c->in, c->len, "EIO=4", 5)) send(c->fd, "\x81\x03" "0{}", 5, 0);
  c->up = 1; c->len = 0; all[n_all++] = c;
}
static void gone(C *c) {
  close(c->fd);
  for (int j = 0; j < n_all; j++) if (all[j] == c) { all[j] = all[--n_all]; break; }
  free(c);
}
int main(int ac, char **av) {
  int l = socket(AF_INET, SOCK_STREAM, 0), one = 1; setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(av[1]))}; inet_pton(AF_INET, "127.0.0.1", &a.sin_addr);
  bind(l, (void *)&a, sizeof a); listen(l, 4096);
  int ep = epoll_create1(0); struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL}; epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
  for (;;) { struct epoll_event ev[512]; int k = epoll_wait(ep, ev, 512, -1);
    for (int i = 0; i < k; i++) { C *c = ev[i].data.ptr;
      if (!c) {
        int f = accept4(l, NULL, NULL, SOCK_NONBLOCK); if (f < 0) continue;
        setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        c = calloc(1, sizeof *c); c->fd = f; e.data.ptr = c; epoll_ctl(ep, EPOLL_CTL_ADD, f, &e); continue;
      }
      ssize_t r = recv(c->fd, c->in + c->len, sizeof c->in - c->len, 0);
      if (r <= 0) { gone(c); continue; }
      c->len += r;
      if (!c->up) { if (memmem(c->in, c->len, "\r\n\r\n", 4)) upgraded(c); continue; }
      size_t off = 0; unsigned char out[8192]; size_t o = 0;
      while (c->len - off >= 6) {
        unsigned char *q = c->in + off; size_t n = q[1] & 127; if (n > 125 || c->len - off < 6 + n) break;
        unsigned char f[128]; f[0] = q[0]; f[1] = n; for (size_t j = 0; j < n; j++) f[2 + j] = q[6 + j] ^ q[2 + (j & 3)];
        if (n == 2 && !memcmp(f + 2, "40", 2)) send(c->fd, "\x81\x04" "40{}", 6, 0);  // joins Socket.IO's root namespace
        else if (memmem(f + 2, n, "\"B", 2)) for (int j = 0; j < n_all; j++) send(all[j]->fd, f, n + 2, MSG_NOSIGNAL);
        else { memcpy(out + o, f, n + 2); o += n + 2; }
        off += 6 + n;
      }
      memmove(c->in, c->in + off, c->len - off); c->len -= off; if (o) send(c->fd, out, o, MSG_NOSIGNAL);
    } } }
