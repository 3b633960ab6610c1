// What the load generators share: a clock, latencies, numbered messages, and the talk with the program that measures.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}
static void die(const char *what) {
  perror(what);
  exit(1);
}

// Latencies: buckets of 10 microseconds, up to 5 seconds.
enum { BUCKETS = 500000 };
static uint32_t latencies[BUCKETS];
static long measured;
static void note(double seconds) {
  long bucket = seconds * 1e5;
  latencies[bucket < 0 ? 0 : bucket < BUCKETS ? bucket : BUCKETS - 1]++;
  measured++;
}
static double percentile(double share) {  // milliseconds
  long sum = 0;
  for (int i = 0; i < BUCKETS; i++)
    if ((sum += latencies[i]) >= share * measured) return i / 100.0;
  return 0;
}

// "##########" in a message stands for its number, from 1000000000 up: always ten digits, and valid JSON without quotes.
#define MARK "##########"
enum { DIGITS = 10 };
static const uint64_t FIRST_NUMBER = 1000000000;
static void write_number(char *at, uint64_t number) {
  number += FIRST_NUMBER;
  for (int i = DIGITS - 1; i >= 0; i--, number /= 10) at[i] = '0' + number % 10;
}
static long read_number(const char *at) {  // -1: there is none
  uint64_t number = 0;
  for (int i = 0; i < DIGITS; i++) {
    if (at[i] < '0' || at[i] > '9') return -1;
    number = number * 10 + (at[i] - '0');
  }
  return number < FIRST_NUMBER ? -1 : (long)(number - FIRST_NUMBER);
}
// The number in a text that has to be the pattern, which has the mark at `mark`, from end to end; -1: it is not.
static long number_in(const char *text, size_t size, const char *pattern, size_t length, size_t mark) {
  size_t rest = mark + DIGITS;
  if (size != length || memcmp(text, pattern, mark) || memcmp(text + rest, pattern + rest, length - rest)) return -1;
  return read_number(text + mark);
}

// What became of the messages with the numbers 0, 1, 2 … that are to arrive in this order.
typedef struct {
  long expected;     // the number that comes next
  uint64_t skipped;  // bit k: expected - 1 - k has not been there
} Order;
static long wrong, doubled, reordered;
static int arrived(Order *order, long number) {  // whether it is a message that was still missing
  if (number >= order->expected) {
    for (; order->expected < number; order->expected++) order->skipped = order->skipped << 1 | 1;
    order->skipped <<= 1;
    order->expected++;
    return 1;
  }
  long back = order->expected - 1 - number;
  if (back < 64 && order->skipped >> back & 1) {
    order->skipped &= ~((uint64_t)1 << back);
    reordered++;
    return 1;
  }
  doubled++;
  return 0;
}
static void complain(const char *what, const char *text, size_t size) {
  if (wrong++ < 3) fprintf(stderr, "%s: %.*s\n", what, (int)(size < 300 ? size : 300), text);
}

// With --gated 1, each of these words waits for a line on standard input, so that whoever measures reads the server's
// CPU time and memory at that very moment. Gives how long that took.
static int gated;
static double gate(const char *word) {
  double begin = now();
  fprintf(stderr, "%s\n", word);
  fflush(stderr);
  char c;
  while (gated && read(0, &c, 1) == 1 && c != '\n') continue;
  return now() - begin;
}

// A measurement is made in slices. Before each, others may have their turn while this one waits at the gate, so the load
// runs for a lap before it counts: until `sent` has grown by `lap`. That has to be 20 messages for each connection, as a
// Linux that has not received for a while acknowledges the next 16 pieces at once, each with a packet of its own. (With
// thousands of connections each is silent for so long between two messages that it always does.)
// `later` shifts the times of what is in flight: a wait at a gate is not the server's. `rest`, if there is one, ends
// what is in flight before others have their turn.
static int slices = 1, measuring;
static const double SHORTEST_LAP = 0.1, LONGEST_LAP = 2;  // seconds
static double measure(double secs, const long *count, const long *sent, long lap, void (*pump_until)(double),
                      void (*later)(double), void (*rest)(void)) {
  double seconds = 0;
  for (int i = 0; i < slices; i++) {
    if (slices > 1) {
      if (rest) rest();
      later(gate("waiting"));
      double start = now();
      long enough = *sent + lap;
      pump_until(start + SHORTEST_LAP);
      while (*sent < enough && now() < start + LONGEST_LAP) pump_until(now() + 0.01);
    }
    later(gate("measuring"));
    long before = *count;
    measuring = 1;
    double begin = now();
    pump_until(begin + secs / slices);
    double took = now() - begin;
    measuring = 0;
    seconds += took;
    char word[64];
    snprintf(word, sizeof word, "measured %ld", *count - before);
    later(gate(word));
  }
  return seconds;
}
static void all_descriptors(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}
