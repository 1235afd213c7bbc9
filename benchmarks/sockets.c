/* SPDX-License-Identifier: MIT */
/* The loop of benchmarks/sockets.py: frames are sent when they are due, answers are read, and how
   late each was is written down. To send a frame is one system call, and so is to read an answer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 4096, EVENTS = 1024 };

/* frame: what is sent again and again; sent: its bytes that the socket has taken of the one that is
   due, of `due` frames; got: bytes of an answer that is not whole. */
typedef struct stream {
    int fd;
    const unsigned char *frame;
    size_t sent;
    long due, answered;
    size_t got;
    unsigned char data[ROOM];
} stream;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Sends what is due, as far as the socket takes it; 0 if the connection has ended. */
static int send_due(stream *s, size_t size)
{
    while (s->due > 0) {
        const ssize_t n = write(s->fd, s->frame + s->sent, size - s->sent);
        if (n < 0)
            return errno == EAGAIN;
        s->sent += (size_t)n;
        if (s->sent < size)
            return 1;
        s->sent = 0;
        s->due--;
    }
    return 1;
}

/* Reads what is there: the number of answers, messages of four bytes; -1 if the connection has
   ended, or something else came that is no ping. Pings are answered. */
static int read_answers(stream *s)
{
    const ssize_t n = read(s->fd, s->data + s->got, ROOM - s->got);
    if (n <= 0)
        return n < 0 && errno == EAGAIN ? 0 : -1;
    s->got += (size_t)n;
    int found = 0;
    size_t at = 0;
    while (s->got - at >= 2 && s->got - at >= 2u + s->data[at + 1]) {
        const unsigned char first = s->data[at], size = s->data[at + 1];
        if (first == 0x82 && size == 4) {
            found++;
        } else if (first == 0x89 && size < 126) {
            unsigned char pong[6 + 126] = {0x8A, 0x80 | size};
            memcpy(pong + 6, s->data + at + 2, size);
            if (s->sent || write(s->fd, pong, 6u + size) != 6 + size)
                return -1;
        } else {
            return -1;
        }
        at += 2u + size;
    }
    memmove(s->data, s->data + at, s->got -= at);
    return found;
}

/* Streams whose frames of `size` bytes lie one behind another, for `frames` frames each, one every
   `period` seconds; looks every `gather` seconds, and gives up at `most` seconds. late: memory for
   streams * frames. The number of answers, or -1 - the number of the stream that ended. */
long run(stream *streams, const int *fds, const unsigned char *data, long count, size_t size,
         long frames, double period, double gather, double most, double *late)
{
    struct epoll_event events[EVENTS];
    const int poll = epoll_create1(0);
    const long end = count * frames;
    long at = 0, found = 0, ended = -1;
    memset(streams, 0, (size_t)count * sizeof *streams);
    for (long i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u64 = (uint64_t)i};
        streams[i].fd = fds[i];
        streams[i].frame = data + (size_t)i * size;
        epoll_ctl(poll, EPOLL_CTL_ADD, fds[i], &event);
    }
    const double start = now() + 0.05, until = start + most;
    while (found < end && ended < 0) {
        double time = now();
        if (time > until)
            break;
        for (; at < end && start + (double)at * period / (double)count <= time; at++) {
            stream *s = &streams[at % count];
            s->due++;
            if (!send_due(s, size))
                ended = at % count;
        }
        const int n = epoll_wait(poll, events, EVENTS, 0);
        for (int i = 0; i < n; i++) {
            const long number = (long)events[i].data.u64;
            stream *s = &streams[number];
            const int answers = read_answers(s);
            if (answers < 0 || !send_due(s, size))
                ended = number;
            time = now();
            for (int k = 0; k < answers; k++) {
                const double due = start + (double)number * period / (double)count;
                late[found++] = time - due - (double)s->answered++ * period;
            }
        }
        if (n < EVENTS) {
            const struct timespec wait = {0, (long)(1e9 * gather)};
            nanosleep(&wait, NULL);
        }
    }
    close(poll);
    return ended < 0 ? found : -1 - ended;
}

size_t stream_bytes(void) { return sizeof(stream); }
