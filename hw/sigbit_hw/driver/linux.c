// A board that runs Linux: registers and interrupt by UIO, memory by the kernel module u-dma-buf,
// cached and synchronised. After an interrupt the kernel masks its line; writing a word of 1 to the
// device unmasks it, reading a word waits for the next interrupt.
#define _DEFAULT_SOURCE

#include "open.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NAME_BYTES = 128, PATH_BYTES = 256, TO_DEVICE = 1, FROM_DEVICE = 2 };

#ifndef SIGBIT_ROOT
#define SIGBIT_ROOT "" // tests put another folder before /sys and /dev
#endif

static const char UIO[] = SIGBIT_ROOT "/sys/class/uio", BUFFERS[] = SIGBIT_ROOT "/sys/class/u-dma-buf";

typedef struct {
    int uio, buffer;
    uint8_t *page; // registers, from `first` on
    size_t page_bytes, first;
    char folder[PATH_BYTES]; // attributes of the buffer
} linux_board;

static uint32_t read_register(void *context, uint32_t offset)
{
    const linux_board *b = context;
    return *(volatile uint32_t *)(void *)(b->page + b->first + offset);
}

static void write_register(void *context, uint32_t offset, uint32_t value)
{
    const linux_board *b = context;
    __sync_synchronize(); // writes to memory come first
    *(volatile uint32_t *)(void *)(b->page + b->first + offset) = value;
}

static int wait_for_interrupt(void *context, int milliseconds)
{
    const linux_board *b = context;
    const uint32_t unmask = 1;
    uint32_t count;
    struct pollfd file = {.fd = b->uio, .events = POLLIN};
    if (write(b->uio, &unmask, sizeof unmask) != sizeof unmask) return errno ? errno : EIO;
    int found = poll(&file, 1, milliseconds);
    if (found < 0) return errno == EINTR ? 0 : errno;
    if (found && read(b->uio, &count, sizeof count) != sizeof count) return errno ? errno : EIO;
    return 0;
}

static int set_attribute(const char *folder, const char *name, uint64_t value)
{
    char path[2 * PATH_BYTES], text[32];
    int length = snprintf(text, sizeof text, "%" PRIu64, value);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    int file = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (file < 0) return errno;
    int error = write(file, text, (size_t)length) == length ? 0 : errno ? errno : EIO;
    close(file);
    return error;
}

static int synchronise(const linux_board *b, size_t offset, size_t size, int direction, const char *act)
{
    int error = set_attribute(b->folder, "sync_offset", offset);
    if (!error) error = set_attribute(b->folder, "sync_size", size);
    if (!error) error = set_attribute(b->folder, "sync_direction", (uint64_t)direction);
    return error ? error : set_attribute(b->folder, act, 1);
}

static int to_device(void *context, size_t offset, size_t size)
{
    return synchronise(context, offset, size, TO_DEVICE, "sync_for_device");
}

static int to_processor(void *context, size_t offset, size_t size)
{
    return synchronise(context, offset, size, FROM_DEVICE, "sync_for_cpu");
}

// An attribute's text without its end of line; 0, or an errno.
static int attribute(const char *folder, const char *name, char *text, int size)
{
    char path[2 * PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file) return errno;
    if (!fgets(text, size, file)) *text = 0;
    text[strcspn(text, "\n")] = 0;
    fclose(file);
    return 0;
}

static int number(const char *folder, const char *name, uint64_t *value)
{
    char text[64], *end;
    int error = attribute(folder, name, text, sizeof text);
    if (error) return error;
    *value = strtoull(text, &end, 0);
    return *text && !*end ? 0 : EINVAL;
}

static int refuse(sigbit_error *error, const char *what, const char *name, const char *why)
{
    snprintf(error->text, sizeof error->text, "%s %s: %s", what, name, why);
    return 1;
}

