// Placement of data in memory, and their transfer.
#include "device.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int32_t sigbit_fail(sigbit_device *device, int32_t status, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(device->error.text, sizeof device->error.text, format, values);
    va_end(values);
    return status;
}

int32_t sigbit_broken(sigbit_device *device, const char *what, int error)
{
    return sigbit_fail(device, SIGBIT_BOARD, "%s: %s", what, strerror(error));
}

size_t sigbit_part_bytes(const sigbit_device *device, const sigbit_file *file)
{
    return device->board->size / file->ports / SIGBIT_PAGE_BYTES * SIGBIT_PAGE_BYTES;
}

typedef struct {
    size_t port_bytes, beat, beats, first, part;
} stripes;

static stripes stripes_of(const sigbit_device *device, const sigbit_file *file, size_t base,
                          size_t offset, size_t size)
{
    // A single port has everything: the same as a single beat.
    const size_t port_bytes = file->ports == 1 && size ? size : file->port_bytes;
    const size_t beat = (size_t)file->ports * port_bytes;
    return (stripes){port_bytes, beat, size / beat, base + offset / file->ports,
                     sigbit_part_bytes(device, file)};
}

// Copy whole beats to the window that begins at `base` of every part; NULL: zeros.
int32_t sigbit_put(sigbit_device *device, const sigbit_file *file, size_t base, size_t offset,
                   const uint8_t *data, size_t size)
{
    const sigbit_board *board = device->board;
    const stripes s = stripes_of(device, file, base, offset, size);
    for (size_t port = 0; port < file->ports; ++port) {
        const size_t at = port * s.part + s.first;
        for (size_t i = 0; i < s.beats; ++i) {
            uint8_t *to = board->memory + at + i * s.port_bytes;
            if (data) memcpy(to, data + i * s.beat + port * s.port_bytes, s.port_bytes);
            else memset(to, 0, s.port_bytes);
        }
        int error = s.beats ? board->to_device(board->context, at, s.beats * s.port_bytes) : 0;
        if (error) return sigbit_broken(device, "memory cannot be synchronised for the accelerator", error);
    }
    return SIGBIT_DONE;
}

int32_t sigbit_take(sigbit_device *device, const sigbit_file *file, size_t base, size_t offset,
                    uint8_t *data, size_t size)
{
    const sigbit_board *board = device->board;
    const stripes s = stripes_of(device, file, base, offset, size);
    for (size_t port = 0; port < file->ports; ++port) {
        const size_t at = port * s.part + s.first;
        int error = board->to_processor(board->context, at, s.beats * s.port_bytes);
        if (error) return sigbit_broken(device, "memory cannot be synchronised for the processor", error);
        for (size_t i = 0; i < s.beats; ++i)
            memcpy(data + i * s.beat + port * s.port_bytes, board->memory + at + i * s.port_bytes,
                   s.port_bytes);
    }
    return SIGBIT_DONE;
}

// The resident that overlaps `size` bytes from `base` on; NULL if there is none.
static const sigbit_resident *in_the_way(const sigbit_device *device, size_t base, size_t size)
{
    for (size_t i = 0; i < SIGBIT_RESIDENTS; ++i) {
        const sigbit_resident *r = &device->residents[i];
        if (r->used && base < r->base + r->size && r->base < base + size) return r;
    }
    return NULL;
}

static sigbit_resident *oldest(sigbit_device *device)
{
    sigbit_resident *found = NULL;
    for (size_t i = 0; i < SIGBIT_RESIDENTS; ++i) {
        sigbit_resident *r = &device->residents[i];
        if (r->used && !r->moved && (!found || r->used < found->used)) found = r;
    }
    return found;
}

// A place for a Program: the least recently used ones are evicted. NULL if states are in the way.
static sigbit_resident *make_room(sigbit_device *device, size_t size, size_t part)
{
    for (;;) {
        sigbit_resident *slot = NULL;
        for (size_t i = 0; i < SIGBIT_RESIDENTS; ++i)
            if (!device->residents[i].used) slot = &device->residents[i];
        size_t base = 0;
        for (const sigbit_resident *r; slot && (r = in_the_way(device, base, size));)
            base = (r->base + r->size + SIGBIT_PAGE_BYTES - 1) / SIGBIT_PAGE_BYTES * SIGBIT_PAGE_BYTES;
        if (slot && base + size <= part) {
            *slot = (sigbit_resident){.base = base, .size = size};
            return slot;
        }
        sigbit_resident *last = oldest(device);
        if (!last) return NULL;
        if (last == device->ready) device->ready = NULL;
        last->used = 0;
    }
}

sigbit_resident *sigbit_find(sigbit_device *device, const sigbit_file *file)
{
    for (size_t i = 0; i < SIGBIT_RESIDENTS; ++i) {
        sigbit_resident *r = &device->residents[i];
        if (r->used && !memcmp(r->digest, file->program, sizeof r->digest)) return r;
    }
    return NULL;
}

// Ensure that a Program is in memory.
int32_t sigbit_place(sigbit_device *device, const sigbit_program *program, sigbit_resident **found)
{
    const sigbit_file *file = program->file;
    const size_t size = file->memory_bytes / file->ports, part = sigbit_part_bytes(device, file);
    if ((*found = sigbit_find(device, file))) return SIGBIT_DONE;
    if (size > part)
        return sigbit_fail(device, SIGBIT_NO_ROOM,
                    "%s needs %" PRIu32 " bytes of memory, there are %zu: compile it for fewer images "
                    "a run, or reserve more",
                    (const char *)file->name, file->memory_bytes, part * file->ports);
    sigbit_resident *r = make_room(device, size, part);
    if (!r)
        return sigbit_fail(device, SIGBIT_NO_ROOM,
                    "%s: memory is full of Programs whose states would be lost: reset those that are "
                    "done (sigbit_reset_state)", (const char *)file->name);
    int32_t status = sigbit_put(device, file, r->base, 0, NULL, file->memory_bytes);
    for (uint32_t i = 0; i < file->segments && !status; ++i) {
        const sigbit_segment *s = &program->segments[i];
        // The file may end within a beat; the rest of the beat is 0.
        const size_t beat = (size_t)file->ports * file->port_bytes, whole = s->bytes / beat * beat;
        uint8_t *last = calloc(1, beat);
        if (!last) return sigbit_fail(device, SIGBIT_NO_MEMORY, "out of memory");
        memcpy(last, program->data + s->at + whole, s->bytes - whole);
        status = sigbit_put(device, file, r->base, s->offset, program->data + s->at, whole);
        if (!status && whole < s->bytes)
            status = sigbit_put(device, file, r->base, s->offset + whole, last, beat);
        free(last);
    }
    if (status) return status;
    memcpy(r->digest, file->program, sizeof r->digest);
    r->used = 1;
    *found = r;
    return SIGBIT_DONE;
}
