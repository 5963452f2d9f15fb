// A board at the other end of a Unix socket, for tests: `open.h` for c_board.py. Memory here is the
// processor's cache, and the accelerator's is over there: what is not synchronised is stale.
#define _DEFAULT_SOURCE

#include "open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LINE = 64, STALE = 0xa5 };

typedef struct {
    int socket;
    uint8_t *cache;
    size_t size;
    const char *forgets;
} remote;

static void all(const remote *r, void *data, size_t size, int out)
{
    for (uint8_t *at = data; size;) {
        ssize_t done = out ? write(r->socket, at, size) : read(r->socket, at, size);
        if (done <= 0) {
            fputs("the board is gone\n", stderr);
            exit(99);
        }
        at += done, size -= (size_t)done;
    }
}

static uint64_t ask(const remote *r, char what, uint64_t a, uint64_t b)
{
    uint64_t message[3] = {(uint64_t)what, a, b}, answer;
    all(r, message, sizeof message, 1);
    all(r, &answer, sizeof answer, 0);
    return answer;
}

static uint32_t read_register(void *context, uint32_t offset)
{
    return (uint32_t)ask(context, 'r', offset, 0);
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
    ask(context, 'w', offset, value);
}

static int wait_a_while(void *context, int milliseconds)
{
    return (int)ask(context, 'i', (uint64_t)milliseconds, 0);
}

static int synchronise(remote *r, char what, size_t offset, size_t size)
{
    size_t first = offset / LINE * LINE, end = (offset + size + LINE - 1) / LINE * LINE;
    if (end > r->size) return 22;
    if (strchr(r->forgets, what)) return 0;
    ask(r, what, offset, size);
    all(r, r->cache + first, end - first, what == 'd');
    return what == 'd' ? (int)ask(r, 'n', 0, 0) : 0;
}

static int to_device(void *context, size_t offset, size_t size)
{
    return synchronise(context, 'd', offset, size);
}

static int to_processor(void *context, size_t offset, size_t size)
{
    return synchronise(context, 'p', offset, size);
}

int sigbit_board_open(sigbit_board *board, const char *name, sigbit_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    remote *r = calloc(1, sizeof *r);
    r->forgets = getenv("FORGETS") ? getenv("FORGETS") : "";
    r->socket = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    if (connect(r->socket, (struct sockaddr *)&address, sizeof address)) {
        snprintf(error->text, sizeof error->text, "no board listens");
        close(r->socket);
        free(r);
        return 1;
    }
    *board = (sigbit_board){r, read_register, write_register, wait_a_while, to_device, to_processor,
                            NULL, ask(r, 'a', 0, 0), (size_t)ask(r, 's', 0, 0)};
    r->size = board->size;
    board->memory = r->cache = malloc(r->size);
    memset(r->cache, STALE, r->size);
    return 0;
}

void sigbit_board_close(sigbit_board *board)
{
    remote *r = board->context;
    close(r->socket);
    free(r->cache);
    free(r);
}