// Find the UIO device with this name: uioN, numbered in the order in which drivers are bound.
static int find_uio(const char *name, char *node, sigbit_error *error)
{
    int count = 0;
    DIR *folder = opendir(UIO);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        char path[PATH_BYTES], text[NAME_BYTES];
        if (snprintf(path, sizeof path, "%s/%.64s", UIO, entry->d_name) >= (int)sizeof path) continue;
        if (entry->d_name[0] == '.' || attribute(path, "name", text, sizeof text)) continue;
        if (strcmp(text, name) == 0) ++count, snprintf(node, NAME_BYTES, "%.64s", entry->d_name);
    }
    if (folder) closedir(folder);
    if (count == 1) return 0;
    return refuse(error, "UIO device", name,
                  count ? "several have this name: change `linux,uio-name` in the device tree"
                        : "there is none of this name: is the device-tree overlay loaded, and has it "
                          "`linux,uio-name`?");
}

static int open_alone(const char *path)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    if (file >= 0 && flock(file, LOCK_EX | LOCK_NB) < 0) {
        int why = errno == EWOULDBLOCK ? EBUSY : errno;
        close(file);
        errno = why;
        return -1;
    }
    return file;
}

static int open_registers(linux_board *b, const char *name, sigbit_error *error)
{
    char node[NAME_BYTES] = "", folder[PATH_BYTES], path[PATH_BYTES];
    uint64_t size = 0, first = 0;
    if (find_uio(name, node, error)) return 1;
    snprintf(folder, sizeof folder, "%s/%.64s/maps/map0", UIO, node);
    snprintf(path, sizeof path, SIGBIT_ROOT "/dev/%.64s", node);
    if (number(folder, "size", &size) || size < SIGBIT_REGISTER_BYTES)
        return refuse(error, "UIO device", name, "its registers are too few: mend `reg` in the device tree");
    if (number(folder, "offset", &first)) first = 0;
    b->uio = open_alone(path);
    if (b->uio < 0) return refuse(error, "UIO device", path, strerror(errno));
    b->page_bytes = (size_t)(size + first), b->first = (size_t)first;
    void *page = mmap(NULL, b->page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->uio, 0);
    if (page == MAP_FAILED) return refuse(error, "UIO device", path, strerror(errno));
    b->page = page;
    return 0;
}

static int open_buffer(linux_board *b, sigbit_board *board, const char *name, sigbit_error *error)
{
    char path[PATH_BYTES];
    uint64_t size = 0, coherent = 0;
    snprintf(b->folder, sizeof b->folder, "%s/%.64s", BUFFERS, name);
    snprintf(path, sizeof path, SIGBIT_ROOT "/dev/%.64s", name);
    if (number(b->folder, "phys_addr", &board->address) || number(b->folder, "size", &size))
        return refuse(error, "u-dma-buf", name,
                      "there is none of this name: is its kernel module loaded, and the overlay?");
    if (!number(b->folder, "dma_coherent", &coherent) && coherent)
        return refuse(error, "u-dma-buf", name,
                      "it is coherent, the accelerator's transfers are not: take `dma-coherent` out "
                      "of the device tree");
    b->buffer = open_alone(path); // without O_SYNC: cached
    if (b->buffer < 0) return refuse(error, "u-dma-buf", path, strerror(errno));
    void *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, b->buffer, 0);
    if (memory == MAP_FAILED) return refuse(error, "u-dma-buf", path, strerror(errno));
    board->memory = memory, board->size = (size_t)size;
    return 0;
}

int sigbit_board_open(sigbit_board *board, const char *name, sigbit_error *error)
{
    char uio[NAME_BYTES];
    const char *comma = strchr(name, ',');
    linux_board *b = malloc(sizeof *b);
    if (!b) return refuse(error, "UIO device", name, "out of memory");
    *b = (linux_board){.uio = -1, .buffer = -1};
    *board = (sigbit_board){b, read_register, write_register, wait_for_interrupt, to_device,
                            to_processor, NULL, 0, 0};
    snprintf(uio, sizeof uio, "%.*s", (int)(comma ? comma - name : (int)strlen(name)), name);
    if (!open_registers(b, uio, error) && !open_buffer(b, board, comma ? comma + 1 : name, error))
        return 0;
    sigbit_board_close(board);
    return 1;
}

void sigbit_board_close(sigbit_board *board)
{
    linux_board *b = board->context;
    if (board->memory) munmap(board->memory, board->size);
    if (b->page) munmap(b->page, b->page_bytes);
    if (b->buffer >= 0) close(b->buffer);
    if (b->uio >= 0) close(b->uio);
    free(b);
}
