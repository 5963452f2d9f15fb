// Reads flat Programs.
#include "sha256.h"
#include "sigbit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int32_t bad(sigbit_program *program, sigbit_error *error, const char *path, const char *why)
{
    snprintf(error->text, sizeof error->text, "%s: %s", path, why);
    sigbit_program_free(program);
    return SIGBIT_BAD_FILE;
}

// Read the whole file; returns its size, 0 if it cannot be read.
static size_t read_file(FILE *file, uint8_t **data)
{
    size_t size = 0, room = 1 << 16, count;
    *data = NULL;
    for (;;) {
        uint8_t *more = realloc(*data, room);
        if (!more) return 0;
        *data = more;
        count = fread(more + size, 1, room - size, file);
        size += count;
        if (size < room) break;
        room *= 2;
    }
    return ferror(file) ? 0 : size;
}

static int inside(uint64_t at, uint64_t size, uint64_t whole) { return at + size <= whole; }

// True if a port and its table lie within window and file.
static int fits(const sigbit_file *file, const sigbit_port *port, size_t entry)
{
    return inside(port->table, (uint64_t)port->entries * entry, file->bytes) && port->layout.bytes > 0
        && port->dimensions > 0 && port->dimensions <= sizeof port->shape / sizeof *port->shape
        && inside(port->offset, (uint64_t)port->layout.bytes * file->images, file->memory_bytes);
}

// Find the records, and check that all of them are within bounds.
static int find(sigbit_program *program)
{
    const sigbit_file *file = program->file;
    const uint64_t ports = (uint64_t)file->inputs + file->outputs;
    uint64_t end = sizeof *file + (uint64_t)file->registers * sizeof *program->settings
                 + (uint64_t)file->segments * sizeof *program->segments
                 + ports * sizeof *program->inputs;
    if (end > file->bytes || file->states > file->segments || !file->ports || file->ports > SIGBIT_PORTS_MAX || !file->images
        || !file->port_bytes || file->memory_bytes % (file->ports * file->port_bytes))
        return 0;
    program->settings = (const sigbit_setting *)(const void *)(file + 1);
    program->segments = (const sigbit_segment *)(const void *)(program->settings + file->registers);
    program->inputs = (const sigbit_port *)(const void *)(program->segments + file->segments);
    program->outputs = program->inputs + file->inputs;
    for (uint32_t i = 0; i < file->registers; ++i)
        if (program->settings[i].offset % 4 || program->settings[i].offset >= SIGBIT_REGISTER_BYTES)
            return 0;
    for (uint32_t i = 0; i < file->segments; ++i) {
        const sigbit_segment *part = &program->segments[i];
        if (!inside(part->offset, part->bytes, file->memory_bytes)
            || !inside(part->at, part->bytes, file->bytes))
            return 0;
    }
    for (uint32_t i = 0; i < file->inputs; ++i)
        if (!fits(file, &program->inputs[i], sizeof(uint32_t))) return 0;
    for (uint32_t i = 0; i < file->outputs; ++i)
        if (!fits(file, &program->outputs[i], sizeof(int64_t))) return 0;
    return 1;
}

int32_t sigbit_program_read(sigbit_program *program, const char *path, sigbit_error *error)
{
    *program = (sigbit_program){0};
    FILE *file = fopen(path, "rb");
    if (!file) return bad(program, error, path, strerror(errno));
    size_t size = read_file(file, &program->data);
    fclose(file);
    const sigbit_file *head = (const sigbit_file *)(const void *)program->data;
    if (size < sizeof *head || head->magic != SIGBIT_FILE_MAGIC)
        return bad(program, error, path, "no flat Program: `sigbit driver NET.sigbit` makes one");
    if (head->version != SIGBIT_FILE_VERSION || head->map_version != SIGBIT_VERSION)
        return bad(program, error, path, "made by another version of sigbit: make it again");
    const size_t from = offsetof(sigbit_file, program);
    uint8_t digest[sizeof head->digest];
    sigbit_sha256(program->data + from, size - from, digest);
    if (head->bytes != size || memcmp(digest, head->digest, sizeof digest) != 0)
        return bad(program, error, path, "damaged, its content does not match its SHA-256: make it again");
    program->file = head;
    return find(program) ? SIGBIT_DONE : bad(program, error, path, "its parts lie outside of it");
}

void sigbit_program_free(sigbit_program *program)
{
    free(program->data);
    *program = (sigbit_program){0};
}

size_t sigbit_input_size(const sigbit_port *port)
{
    return (size_t)port->layout.channels * (size_t)port->layout.height * (size_t)port->layout.width;
}

size_t sigbit_output_size(const sigbit_port *port)
{
    const sigbit_layout *p = &port->layout;
    return (size_t)p->out_channels * (size_t)p->out_height * (size_t)p->out_width;
}
